"""Picking rows that are unlike each other and like many others."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.types import Rows

ROUNDS = 30
"""Of k-means, at most: rows that hardly cluster would take hundreds and gain nothing."""

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
    them come first, as in TypiClust (Hacohen, Dekel and Weinshall 2022, arXiv:2202.02794).

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
    n_clusters = min(n + len(seen), len(rows))
    clusters = _clusters(rows, n_clusters, heavy, seed)
    own, theirs = clusters.labels_[: len(X)], clusters.labels_[len(X) :]
    masses = np.bincount(own, weights, minlength=n_clusters)
    is_known = np.bincount(theirs, minlength=n_clusters) > 0
    order = [each for each in np.lexsort((-masses, is_known)) if masses[each] > 0][:n]
    picked = [_central(X, np.flatnonzero(own == each), clusters, each) for each in order]
    # Rows that differ by roundings may leave clusters empty.
    rest = np.setdiff1d(np.arange(len(X)), picked)
    heaviest = rest[np.argsort(-weights[rest], kind="stable")]
    return np.concatenate([picked, heaviest[: n - len(picked)]]).astype(np.int64)


def _central(X: NDArray[Any], members: Rows, clusters: Any, cluster: int) -> int:  # noqa: ANN401 - of scikit-learn
    """Return the one of some rows that is nearest to the centre of their cluster."""
    apart = np.square(X[members] - clusters.cluster_centers_[cluster]).sum(axis=1)
    return int(members[apart.argmin()])


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
