"""Folds for cross-validation, for any number of items a class."""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import InputError


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


def group_folds(
    codes: NDArray[np.int64], groups: ArrayLike, n_folds: int, *, seed: int = 0
) -> NDArray[np.int64]:
    """Return the fold of each row, the rows of a group in one fold, classes spread evenly.

    Parameters
    ----------
    codes : ndarray of int64, shape (N,)
    groups : array-like, shape (N,)
    n_folds : int
        At most one a group.
    seed : int, default 0

    Raises
    ------
    InputError
        If there are fewer than two groups, not one group a row, or they are of mixed types.

    Examples
    --------
    >>> folds = group_folds(np.array([0, 0, 1, 1]), ["a", "a", "b", "b"], 2)
    >>> bool(folds[0] == folds[1] != folds[2] == folds[3])
    True
    """
    try:
        names, of_row = np.unique(np.asarray(groups), return_inverse=True)
    except TypeError as cause:
        message = "groups: values of mixed types; expected one type; turn them all into text"
        raise InputError(message) from cause
    if len(of_row) != len(codes) or len(names) < 2:
        message = (
            f"groups: {len(names)} in {len(of_row)} values for {len(codes)} rows;"
            " expected one value a row and two groups or more"
        )
        raise InputError(message)
    n_splits = min(n_folds, len(names))
    is_alone = np.bincount(of_row)[of_row] == 1
    n_shared = len(np.unique(of_row[~is_alone]))
    if n_shared >= n_splits > is_alone.sum():
        return _stratified_groups(codes, of_row, n_splits, seed)
    # The splitter takes seconds for thousands of groups, and a row alone needs none.
    folds = np.full(len(codes), -1, dtype=np.int64)
    folds[is_alone] = deal_folds(codes[is_alone], n_splits, seed=seed)
    if n_shared >= n_splits:
        folds[~is_alone] = _stratified_groups(codes[~is_alone], of_row[~is_alone], n_splits, seed)
    else:
        _deal_groups(folds, codes, of_row, n_splits)
    return folds


def _deal_groups(
    folds: NDArray[np.int64], codes: NDArray[np.int64], of_row: NDArray[np.int64], n_splits: int
) -> None:
    """Give the rows without a fold (-1) one, in place, the largest groups first.

    A group goes where its commonest class has fewest rows, and of such folds to the smallest: an
    empty one, if there is any.
    """
    waiting = np.bincount(of_row[folds < 0])
    for group in np.argsort(-waiting, kind="stable")[: np.count_nonzero(waiting)]:
        members = of_row == group
        is_alike = codes == np.bincount(codes[members]).argmax()
        sizes = np.bincount(folds[folds >= 0], minlength=n_splits)
        alike = np.bincount(folds[is_alike & (folds >= 0)], minlength=n_splits)
        folds[members] = np.lexsort((sizes, alike))[0]


def _stratified_groups(
    codes: NDArray[np.int64], of_row: NDArray[np.int64], n_splits: int, seed: int
) -> NDArray[np.int64]:
    from sklearn.model_selection import StratifiedGroupKFold

    if np.bincount(codes).max() < n_splits:
        # No class can be in all folds, and the splitter would refuse: deal the groups alone.
        codes = np.zeros_like(codes)
    splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class with fewer groups than folds is missing from some of them, and that is all right.
        warnings.simplefilter("ignore", UserWarning)
        return read_splits(list(splitter.split(codes, codes, of_row)), len(codes))


def choose_folds(
    codes: NDArray[np.int64],
    cv: int | Sequence[tuple[ArrayLike, ArrayLike]],
    groups: ArrayLike | None,
    *,
    seed: int,
) -> NDArray[np.int64]:
    """Return the fold of each row as an estimator was told to make them.

    Parameters
    ----------
    codes : ndarray of int64, shape (N,)
    cv : int or sequence of (train, test)
        Number of folds, or the folds themselves.
    groups : array-like, shape (N,), or None
        Rows of one group share a fold.
    seed : int

    Raises
    ------
    InputError
        If there are folds and groups, or either is not as it should be.
    """
    if not isinstance(cv, int):
        if groups is not None:
            message = "cv: groups and folds are given; expected one of them"
            raise InputError(message)
        return read_splits(list(cv), len(codes))
    if groups is not None:
        return group_folds(codes, groups, cv, seed=seed)
    return deal_folds(codes, cv, seed=seed)


def read_splits(splits: Sequence[tuple[ArrayLike, ArrayLike]], n_rows: int) -> NDArray[np.int64]:
    """Return the fold of each row from pairs of row numbers (train, test).

    Raises
    ------
    InputError
        If the test parts do not hold each row once, or a train part is not the rest, or empty.
    """
    folds = np.full(n_rows, -1, dtype=np.int64)
    counts = np.zeros(n_rows, dtype=np.int64)
    for number, (train, test) in enumerate(splits):
        held_out = _marked(test, n_rows)
        kept = _marked(train, n_rows)
        if (kept == held_out).any() or not kept.any():
            message = (
                f"cv: fold {number} does not train on all rows but its test rows;"
                " expected the rest of the rows, one at least"
            )
            raise InputError(message)
        folds[held_out] = number
        counts += held_out
    if len(splits) < 2 or (counts != 1).any():
        message = (
            f"cv: {len(splits)} folds hold {int((counts == 1).sum())} of {n_rows} rows once;"
            " expected two folds or more that hold each row once"
        )
        raise InputError(message)
    return folds


def _marked(rows: ArrayLike, n_rows: int) -> NDArray[np.bool_]:
    """Return a mask (N,) of row numbers, or of a mask."""
    numbers = np.asarray(rows)
    marked = np.zeros(n_rows, dtype=bool)
    try:
        marked[numbers if numbers.size else []] = True
    except IndexError as cause:
        message = f"cv: {cause}; expected row numbers below {n_rows}, or masks of {n_rows} rows"
        raise InputError(message) from cause
    return marked


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
