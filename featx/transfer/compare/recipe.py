"""What a user asks of a comparison, and how much of it is done when."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from featx.errors import InputError
from featx.transfer.compare.pool import PAIR

ROWS = 2_000
"""Items that are looked at, unless the user says otherwise."""

A_CLASS = 10
"""Items a class that are looked at all the same, where there are many classes."""

FIRST_ROWS = 64
"""Items that all backbones embed first, where there is a budget; then twice as many, and so on."""

ENCODING_SHARE = 0.8
"""Of a budget; the rest is for speeds and for heads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How backbones are to be compared.

    Attributes
    ----------
    rows : int or None
        Labelled items that are looked at, at most.  None: all with a budget, else `ROWS`, or
        `A_CLASS` a class if that is more.
    is_whole : bool
        Whether all labelled items are looked at.
    budget_s : float or None
        Seconds that the comparison may take.
    seed : int
        Draws the sample.
    """

    rows: int | None = None
    is_whole: bool = False
    budget_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.budget_s is not None and not 0 < self.budget_s < float("inf"):
            message = f"budget: found {self.budget_s!r} seconds; expected a number above 0"
            raise InputError(message)
        if self.rows is not None and self.rows < 1:
            message = f"rows: found {self.rows!r}; expected 1 or more"
            raise InputError(message)

    def most(self, n_labelled: int, n_classes: int) -> int:
        """Return how many items are looked at in the end, of so many.

        Raises
        ------
        InputError
            If there are fewer than two a class.
        """
        least = min(PAIR * n_classes, n_labelled)
        if self.rows is not None and self.rows < least:
            message = (
                f"rows: found {self.rows:,} for {n_classes:,} classes; expected two a class,"
                f" {least:,} or more"
            )
            raise InputError(message)
        if self.rows is not None:
            return min(self.rows, n_labelled)
        if self.is_whole or self.budget_s is not None:
            return n_labelled
        return min(max(ROWS, A_CLASS * n_classes), n_labelled)


@dataclass(slots=True)
class Clock:
    """Time since a comparison began.

    Attributes
    ----------
    budget_s : float or None
    started_s : float
        Of `time.perf_counter`.
    """

    budget_s: float | None = None
    started_s: float = field(default_factory=time.perf_counter)

    @property
    def spent_s(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.started_s

    def left_s(self, share: float = 1.0) -> float:
        """Return the seconds left of a share of the budget, 0 at least; infinite without one."""
        if self.budget_s is None:
            return float("inf")
        return max(0.0, share * self.budget_s - self.spent_s)


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told how a comparison goes on; nobody, by default.

    Attributes
    ----------
    progress : callable
        Told the name of a backbone, items that it has dealt with, and of how many.
    say : callable
        Told a line for people.
    """

    progress: Callable[[str, int, int], None] = lambda *_: None
    say: Callable[[str], None] = lambda _: None
