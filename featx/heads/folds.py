"""Folds for cross-validation, for any number of items a class."""

import numpy as np
from numpy.typing import NDArray


def deal_folds(codes: NDArray[np.int64], n_folds: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return the fold of each row: shuffled, sorted by class and dealt out like cards.

    The folds' sizes differ by at most one, and so do a class's counts in them.  A class with one
    item is held out once and missing from that fold's training rows; nothing is refused.

    Examples
    --------
    >>> folds = deal_folds(np.array([0, 0, 0, 0, 1, 1]), 2)
    >>> sorted(folds[:4].tolist()), sorted(folds[4:].tolist())
    ([0, 0, 1, 1], [0, 1])
    """
    folds = np.empty(len(codes), dtype=np.int64)
    folds[_by_class(codes, seed)] = np.arange(len(codes)) % max(1, min(n_folds, len(codes)))
    return folds


def stratified_sample(codes: NDArray[np.int64], size: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Return `size` rows, ascending, all classes thinned alike; all rows if there are no more.

    Each class keeps at least one row, so there are more than `size` where classes are many.

    Examples
    --------
    >>> np.bincount(np.array([0] * 90 + [1] * 9 + [2])[stratified_sample(
    ...     np.array([0] * 90 + [1] * 9 + [2]), 10)]).tolist()
    [9, 1, 1]
    """
    if len(codes) <= size:
        return np.arange(len(codes))
    spaced = _by_class(codes, seed)[np.arange(size) * len(codes) // size]
    names, first = np.unique(codes, return_index=True)
    return np.union1d(spaced, first[~np.isin(names, codes[spaced])])


def _by_class(codes: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return all rows sorted by class, shuffled within each."""
    shuffled = np.random.default_rng(seed).permutation(len(codes))
    return np.asarray(shuffled[np.argsort(codes[shuffled], kind="stable")])
