"""Penalised logistic regressions on the same rows, minimised side by side.

The rows are read once for all models under way: one matrix product gives their logits, another
their gradients.  Each model may leave out the rows of one fold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import sigmoid
from featx.heads.descent import Descent
from featx.heads.labels import Labels
from featx.heads.moments import measure_classes, row_blocks

# Logits that are held at once: 1 MiB in float32, which a core's cache holds.
_BLOCK_VALUES = 1 << 18
# Rows on which the curvature of the classes is estimated.
_CURVATURE_ROWS = 4096
# A class whose rows are all left out: exp of this is nothing beside its rivals.
_NEVER = -30.0
NO_FOLD = -1


CENTRED_BYTES = 2 << 30
"""Rows of up to this size are centred once, in a copy; larger ones block by block."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What all models see.

    Attributes
    ----------
    X : ndarray, shape (N, D)
        May be a memory map: blocks of it are centred as they are read.
    mean : ndarray, shape (D,), or None
        None where `X` is centred and scaled already.
    scale : float
        Rows are ``(X - mean) / scale``.
    codes : ndarray of int64, shape (N,)
        Classes; empty where there are indicators.
    indicators : ndarray, shape (K, N), or None
        1 where a row has a tag: K logistic regressions instead of one multinomial one.
    weights : ndarray, shape (N,)
    folds : ndarray of int64, shape (N,)
    n_columns : int
        K.
    basis : ndarray, shape (D, D)
        Eigenvectors of the scatter of the rows.
    eigenvalues : ndarray, shape (D,)
        Divided by the sum of the weights.
    """

    X: NDArray[Any]
    mean: NDArray[Any] | None
    scale: float
    codes: NDArray[np.int64]
    indicators: NDArray[Any] | None
    weights: NDArray[Any]
    folds: NDArray[np.int64]
    n_columns: int
    basis: NDArray[Any]
    eigenvalues: NDArray[Any]

    def block(self, part: slice | NDArray[np.int64]) -> NDArray[Any]:
        """Return some rows, centred and scaled."""
        if self.mean is None:
            return np.asarray(self.X[part])
        rows = np.subtract(self.X[part], self.mean)
        rows *= rows.dtype.type(1 / self.scale)
        return np.asarray(rows)

    def weight(self, fold: int) -> float:
        """Return the sum of the weights of all rows but those of a fold."""
        return float(self.weights[self.folds != fold].sum(dtype=np.float64))

    def absent(self, fold: int) -> NDArray[np.bool_]:
        """Return which classes have no row with weight outside a fold, shape (K,)."""
        if self.indicators is not None:
            return np.zeros(self.n_columns, dtype=bool)
        kept = (self.folds != fold) & (self.weights > 0)
        return np.asarray(np.bincount(self.codes[kept], minlength=self.n_columns) == 0)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Rows, and the centre (D,) and scale that coefficients have to be taken back by."""

    rows: Rows
    mean: NDArray[Any]
    scale: float


def prepare(
    X: NDArray[Any],
    labels: Labels,
    weights: NDArray[np.float64] | None,
    folds: NDArray[np.int64],
) -> Prepared:
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
    is_small = X.nbytes <= CENTRED_BYTES
    rows = Rows(
        (X - mean) * X.dtype.type(1 / scale) if is_small else X,
        None if is_small else mean,
        scale,
        codes,
        None if columns is None else np.ascontiguousarray(columns, dtype=X.dtype),
        (np.ones(len(X)) if weights is None else weights).astype(X.dtype),
        folds,
        n_classes if columns is None else len(columns),
        basis.astype(X.dtype),
        (eigenvalues / scale**2).astype(X.dtype),
    )
    return Prepared(rows, mean, scale)


@dataclass(slots=True)
class Fit:
    """One model.

    Attributes
    ----------
    weights : ndarray, shape (K, D + 1)
        The intercepts come last.
    fold : int
        Its rows are left out; `NO_FOLD` leaves out none.
    steps : int
        How many it took.
    """

    weights: NDArray[Any]
    fold: int
    steps: int = 0


class Solver:
    """Minimises mean log loss + ``ridge / 2 * |W|^2`` for several models at once.

    Every model is descended in coordinates in which its Hessian is near the identity: rotated to
    the eigenvectors of the scatter, and divided by ``sqrt(s_k * eigenvalue + ridge)`` with
    ``s_k`` the mean of p (1 - p) of class k.  That is why few iterations suffice.

    Parameters
    ----------
    rows : Rows
    max_iter : int
        Most steps of one model.

    Attributes
    ----------
    n_products : int
        Multiplications of the passes over the rows so far.
    """

    def __init__(self, rows: Rows, *, max_iter: int) -> None:
        self.rows = rows
        self.max_iter = max_iter
        self.n_products = 0
        self._null = self._null_loss()

    def _null_loss(self) -> float:
        rows = self.rows
        weights = rows.weights.astype(np.float64)
        if rows.indicators is None:
            share = np.bincount(rows.codes, weights, minlength=rows.n_columns) / weights.sum()
            return -float(np.sum(share * np.log(np.maximum(share, 1e-300))))
        share = np.clip(rows.indicators @ weights / weights.sum(), 1e-300, 1)
        return -float(np.sum(share * np.log(share) + (1 - share) * np.log1p(-share * (1 - 1e-16))))

    def start(self) -> NDArray[Any]:
        """Return weights (K, D + 1) that give each class its share."""
        rows = self.rows
        weights = np.zeros((rows.n_columns, rows.X.shape[1] + 1), dtype=rows.X.dtype)
        total = rows.weights.sum(dtype=np.float64)
        if rows.indicators is None:
            share = np.bincount(rows.codes, rows.weights, minlength=rows.n_columns) / total
            weights[:, -1] = np.log(np.maximum(share, 1e-12))
        else:
            share = (rows.indicators @ rows.weights + 0.5) / (total + 1)
            weights[:, -1] = np.log(share / (1 - share))
        return weights

    def minimise(
        self, starts: Sequence[Fit], ridges: Sequence[float], rtol: float, atol: float = 0.0
    ) -> list[Fit]:
        """Return the models that `starts` lead to.

        Parameters
        ----------
        starts : sequence of Fit
        ridges : sequence of float
            Penalty of each.
        rtol : float
            A model is done when its estimated distance to the minimum is below `rtol` times its
            loss: no scale of rows, weights or penalties matters.
        atol : float, default 0
            Or below `atol` times the log loss of knowing the shares of the classes alone.
        """
        if not starts:
            return []
        scaling = self._scaling(starts[0].weights, float(np.mean(ridges)))
        tasks = [
            _Task(Fit(start.weights, start.fold), ridge, self.rows.weight(start.fold),
                  self.rows.absent(start.fold), Descent(self._scaled(start.weights, scaling)))
            for start, ridge in zip(starts, ridges, strict=True)
        ]  # fmt: skip
        active = tasks
        while active:
            self._evaluate(active, scaling)
            active = [
                task for task in active if not task.is_done(rtol, atol * self._null, self.max_iter)
            ]
        return [task.fit for task in tasks]

    def held_out(self, fits: Sequence[Fit]) -> NDArray[Any]:
        """Return the logits of each row by the model that left it out, shape (N, K)."""
        rows = self.rows
        logits = np.zeros((len(rows.X), rows.n_columns), dtype=rows.X.dtype)
        for fit in fits:
            chosen = np.flatnonzero(rows.folds == fit.fold)
            for part in row_blocks(chosen):
                block = rows.block(chosen[part])
                logits[chosen[part]] = block @ fit.weights[:, :-1].T + fit.weights[:, -1]
        return logits

    def _scaling(self, weights: NDArray[Any], ridge: float) -> NDArray[Any]:
        """Return what divides gradients and weights in the eigenbasis, (K, D + 1)."""
        rows = self.rows
        sample = np.linspace(0, len(rows.X) - 1, min(len(rows.X), _CURVATURE_ROWS)).astype(int)
        logits = weights[:, :-1] @ rows.block(sample).T + weights[:, -1:]
        if rows.indicators is None:
            logits -= logits.max(axis=0)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=0)
        else:
            logits = sigmoid(logits)
        softness = (logits * (1 - logits)).mean(axis=1, dtype=np.float64)
        # A class that the sample lacks, or that is told apart perfectly, still bends a little.
        softness = np.maximum(softness, 1e-3 * softness.max(initial=1e-6))
        scaling = np.empty(weights.shape)
        scaling[:, :-1] = np.sqrt(softness[:, None] * rows.eigenvalues + ridge)
        scaling[:, -1] = np.sqrt(softness)
        return scaling.astype(weights.dtype)

    def _scaled(self, weights: NDArray[Any], scaling: NDArray[Any]) -> NDArray[Any]:
        """Return weights in the coordinates of the descent."""
        scaled = weights.copy()
        scaled[:, :-1] = weights[:, :-1] @ self.rows.basis
        scaled *= scaling
        return scaled

    def _evaluate(self, tasks: "list[_Task]", scaling: NDArray[Any]) -> None:
        """Tell each task the loss and gradient at its trial."""
        trials = np.stack([task.descent.trial for task in tasks])
        trials /= scaling
        weights = trials.copy()
        np.matmul(trials[..., :-1], self.rows.basis.T, out=weights[..., :-1])
        for task, own in zip(tasks, weights, strict=True):
            own[task.absent] = 0
            own[task.absent, -1] = _NEVER
        losses, gradients = self._pass(weights, np.array([task.fit.fold for task in tasks]))
        gradients[..., :-1] = gradients[..., :-1] @ self.rows.basis
        for i, task in enumerate(tasks):
            task.tell(losses[i], gradients[i], trials[i], weights[i], scaling)

    def _pass(
        self, weights: NDArray[Any], folds: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """Read the rows once for models of weights (A, K, D + 1) that leave out `folds` (A,).

        Returns the summed losses (A,) and their gradients (A, K, D + 1).
        """
        rows = self.rows
        n_models, n_columns, width = weights.shape
        flat = weights.reshape(-1, width)
        sums = np.zeros(n_models)
        gradients = np.zeros_like(flat)
        block_rows = int(np.clip(_BLOCK_VALUES // len(flat), 256, 4096))
        for part in row_blocks(rows.X, block_rows):
            block = rows.block(part)
            logits = flat[:, :-1] @ block.T
            logits += flat[:, -1:]
            cube = logits.reshape(n_models, n_columns, -1)
            kept = (rows.folds[part] != folds[:, None]) * rows.weights[part]
            if rows.indicators is None:
                losses = _softmax_residuals(cube, rows.codes[part], kept)
            else:
                losses = _sigmoid_residuals(cube, rows.indicators[:, part], kept)
            sums += np.einsum("an,an->a", losses, kept, dtype=np.float64)
            gradients[:, :-1] += logits @ block
            gradients[:, -1] += logits.sum(axis=1)
        self.n_products += 2 * rows.X.shape[0] * (width - 1) * len(flat)
        return sums, gradients.reshape(weights.shape)


@dataclass(slots=True)
class _Task:
    """A fit under way."""

    fit: Fit
    ridge: float
    weight: float
    absent: NDArray[np.bool_]
    descent: Descent

    def tell(
        self,
        loss: float,
        gradient: NDArray[Any],
        trial: NDArray[Any],
        weights: NDArray[Any],
        scaling: NDArray[Any],
    ) -> None:
        """Hand the descent sums of the rows; `trial` are the weights in the eigenbasis."""
        inner, real = trial[:, :-1], trial.dtype.type
        penalty = self.ridge / 2 * float(np.einsum("kd,kd->", inner, inner, dtype=np.float64))
        gradient *= real(1 / self.weight)
        gradient[:, :-1] += real(self.ridge) * inner
        gradient[self.absent] = 0
        gradient /= scaling
        if self.descent.tell(loss / self.weight + penalty, gradient):
            self.fit.weights = weights

    def is_done(self, rtol: float, atol: float, max_iter: int) -> bool:
        descent = self.descent
        self.fit.steps = descent.steps
        # From a standstill one step may cost nothing and still find which way the classes lie.
        is_near = descent.steps >= 1 and descent.gap <= rtol * descent.loss + atol
        return is_near or descent.is_stuck or descent.steps >= max_iter


def _softmax_residuals(
    logits: NDArray[Any], codes: NDArray[np.int64], kept: NDArray[Any]
) -> NDArray[Any]:
    """Turn logits (A, K, n), in place, into weighted residuals; return losses (A, n)."""
    own = (slice(None), codes, np.arange(logits.shape[2]))
    highest = logits.max(axis=1)
    true = logits[own]
    logits -= highest[:, None]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1)
    logits *= (kept / sums)[:, None]
    logits[own] -= kept
    return np.asarray(np.log(sums) + highest - true)


def _sigmoid_residuals(
    logits: NDArray[Any], indicators: NDArray[Any], kept: NDArray[Any]
) -> NDArray[Any]:
    """Turn logits (A, K, n), in place, into weighted residuals; return losses (A, n).

    The loss of a row is the sum over its K tags.
    """
    losses = (np.logaddexp(0, logits) - indicators * logits).sum(axis=1)
    np.negative(logits, out=logits)
    np.exp(np.minimum(logits, 80), out=logits)
    logits += 1
    np.reciprocal(logits, out=logits)
    logits -= indicators
    logits *= kept[:, None]
    return np.asarray(losses)
