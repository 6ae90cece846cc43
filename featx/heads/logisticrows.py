"""Rows as the solver of logistic regressions reads them: centred, scaled, fold by fold."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.labels import Labels
from featx.heads.moments import measure_classes

CENTRED_BYTES = 2 << 30
"""Rows of up to this size are centred once, in a copy; larger ones block by block."""

# Logits that are held at once: 2 MiB in float32, which a core's cache holds.
_BLOCK_VALUES = 1 << 19
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Some rows of one fold.

    Attributes
    ----------
    fold : int
    numbers : ndarray of int64, shape (n,)
        Which rows they are.
    at : slice or ndarray
        Where `Rows.X` holds them.
    codes : ndarray of int64, shape (n,)
        Their classes; empty where there are indicators.
    indicators : ndarray, shape (K, n), or None
        1 where a row has a tag: K logistic regressions instead of one multinomial one.
    weights : ndarray, shape (n,), or None
        None where all rows count the same.
    """

    fold: int
    numbers: NDArray[np.int64]
    at: slice | NDArray[np.int64]
    codes: NDArray[np.int64]
    indicators: NDArray[Any] | None
    weights: NDArray[Any] | None


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What all models see.

    Attributes
    ----------
    X : ndarray, shape (N, D), or (N, D + 1)
        May be a memory map: blocks of it are centred as they are read.  With D + 1 columns it is
        a copy, centred, scaled, with a column of ones and in the order of the runs.
    mean : ndarray, shape (D,)
    scale : float
        Rows are ``(X - mean) / scale``.
    codes : ndarray of int64, shape (N,)
        Classes; zeros where there are indicators.
    indicators : ndarray, shape (K, N), or None
        1 where a row has a tag.
    weights : ndarray of float64, shape (N,)
    folds : ndarray of int64, shape (N,)
    n_columns : int
        K.
    basis : ndarray, shape (D, D)
        Eigenvectors of the scatter of the rows.
    eigenvalues : ndarray, shape (D,)
        Divided by the sum of the weights.
    runs : list of Run
    """

    X: NDArray[Any]
    mean: NDArray[Any]
    scale: float
    codes: NDArray[np.int64]
    indicators: NDArray[Any] | None
    weights: NDArray[np.float64]
    folds: NDArray[np.int64]
    n_columns: int
    basis: NDArray[Any]
    eigenvalues: NDArray[Any]
    runs: list[Run]

    @property
    def is_pair(self) -> bool:
        """Whether the one column tells the second of two classes from the first."""
        return self.n_columns == 1

    @property
    def width(self) -> int:
        """Columns of a block: D + 1."""
        return len(self.mean) + 1

    def by_fold(self) -> Iterator[tuple[int, Iterator[Run]]]:
        """Yield neighbouring runs of one fold together."""
        return groupby(self.runs, key=lambda run: run.fold)

    def block(self, run: Run) -> NDArray[Any]:
        """Return the rows of a run, centred and scaled, and a column of ones; (n, D + 1)."""
        if self.X.shape[1] == self.width:
            return np.asarray(self.X[run.at])
        return _centred(self.X[run.at], self.mean, self.scale)

    def sample(self, n: int) -> NDArray[Any]:
        """Return at most `n` blocks' rows, evenly spaced; (n, D + 1)."""
        chosen = np.linspace(0, len(self.X) - 1, min(len(self.X), n)).astype(int)
        if self.X.shape[1] == self.width:
            return np.asarray(self.X[chosen])
        return _centred(self.X[chosen], self.mean, self.scale)

    def weight(self, fold: int) -> float:
        """Return the sum of the weights of all rows but those of a fold."""
        return float(self.weights[self.folds != fold].sum())

    def absent(self, fold: int) -> NDArray[np.bool_]:
        """Return which classes have no row with weight outside a fold, shape (K,)."""
        if self.indicators is not None:
            return np.zeros(self.n_columns, dtype=bool)
        return np.asarray(self.counts_without(fold) == 0)

    def counts_without(self, fold: int) -> NDArray[np.int64]:
        """Return how many rows with weight each class has outside a fold, shape (C,)."""
        kept = (self.folds != fold) & (self.weights > 0)
        counts = np.bincount(self.codes[kept], minlength=int(self.codes.max()) + 1)
        return np.asarray(counts, dtype=np.int64)

    @cached_property
    def is_taught(self) -> NDArray[np.bool_]:
        """Whether the rows outside a row's fold have its class, shape (N,)."""
        taught = np.ones(len(self.codes), dtype=bool)
        for fold in np.unique(self.folds):
            own = self.folds == fold
            taught[own] = self.counts_without(int(fold))[self.codes[own]] > 0
        return taught

    def shares(self) -> NDArray[np.float64]:
        """Return the share of each class, or of the rows with each tag; above 0, tags below 1."""
        total = self.weights.sum()
        if self.indicators is not None:
            return np.asarray((self.indicators @ self.weights + 0.5) / (total + 1))
        counts = np.bincount(self.codes, self.weights, minlength=self.n_columns)
        return np.asarray(np.maximum(counts / total, _LEAST_SHARE))

    @cached_property
    def null_loss(self) -> float:
        """Log loss of knowing nothing but `shares`."""
        share = self.shares()
        rest = 0 if self.indicators is None else (1 - share) * np.log1p(-share)
        return -float(np.sum(share * np.log(share) + rest))


def prepare(
    X: NDArray[Any],
    labels: Labels,
    weights: NDArray[np.float64] | None,
    folds: NDArray[np.int64],
) -> Rows:
    """Centre and scale rows (N, D), so that the solver meets numbers near one.

    Two classes become one column: one logistic regression on whether it is the second.
    """
    n_classes, indicators = len(labels.classes), labels.indicators
    codes = np.zeros(len(X), np.int64) if indicators is not None else labels.codes
    moments = measure_classes(X, codes, 1 if indicators is not None else n_classes, weights)
    eigenvalues, basis = np.linalg.eigh(moments.scatter / moments.weight)
    eigenvalues = np.maximum(eigenvalues, 0)
    scale = float(np.sqrt(eigenvalues.sum())) or 1.0
    mean = moments.mean.astype(X.dtype)
    columns = None if indicators is None else indicators.T
    if indicators is None and n_classes == 2:
        columns = (labels.codes == 1)[None]
    columns = None if columns is None else np.ascontiguousarray(columns, dtype=X.dtype)
    n_columns = n_classes if columns is None else len(columns)
    is_small = X.nbytes <= CENTRED_BYTES
    # Rows of a map are taken as they come, in long pieces, each sorted by fold.
    piece = len(X) if is_small else 1 << 15
    order = _order(folds, piece)
    n_models = int(folds.max()) + 2
    size = int(np.clip(_BLOCK_VALUES // (n_models * n_columns), 256, 4096))
    facts = (folds, codes, columns, None if weights is None else weights.astype(X.dtype))
    return Rows(
        X=_centred(X[order], mean, scale) if is_small else X,
        mean=mean,
        scale=scale,
        codes=codes,
        indicators=columns,
        weights=np.ones(len(X)) if weights is None else weights,
        folds=folds,
        n_columns=n_columns,
        basis=basis.astype(X.dtype),
        eigenvalues=(eigenvalues / scale**2).astype(X.dtype),
        runs=_runs(order, size, facts, is_sorted=is_small),
    )


def _order(folds: NDArray[np.int64], piece: int) -> NDArray[np.int64]:
    """Return row numbers, those of each piece sorted by fold."""
    return np.lexsort((folds, np.arange(len(folds)) // piece))


def _runs(
    order: NDArray[np.int64],
    size: int,
    facts: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any] | None, NDArray[Any] | None],
    *,
    is_sorted: bool,
) -> list[Run]:
    """Cut `order` into runs of one fold and at most `size` rows."""
    folds, codes, indicators, weights = facts
    edges = np.flatnonzero(np.diff(folds[order], prepend=-1, append=-1))
    runs = []
    for start, stop in pairwise(edges):
        for first in range(start, stop, size):
            part = slice(first, min(first + size, stop))
            numbers = order[part]
            runs.append(
                Run(
                    fold=int(folds[numbers[0]]),
                    numbers=numbers,
                    at=part if is_sorted else numbers,
                    codes=codes[numbers],
                    indicators=None if indicators is None else indicators[:, numbers],
                    weights=None if weights is None else weights[numbers],
                )
            )
    return runs


def _centred(X: NDArray[Any], mean: NDArray[Any], scale: float) -> NDArray[Any]:
    rows = np.empty((len(X), X.shape[1] + 1), dtype=X.dtype)
    np.subtract(X, mean, out=rows[:, :-1])
    rows[:, :-1] *= X.dtype.type(1 / scale)
    rows[:, -1] = 1
    return rows
