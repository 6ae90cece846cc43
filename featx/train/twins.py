"""Training rows that are nearly equal, and so must not be split between a fold and the rest."""

import numpy as np

from featx.evaluate.duplicates import SAME, Duplicates, near_duplicates
from featx.train.recipe import FOLDS
from featx.types import Vectors

_EQUAL = 1 - 1e-6
"""Cosine similarity of rows that differ by rounding."""


def find_twins(X: Vectors) -> Duplicates:
    """Return which rows are nearly equal.

    Where a group would hold more than a fifth of all rows, nearness says nothing of the items:
    such rows have few columns, or far from 0 all the same direction.  Then only equal ones count,
    and if they are so many, none.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)

    Examples
    --------
    >>> X = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1]], np.float32)
    >>> find_twins(X).groups.tolist(), find_twins(X + 9).groups.tolist()
    ([0, 1, 1, 3], [0, 1, 2, 3])
    """
    for threshold in (SAME, _EQUAL):
        found = near_duplicates(X, threshold=threshold)
        largest = int(np.bincount(found.groups).max())
        if largest <= max(len(X) / FOLDS, FOLDS) and largest < len(X):
            return found
    return Duplicates(np.arange(len(X)), found.searched)
