"""Ridge solutions and their leave-one-out predictions along a path of penalties."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, row_blocks

RELATIVE_ALPHAS = np.logspace(-3, 3, 13)
"""Multiples of the mean eigenvalue of the scatter."""

# How much coarser float32 is than float64.
_FLOAT32_ROUNDING = float(np.finfo(np.float32).eps / np.finfo(np.float64).eps)

# Leave-one-out predictions that are held at once: 2 MiB in float32, which a core's cache holds.
_BLOCK_VALUES = 1 << 19
_MOST_ROWS = 1024


class RidgePath:
    """Ridge regressions of the targets of some moments, one for each penalty.

    Parameters
    ----------
    moments : Moments
    alphas : ndarray of float64, shape (L,), optional
        By default `RELATIVE_ALPHAS` times the mean non-zero eigenvalue.

    Attributes
    ----------
    alphas : ndarray of float64, shape (L,)
    """

    def __init__(self, moments: Moments, alphas: NDArray[np.float64] | None = None) -> None:
        self._moments = moments
        eigenvalues, vectors = np.linalg.eigh(moments.scatter)
        # Below this they are rounding errors of the largest one.
        floor = max(eigenvalues.max(initial=0), 0) * np.finfo(np.float64).eps * len(eigenvalues)
        kept = eigenvalues > floor
        self._eigenvalues, self._vectors = eigenvalues[kept], vectors[:, kept]
        self._products = self._vectors.T @ moments.cross
        # Rows in float32 leave rounding errors that would count as eigenvalues, the more the
        # oftener they were summed; the scale shall not depend on how rows were split.
        is_sound = self._eigenvalues > floor * _FLOAT32_ROUNDING
        scale = float(self._eigenvalues[is_sound].mean()) if kept.any() else 1.0
        self.alphas = RELATIVE_ALPHAS * scale if alphas is None else alphas
        self._shrunk = 1 / (self._eigenvalues[:, None] + self.alphas)  # (R, L)

    def solution(
        self,
        chosen: int,
        dtype: Any,  # noqa: ANN401 - a NumPy dtype
        *,
        sign: int = 1,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return coefficients (T, D) and intercepts (T,) for one penalty.

        Parameters
        ----------
        chosen : int
            Number of the penalty.
        dtype : dtype
        sign : {1, 2}, default 1
            2 turns the answer for targets of 0 and 1 into that for -1 and 1.
        """
        coef = sign * (self._vectors @ (self._products * self._shrunk[:, [chosen]])).T
        intercept = sign * self._moments.target_mean - (sign - 1) - coef @ self._moments.mean
        return np.ascontiguousarray(coef, dtype=dtype), intercept.astype(dtype)

    def generalised_errors(self) -> NDArray[np.float64]:
        """Return the generalised cross-validation error of each penalty and target, (L, T).

        Golub, Heath and Wahba 1979, "Generalized cross-validation as a method for choosing a good
        ridge parameter"; each target is divided by its variance.  It needs no rows.
        """
        weight, e, a = self._moments.weight, self._eigenvalues[:, None], self.alphas
        explained = ((e + 2 * a) * self._shrunk**2).T @ self._products**2
        spread = np.where(self._moments.target_square > 0, self._moments.target_square, 1)
        residual = np.maximum(self._moments.target_square - explained, 0) / spread
        freedom = 1 + (e * self._shrunk).sum(axis=0)
        return np.asarray(residual / np.maximum(1 - freedom / weight, 1e-12)[:, None] ** 2)

    def leave_one_out(
        self,
        X: NDArray[Any],
        targets: NDArray[np.float64] | None,
        *,
        codes: NDArray[np.int64] | None = None,
        weights: NDArray[np.float64] | None = None,
        sign: int = 1,
    ) -> "LeaveOneOut":
        """Return how well each penalty does on each row without that row.

        Parameters
        ----------
        X : ndarray, shape (N, D)
            The rows that the moments are of; read in blocks.
        targets : ndarray of float64, shape (N, T), or None
            None stands for -1, and 1 in the column of the row's class.
        codes : ndarray of int64, shape (N,), optional
            The classes, where there are no targets.
        weights : ndarray of float64, shape (N,), optional
            A row of weight w is left out with a weight of min(1, w), so that a row of weight 2
            counts as two rows.
        sign : {1, 2}, default 1
            As for `solution`; 2 where there are classes.
        """
        n_penalties, n_targets = len(self.alphas), self._products.shape[1]
        leverages = np.empty((n_penalties, len(X)), dtype=X.dtype)
        hits, errors = np.zeros(n_penalties), np.zeros((n_penalties, n_targets))
        solved = self._in_coordinates(X.dtype, sign, shift=sign - 1 if targets is not None else 0)
        for part in row_blocks(X, _block_rows(n_penalties * n_targets)):
            w = None if weights is None else weights[part]
            residuals = self._block(X[part], solved, w, leverages[:, part])
            if targets is not None:
                block = _Block(residuals, targets[part].T.astype(X.dtype))
            else:
                assert codes is not None
                block = _Block(residuals, codes[part])
            block.leave_out(leverages[:, part])
            errors += block.squares(w)
            hits += block.hits(w)
        return LeaveOneOut(self.alphas, leverages, hits, errors)

    def _in_coordinates(self, dtype: Any, sign: int, *, shift: int) -> "_Solved":  # noqa: ANN401
        """Return all solutions as they apply to rows in the basis of eigenvectors."""
        coef = self._shrunk.T[:, None, :] * self._products.T  # (L, T, R)
        flat = sign * coef.reshape(coef.shape[0] * coef.shape[1], coef.shape[2])
        intercept = np.tile(sign * self._moments.target_mean - shift, len(self.alphas))
        return _Solved(
            flat.astype(dtype),
            intercept[:, None].astype(dtype),
            self._vectors.astype(dtype),
            self._moments.mean.astype(dtype),
            self._shrunk.T.astype(dtype),
            np.empty((_MOST_ROWS, len(self._vectors)), dtype=dtype),
        )

    def _block(
        self,
        rows: NDArray[Any],
        solved: "_Solved",
        weights: NDArray[np.float64] | None,
        leverages: NDArray[Any],
    ) -> NDArray[Any]:
        """Return fitted values (L, T, n) of some rows, and write their leverages (L, n)."""
        coordinates = (
            np.subtract(rows, solved.mean, out=solved.buffer[: len(rows)]) @ solved.vectors
        )
        fitted = solved.coef @ coordinates.T
        fitted += solved.intercept
        np.square(coordinates, out=coordinates)
        leverages[:] = solved.shrunk @ coordinates.T
        leverages += rows.dtype.type(1 / self._moments.weight)
        if weights is not None:
            leverages *= np.minimum(weights, 1).astype(rows.dtype)
        return np.asarray(fitted.reshape(len(self.alphas), -1, len(rows)))


@dataclass(frozen=True, slots=True)
class _Solved:
    coef: NDArray[Any]  # (L * T, R)
    intercept: NDArray[Any]  # (L * T, 1)
    vectors: NDArray[Any]  # (D, R)
    mean: NDArray[Any]  # (D,)
    shrunk: NDArray[Any]  # (L, R)
    buffer: NDArray[Any]  # (n, D): centred rows, of one block after the other


class _Block:
    """Residuals of some rows, turned in place into those without each row.

    Rows are the last axis: sums and maxima over the few targets then run over long vectors.
    """

    def __init__(self, fitted: NDArray[Any], truth: NDArray[Any]) -> None:
        self._residuals = fitted
        self._truth = truth  # codes (n,), or targets (T, n)
        self._own = (slice(None), truth, np.arange(fitted.shape[2]))
        if truth.ndim == 2:
            fitted -= truth
        else:
            # The intercept holds one more than the prediction, that is its distance from -1.
            fitted[self._own] -= 2

    def leave_out(self, leverages: NDArray[Any]) -> None:
        """With leverage h a row's residual without it is its residual divided by 1 - h."""
        self._residuals /= _rest(leverages)[:, None]

    def squares(self, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the sum of squares, (L, T)."""
        r = self._residuals
        if weights is None:
            return np.asarray(np.einsum("ltn,ltn->lt", r, r), dtype=np.float64)
        return np.asarray(np.square(r) @ weights, dtype=np.float64)

    def hits(self, weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """Return the sum of hits of each penalty, (L,); of tags, of their share in a row."""
        if self._truth.ndim == 2:
            held_out = self._residuals + self._truth
            hits = ((held_out > 0) == (self._truth > 0)).mean(axis=1)
        else:
            own = self._residuals[self._own] + 2
            self._residuals[self._own] = -np.inf
            hits = own > self._residuals.max(axis=1)
        return np.asarray(hits.sum(axis=1) if weights is None else hits @ weights, np.float64)


@dataclass(frozen=True, slots=True)
class LeaveOneOut:
    """How well each of L penalties does on N rows, each row predicted without itself.

    Attributes
    ----------
    alphas : ndarray of float64, shape (L,)
    leverages : ndarray, shape (L, N)
    hits : ndarray of float64, shape (L,)
        Weighted number of rows whose largest prediction is the right one.
    errors : ndarray of float64, shape (L, T)
        Weighted sums of squared errors.
    """

    alphas: NDArray[np.float64]
    leverages: NDArray[Any]
    hits: NDArray[np.float64]
    errors: NDArray[np.float64]

    def best_classifier(self) -> int:
        """Return the number of the penalty with most hits, then the least squared error."""
        ranks = list(zip(-self.hits, self.errors.sum(axis=1), strict=True))
        return min(range(len(ranks)), key=ranks.__getitem__)

    def best_regressor(self, spread: NDArray[np.float64]) -> int:
        """Return the number of the penalty with the least squared error.

        Parameters
        ----------
        spread : ndarray of float64, shape (T,)
            Divides the errors of each target, so that all count the same.
        """
        return int((self.errors / np.where(spread > 0, spread, 1)).sum(axis=1).argmin())

    def without_itself(
        self, chosen: int, fitted: NDArray[Any], targets: NDArray[Any]
    ) -> NDArray[Any]:
        """Turn fitted values (N, T), in place, into predictions of each row without itself."""
        fitted -= targets
        fitted /= _rest(self.leverages[chosen])[:, None]
        fitted += targets
        return fitted


def _rest(leverages: NDArray[Any]) -> NDArray[Any]:
    # A row that alone decides its own prediction has leverage 1.
    return np.asarray(np.maximum(1 - leverages, np.finfo(leverages.dtype).eps))


def _block_rows(values_a_row: int) -> int:
    return int(np.clip(_BLOCK_VALUES // max(1, values_a_row), 64, _MOST_ROWS))
