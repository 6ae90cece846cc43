"""Rows of few items in the coordinates that they span."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RowSpace:
    """Rows, perhaps in fewer coordinates: ``X - mean = rows @ basis``, or ``X = rows``.

    Attributes
    ----------
    rows : ndarray, shape (N, R)
    basis : ndarray, shape (R, D), or None
        Orthonormal; None where the rows were left as they are.
    mean : ndarray, shape (D,)
        Zeros where the rows were left as they are.
    """

    rows: NDArray[Any]
    basis: NDArray[Any] | None
    mean: NDArray[Any]

    def widen(
        self, coef: NDArray[Any], intercept: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return coefficients (C, R) and intercepts (C,) as they apply to the rows of X."""
        if self.basis is None:
            return coef, intercept
        wide = coef @ self.basis
        return wide, intercept - wide @ self.mean


def narrow_exactly(X: NDArray[Any]) -> RowSpace:
    """Return what `narrow` does; in float64 if `X` has fewer rows than columns.

    There a weak penalty nearly interpolates: what a row would get without itself is then a small
    difference over a small difference, which float32 does not hold.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
    """
    return narrow(X.astype(np.float64) if len(X) < X.shape[1] else X)


def narrow(X: NDArray[Any]) -> RowSpace:
    """Return `X` in coordinates of its centred row space if it has fewer rows than columns.

    A penalised minimum lies in that space, so nothing changes but the solver's work.  The inner
    products are summed and decomposed in float64: in float32 directions of less than a hundredth
    of the largest would drown in rounding errors.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)

    Examples
    --------
    >>> X = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
    >>> space = narrow(X)
    >>> space.rows.shape, np.allclose(space.rows @ space.basis + space.mean, X)
    ((2, 1), True)
    """
    if len(X) >= X.shape[1]:
        return RowSpace(X, None, np.zeros(X.shape[1], dtype=X.dtype))
    mean = X.mean(axis=0, dtype=np.float64)
    centred = X - mean
    squares, vectors = np.linalg.eigh(centred @ centred.T)
    # Below this they are rounding errors of the largest one, or of the mean.
    eps = float(np.finfo(np.float64).eps)
    kept = squares > max(squares[-1], eps * float(mean @ mean)) * eps * len(squares)
    lengths, vectors = np.sqrt(squares[kept]), vectors[:, kept]
    basis = (vectors / lengths).T @ centred
    return RowSpace(
        np.ascontiguousarray(vectors * lengths, dtype=X.dtype),
        np.ascontiguousarray(basis, dtype=X.dtype),
        mean.astype(X.dtype),
    )
