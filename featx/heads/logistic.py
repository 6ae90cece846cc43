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
from featx.heads.logisticrows import Rows, Run

# Rows on which the curvature of the classes is estimated.
_CURVATURE_ROWS = 4096
# A class whose rows are all left out: exp of this is nothing beside its rivals.
_NEVER = -30.0
NO_FOLD = -1


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

    def start(self) -> NDArray[Any]:
        """Return weights (K, D + 1) that give each class its share."""
        weights = np.zeros((self.rows.n_columns, self.rows.width), dtype=self.rows.X.dtype)
        share = self.rows.shares()
        weights[:, -1] = np.log(share)
        if self.rows.indicators is not None:
            weights[:, -1] -= np.log1p(-share)
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
            _Task(
                fit=Fit(start.weights, start.fold),
                ridge=ridge,
                weight=self.rows.weight(start.fold),
                absent=self.rows.absent(start.fold),
                descent=Descent(self._scaled(start.weights, scaling)),
            )
            for start, ridge in zip(starts, ridges, strict=True)
        ]
        floor = atol * self.rows.null_loss
        active = tasks
        while active:
            self._evaluate(active, scaling)
            active = [task for task in active if not task.is_done(rtol, floor, self.max_iter)]
        return [task.fit for task in tasks]

    def held_out(self, fits: Sequence[Fit]) -> NDArray[Any]:
        """Return the logits of each row by the model that left it out, shape (N, K)."""
        logits = np.zeros((len(self.rows.X), self.rows.n_columns), dtype=self.rows.X.dtype)
        weights = {fit.fold: fit.weights for fit in fits}
        for run in self.rows.runs:
            if run.fold in weights:
                logits[run.numbers] = self.rows.block(run) @ weights[run.fold].T
        return logits

    def _scaling(self, weights: NDArray[Any], ridge: float) -> NDArray[Any]:
        """Return what divides gradients and weights in the eigenbasis, (K, D + 1)."""
        logits = weights @ self.rows.sample(_CURVATURE_ROWS).T
        if self.rows.indicators is None:
            logits -= logits.max(axis=0)
            np.exp(logits, out=logits)
            logits /= logits.sum(axis=0)
        else:
            logits = sigmoid(logits)
        softness = (logits * (1 - logits)).mean(axis=1, dtype=np.float64)
        # A class that the sample lacks, or that is told apart perfectly, still bends a little.
        softness = np.maximum(softness, 1e-3 * softness.max(initial=1e-6))
        scaling = np.empty(weights.shape)
        scaling[:, :-1] = np.sqrt(softness[:, None] * self.rows.eigenvalues + ridge)
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
        weights[..., :-1] = trials[..., :-1] @ self.rows.basis.T
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
        losses, gradients = np.zeros(len(weights)), np.zeros_like(weights)
        width = weights.shape[2]
        for fold, runs in self.rows.by_fold():
            fitted = np.flatnonzero(folds != fold)
            if not len(fitted):
                continue
            flat = weights[fitted].reshape(-1, width)
            slope = np.zeros_like(flat)
            for run in runs:
                block = self.rows.block(run)
                logits = flat @ block.T
                cube = logits.reshape(len(fitted), -1, len(block))
                losses[fitted] += _residuals(cube, run)
                slope += logits @ block
                self.n_products += 2 * len(block) * (width - 1) * len(flat)
            gradients[fitted] += slope.reshape(len(fitted), -1, width)
        return losses, gradients


@dataclass(slots=True, kw_only=True)
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

    def is_done(self, rtol: float, floor: float, max_iter: int) -> bool:
        """Return whether the minimum is near enough, or as near as it gets."""
        descent = self.descent
        self.fit.steps = descent.steps
        # From a standstill one step may cost nothing and still find which way the classes lie.
        is_near = descent.steps >= 1 and descent.gap <= rtol * descent.loss + floor
        return is_near or descent.is_stuck or descent.steps >= max_iter


def _residuals(logits: NDArray[Any], run: Run) -> NDArray[np.float64]:
    """Turn logits (A, K, n), in place, into weighted residuals; return summed losses (A,)."""
    if run.indicators is None:
        losses = _softmax_residuals(logits, run.codes)
    else:
        losses = _sigmoid_residuals(logits, run.indicators)
    if run.weights is None:
        return np.asarray(losses.sum(axis=1, dtype=np.float64))
    logits *= run.weights
    return losses @ run.weights.astype(np.float64)


def _softmax_residuals(logits: NDArray[Any], codes: NDArray[np.int64]) -> NDArray[Any]:
    """Turn logits (A, K, n), in place, into residuals; return losses (A, n)."""
    own = (slice(None), codes, np.arange(logits.shape[2]))
    highest = logits.max(axis=1)
    true = logits[own]
    logits -= highest[:, None]
    np.exp(logits, out=logits)
    sums = logits.sum(axis=1)
    logits *= np.reciprocal(sums)[:, None]
    logits[own] -= 1
    return np.asarray(np.log(sums) + highest - true)


def _sigmoid_residuals(logits: NDArray[Any], indicators: NDArray[Any]) -> NDArray[Any]:
    """Turn logits (A, K, n), in place, into residuals; return losses (A, n).

    The loss of a row is the sum over its K tags.
    """
    losses = (np.logaddexp(0, logits) - indicators * logits).sum(axis=1)
    np.negative(logits, out=logits)
    np.exp(np.minimum(logits, 80), out=logits)
    logits += 1
    np.reciprocal(logits, out=logits)
    logits -= indicators
    return np.asarray(losses)
