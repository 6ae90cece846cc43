"""Training rows that are nearly equal: a head that knows one knows the others.

Leaving out a row whose twin stays says nothing of new items, and the more of them there are, the
better does a head look that remembers rows instead of learning.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.duplicates import SAME, Duplicates, near_duplicates
from featx.train.material import Material, lost_classes
from featx.train.recipe import FOLDS
from featx.types import Rows, Vectors

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
    return Duplicates(np.arange(len(X)), found.different, found.searched)


def one_of_each(material: Material, groups: Rows) -> tuple[Material, Rows]:
    """Return the first item of each group, and the groups of those; all where none has a twin.

    A class, none of whose items is the first of a group, keeps its own first one: its twins have
    another label.

    Parameters
    ----------
    material : Material
    groups : ndarray of int64, shape (N,)
    """
    kept = np.zeros(len(material), dtype=bool)
    kept[np.unique(groups, return_index=True)[1]] = True
    if material.task == "classify":
        lost = np.flatnonzero(lost_classes(material, kept)[material.y])
        kept[lost[np.unique(material.y[lost], return_index=True)[1]]] = True
    if kept.all() or _is_constant(material.y[kept]):
        return material, groups
    return material.take(kept), groups[kept]


def _is_constant(y: NDArray[Any]) -> bool:
    """Return whether there is nothing to learn from labels: tags or values all alike."""
    return bool((y.min(axis=0) == y.max(axis=0)).all())
