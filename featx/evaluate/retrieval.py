"""Measures of retrieval: what share of the nearest items are of the query's label.

Labels are of any type that compares with ``==``.  Queries without a match in the gallery count:
nothing of theirs can be found.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.types import Rows


def recall_at_k(
    neighbours: Rows, gallery_labels: NDArray[Any], query_labels: NDArray[Any], *, k: int
) -> float:
    """Return the share of queries with a true match among their first `k` neighbours.

    What metric learning calls recall@k (Jégou, Douze and Schmid 2011): one match is enough.

    Parameters
    ----------
    neighbours : ndarray of int64, shape (M, K), K >= k
        Gallery rows, nearest first.
    gallery_labels : ndarray, shape (N,)
    query_labels : ndarray, shape (M,)
    k : int, >= 1

    Raises
    ------
    InputError
        If `k` exceeds K, or there is no query.

    Examples
    --------
    >>> recall_at_k(np.array([[1, 0]]), np.array([7, 8]), np.array([7]), k=2)
    1.0
    """
    return float(_matches(neighbours, gallery_labels, query_labels, k).any(axis=1).mean())


def mean_average_precision(
    neighbours: Rows,
    gallery_labels: NDArray[Any],
    query_labels: NDArray[Any],
    *,
    k: int,
    is_held_out: bool = False,
) -> float:
    """Return mAP@k: the mean over queries of the average precision of their first `k` neighbours.

    The average precision of a query with R true matches in the gallery is the sum of the precision
    at each rank up to `k` where there is a match, divided by min(R, `k`), what can be found
    (Weyand, Araujo, Cao and Sim 2020, "Google Landmarks Dataset v2", section 4.3); with `k` = R it
    is the mAP@R of Musgrave, Belongie and Lim (2020).  A query with R = 0 has 0.

    Parameters
    ----------
    neighbours, gallery_labels, query_labels, k
        As `recall_at_k` takes them.
    is_held_out : bool, default False
        Whether queries are gallery rows that were left out of their own neighbours, and count one
        match less.

    Raises
    ------
    InputError
        As `recall_at_k` does.

    Examples
    --------
    >>> labels = np.array([7, 8, 7])
    >>> mean_average_precision(np.array([[1, 0, 2]]), labels, np.array([7]), k=3)
    0.5833333333333333
    """
    is_match = _matches(neighbours, gallery_labels, query_labels, k)
    names, counts = np.unique(gallery_labels, return_counts=True)
    at = np.searchsorted(names, query_labels).clip(max=len(names) - 1)
    present = np.where(names[at] == query_labels, counts[at] - int(is_held_out), 0)
    precision = is_match.cumsum(axis=1) / np.arange(1, k + 1)
    found = (precision * is_match).sum(axis=1)
    return float((found / np.clip(present, 1, k)).mean())


def _matches(
    neighbours: Rows, gallery_labels: NDArray[Any], query_labels: NDArray[Any], k: int
) -> NDArray[np.bool_]:
    """Return which of the first `k` neighbours have the query's label, shape (M, k)."""
    if not 1 <= k <= neighbours.shape[1]:
        raise InputError(f"k: found {k}; must be 1 to {neighbours.shape[1]}, the neighbours given")
    if not len(neighbours):
        raise InputError("queries: found none; need at least one")
    return np.asarray(gallery_labels[neighbours[:, :k]] == query_labels[:, None])
