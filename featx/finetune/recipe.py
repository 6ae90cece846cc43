"""What a user asks of a fine-tuning run."""

from dataclasses import dataclass
from typing import Literal

from featx.errors import InputError

Tune = Literal["all", "norm"]
Kept = Literal["fp16", "fp32"]

RATES: dict[Tune, float] = {"all": 1e-4, "norm": 1e-3}
"""Largest learning rate of Adam, unless the user says otherwise."""

AUTO_EPOCHS = 8
"""Epochs that the learning rate is planned for where training may stop early."""

L2_SP = 1e-3
"""Pull of the tuned weights toward their start (Li, Grandvalet and Davoine 2018, arXiv:1802.01483).
"""

MOST_HELD_OUT = 0.5

_RANGES: dict[str, tuple[float, float, str]] = {
    "blocks": (1, 1000, "1 or more"),
    "epochs": (1, 1000, "1 to 1000, or none for as many as help"),
    "views": (1, 64, "1 to 64"),
    "batch_size": (1, 4096, "1 to 4096"),
    "label_smoothing": (0, 0.5, "0 to 0.5"),
    "mixup": (0, 10, "0 (off) to 10"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a backbone is to be fine-tuned.

    Attributes
    ----------
    blocks : int
        Blocks at the end that are trained.
    cut : str
        Name of a value of the graph after which all is trained; empty: as `blocks` says.
    epochs : int or None
        Passes over the training rows; None: at most `AUTO_EPOCHS`, fewer where more do not help.
        Whatever is asked, what was best on validation is kept.
    val : float
        Share of the rows that is held out, where the source has no split ``val``.
    tune : {"all", "norm"}
        All weights after the cut, or norms and biases only.
    views : int
        Views of each image: itself and `views` - 1 that are flipped and cropped at random.
    activations : {"fp16", "fp32"}
        How the values at the cut are kept; the former takes half the space.
    lr : float or None
        Largest learning rate; None: that of `RATES`.
    batch_size : int
    label_smoothing : float
        Share of each label that is given to all classes.
    mixup : float
        Items are mixed in pairs at the cut, by shares drawn from Beta(mixup, mixup) (Zhang et al.
        2018, arXiv:1710.09412); 0 mixes none.
    seed : int
        Of every shuffle.
    command : str
        Kept for people.
    """

    blocks: int = 1
    cut: str = ""
    epochs: int | None = None
    val: float = 0.2
    tune: Tune = "all"
    views: int = 1
    activations: Kept = "fp16"
    lr: float | None = None
    batch_size: int = 32
    label_smoothing: float = 0.0
    mixup: float = 0.0
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        for name, (low, high, allowed) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                message = f"{name}: found {value!r}; expected {allowed}"
                raise InputError(message)
        if not 0 < self.val <= MOST_HELD_OUT:
            message = f"val: found {self.val!r}; must be above 0 and at most {MOST_HELD_OUT}"
            raise InputError(message)
        if self.lr is not None and not 0 < self.lr < 1:
            message = f"lr: found {self.lr!r}; must be above 0 and below 1, such as 1e-4"
            raise InputError(message)

    @property
    def rate(self) -> float:
        """Largest learning rate."""
        return self.lr or RATES[self.tune]

    @property
    def planned_epochs(self) -> int:
        """Epochs that the learning rate is planned for."""
        return self.epochs or AUTO_EPOCHS
