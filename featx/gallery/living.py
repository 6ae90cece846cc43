"""Living: which rows of a base can be found."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from featx.gallery.base import Base, Mask


@dataclass(frozen=True, slots=True)
class Keep:
    """Rows that may be answered: of the base and of the recent ones; None where all may."""

    base: Mask | None
    recent: Mask | None


class Living:
    """Which rows of a base can be found.

    Parameters
    ----------
    base : Base
    mask : ndarray of bool, shape (N,), or None
        None where all can.
    """

    def __init__(self, base: Base, mask: Mask | None) -> None:
        self.mask = mask
        self._base = base

    @cached_property
    def count(self) -> int:
        """Number of rows that can be found."""
        return len(self._base) if self.mask is None else int(np.count_nonzero(self.mask))

    @property
    def all(self) -> Mask:
        """Whether each row can be found, shape (N,)."""
        return np.ones(len(self._base), np.bool_) if self.mask is None else self.mask

    @cached_property
    def labelled(self) -> Mask | None:
        """Rows that can be found and are labelled; None where all are."""
        labelled = self._base.labels >= 0
        return self.mask if labelled.all() else both(self.mask, labelled)

    def holds(self, row: int) -> bool:
        """Return whether a row can be found."""
        return self.mask is None or bool(self.mask[row])

    def without(self, rows: Sequence[int]) -> "Living":
        """Return this without some rows."""
        if not rows:
            return self
        mask = self.all.copy()
        mask[rows] = False
        return Living(self._base, mask)


def both(left: Mask | None, right: Mask | None) -> Mask | None:
    """Return the rows that both mark; None marks all."""
    if left is None or right is None:
        return right if left is None else left
    return left & right
