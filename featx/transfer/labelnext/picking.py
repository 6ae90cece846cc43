"""Picking rows that are unlike each other and like many others."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.types import Rows

ROUNDS = 30
"""Of k-means, at most: rows that hardly cluster would take hundreds and gain nothing."""

MOST = 250
"""Clusters beside those of known rows, at most: of 20,000 rows of 384 columns they take a core 4 to
6 seconds, 500 take 10.  Where more rows are wanted, clusters give several.
"""

MANY = 100
"""From so many clusters on, one candidate for each first centre has to do: more take minutes."""


def pick_different(
    X: NDArray[Any],
    n: int,
    *,
    weights: NDArray[np.float64],
    seed: int,
    known: NDArray[Any] | None = None,
) -> Rows:
    """Return `n` rows of `X`, each near the centre of a cluster of its own, the heaviest first.

    Weighted k-means: a cluster is where much weight lies together, and its most central row is
    the most typical one (Zhdanov 2019, "Diverse mini-batch active learning", arXiv:1901.05954).
    Where rows are known already there is a cluster more for each, and those that hold none of
    them come first, as in TypiClust (Hacohen, Dekel and Weinshall 2022, arXiv:2202.02794).  Of
    more than `MOST` rows clusters give one each in turn, after the most central one the heaviest.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
        Different rows.
    n : int
        At most N are returned.
    weights : ndarray of float64, shape (N,), above 0
    seed : int
    known : ndarray of float32, shape (K, D), optional
    """
    if n >= len(X):
        return np.argsort(-weights, kind="stable")
    seen = X[:0] if known is None else known
    rows = np.concatenate([X, seen])
    heavy = np.concatenate([weights, np.full(len(seen), weights.mean())])
    n_clusters = min(n, MOST) + len(seen)
    clusters = _clusters(rows, n_clusters, heavy, seed)
    own, theirs = clusters.labels_[: len(X)], clusters.labels_[len(X) :]
    masses = np.bincount(own, weights, minlength=n_clusters)
    is_known = np.bincount(theirs, minlength=n_clusters) > 0
    apart = np.square(X - clusters.cluster_centers_[own]).sum(axis=1)
    turns = _turns(own, apart, weights)
    return np.lexsort((-masses[own], is_known[own], turns))[:n]


def _turns(own: Rows, apart: NDArray[Any], weights: NDArray[np.float64]) -> Rows:
    """Return how many rows of its cluster come before each: first is the one nearest the centre.

    Examples
    --------
    >>> own, apart = np.array([0, 0, 0, 1]), np.array([0.3, 0.1, 0.2, 0.5])
    >>> _turns(own, apart, weights=np.array([1.0, 1.0, 2.0, 1.0])).tolist()
    [2, 0, 1, 0]
    """
    nearest = np.lexsort((apart, own))
    is_central = np.zeros(len(own), bool)
    is_central[nearest[np.unique(own[nearest], return_index=True)[1]]] = True
    order = np.lexsort((-weights, ~is_central, own))
    turns = np.empty(len(own), np.int64)
    turns[order] = np.arange(len(own)) - np.searchsorted(own[order], own[order])
    return turns


def _clusters(X: NDArray[Any], n: int, weights: NDArray[np.float64], seed: int) -> Any:  # noqa: ANN401 - of scikit-learn
    from sklearn.cluster import KMeans, kmeans_plusplus
    from sklearn.exceptions import ConvergenceWarning

    trials = None if n < MANY else 1
    first, _ = kmeans_plusplus(
        X, n, sample_weight=weights, random_state=seed, n_local_trials=trials
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of empty clusters
        return KMeans(n, init=first, n_init=1, max_iter=ROUNDS).fit(X, sample_weight=weights)
