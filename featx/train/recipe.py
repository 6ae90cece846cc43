"""What a user asks of a training run."""

import math
from dataclasses import dataclass

from featx.errors import InputError
from featx.heads.conformal import Method
from featx.types import Task

FOLDS = 5

# coverage / (1 - coverage) may come out this much above the whole number that it is.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a head is to be trained.

    Attributes
    ----------
    head : str
        ``"auto"``, a kind of head, or ``"sklearn:"`` and the name of an estimator.
    task : {"classify", "multilabel", "regress"}
    conformal : {"lac", "aps", "class"}
        How sets of classes are made.
    coverage : float
        Share of items like those trained on whose set, or interval, is to hold the truth.
    shots : int or None
        How many labelled rows of each class are drawn; None takes all.
    strict : bool
        Whether a quarter of the rows is kept from the head and makes the sets or intervals, whose
        coverage then is guaranteed whatever the head is.
    novelty : float
        Share of items like those trained on that are not to be flagged as novel.
    curve : bool
        Whether to measure how the accuracy grows with the number of labels; of classes only.
    seed : int
        Deals the folds, and draws the shots.
    command : str
        Kept in the header, for people.
    """

    head: str = "auto"
    task: Task = "classify"
    conformal: Method = "lac"
    coverage: float = 0.9
    shots: int | None = None
    strict: bool = False
    novelty: float = 0.95
    curve: bool = False
    seed: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        for name in ("coverage", "novelty"):
            if not 0 < getattr(self, name) < 1:
                message = f"{name}: found {getattr(self, name)!r}; must be above 0 and below 1"
                raise InputError(message)
        if self.shots is not None and self.shots < 1:
            message = f"shots: found {self.shots}; must be 1 or more, or left out"
            raise InputError(message)
        if self.shots is not None and self.task != "classify":
            message = f"shots: task {self.task!r} has no classes to draw from; leave shots out"
            raise InputError(message)
        if self.strict and self.task == "multilabel":
            message = "strict: tags have neither sets nor intervals to keep rows for; leave it out"
            raise InputError(message)
        if self.conformal != "lac" and self.task != "classify":
            message = f"conformal {self.conformal!r}: task {self.task!r} has no sets; leave it out"
            raise InputError(message)
        if self.curve and self.task != "classify":
            message = f"curve: task {self.task!r} has no accuracy to follow; leave the curve out"
            raise InputError(message)

    @property
    def least_rows(self) -> int:
        """How many rows, left out of the fit, sets or intervals need to promise the coverage."""
        # The largest of n misfits has rank n, and is what ceil((n + 1) * coverage) must not exceed.
        return max(2, math.ceil(self.coverage / (1 - self.coverage) - _ROUNDING))
