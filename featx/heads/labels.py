"""Labels of training rows, as numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels as numbers.

    Attributes
    ----------
    classes : ndarray, shape (C,)
        What the columns stand for.
    codes : ndarray of int64, shape (N,)
        The column of each row's class; empty for tags.
    indicators : ndarray of float64, shape (N, C), or None
        1 where a row has a tag; None where each row has one class.
    """

    classes: NDArray[Any]
    codes: NDArray[np.int64]
    indicators: NDArray[np.float64] | None = None

    def targets(self, dtype: Any) -> NDArray[Any]:  # noqa: ANN401 - a NumPy dtype
        """Return 1 in the columns of each row's class or tags, else -1; shape (N, C)."""
        if self.indicators is not None:
            return np.asarray(2 * self.indicators - 1, dtype=dtype)
        targets = np.full((len(self.codes), len(self.classes)), -1, dtype=dtype)
        targets[np.arange(len(targets)), self.codes] = 1
        return targets


def forget_classes(
    logits: NDArray[np.float64],
    codes: NDArray[np.int64],
    is_last: NDArray[np.bool_],
    total: float,
) -> None:
    """Give the class of each row that is alone in it Laplace's probability, in place.

    Parameters
    ----------
    logits : ndarray of float64, shape (N, C)
    codes : ndarray of int64, shape (N,)
    is_last : ndarray of bool, shape (N,)
    total : float
        Weight of all rows.
    """
    rows = np.flatnonzero(is_last)
    known = logits[rows]
    known[np.arange(len(rows)), codes[rows]] = -np.inf
    logits[rows, codes[rows]] = np.logaddexp.reduce(known, axis=1) - np.log(total)
