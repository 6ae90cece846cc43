"""What a head says of one item."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prediction:
    """The class of an item.

    Attributes
    ----------
    label : str
        The most probable class.
    probability : float
        Its calibrated probability.
    set : tuple of str
        Conformal set, most probable first: holds the true class of about as many items like
        those trained on as the head's coverage says.  Empty where no class fits.
    novel : bool or None
        Whether the item is unlike anything that the head was trained on; None if unknown.
    """

    label: str
    probability: float
    set: tuple[str, ...]
    novel: bool | None = None


@dataclass(frozen=True, slots=True)
class Tagging:
    """The tags of an item.

    Attributes
    ----------
    tags : tuple of str
        Those of a probability above one half, most probable first.
    probabilities : dict of str to float
        Of every tag, calibrated.
    novel : bool or None
        As for `Prediction`.
    """

    tags: tuple[str, ...]
    probabilities: dict[str, float]
    novel: bool | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """The values of an item.

    Attributes
    ----------
    values : tuple of float
        One for each output.
    intervals : tuple of (float, float)
        Each holds the true value of about as many items like those trained on as ``coverage`` in
        the head's header says, nine of ten unless asked otherwise.
    novel : bool or None
        As for `Prediction`.
    """

    values: tuple[float, ...]
    intervals: tuple[tuple[float, float], ...]
    novel: bool | None = None
