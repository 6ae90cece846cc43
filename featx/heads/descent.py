"""L-BFGS for one smooth convex function, asked for points and told what is found there."""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MEMORY = 10
# Sufficient decrease of Armijo, and the least step before the search is given up.
_DECREASE, _LEAST_STEP = 1e-4, 1e-6
# Accepted steps in a row that bring nothing, within rounding: the end is reached.
_LEVEL_STEPS = 6


class Descent:
    """The state of one minimisation (Nocedal and Wright 2006, algorithm 7.5).

    Several of them can share the evaluation of their trials: ask each for `trial`, evaluate all
    at once, and `tell` each what was found.  The variables should be scaled so that the Hessian
    is near the identity; the first step is then a Newton step.

    Parameters
    ----------
    start : ndarray
        Where to begin, of any shape.

    Attributes
    ----------
    trial : ndarray
        Where to evaluate next.
    point : ndarray
        The best point so far.
    loss : float
        The value there; infinite before the first `tell`.
    gap : float
        Estimate of how far `loss` lies above the minimum: half the Newton decrement squared.
    steps : int
        Points that were accepted after the first.
    is_stuck : bool
        Whether no step goes down any more: rounding errors are all that is left.
    """

    def __init__(self, start: NDArray[Any]) -> None:
        self.trial = self.point = start
        self.loss = self.gap = float("inf")
        self.steps = 0
        self.is_stuck = False
        self._gradient = np.zeros_like(start)
        self._direction = np.zeros_like(start)
        self._step = 1.0
        self._level_steps = 0
        self._least_gap = float("inf")
        self._pairs: deque[tuple[NDArray[Any], NDArray[Any], float]] = deque(maxlen=_MEMORY)

    def tell(self, loss: float, gradient: NDArray[Any]) -> bool:
        """Take the value and gradient at `trial`; return whether it is the new `point`."""
        is_first = self.loss == float("inf")
        # Below this a change of the loss is rounding error, of terms that are near one or more.
        noise = 2 * float(np.finfo(gradient.dtype).eps) * max(1.0, abs(self.loss))
        if not is_first and not loss <= self.loss - 2 * _DECREASE * self._step * self.gap + noise:
            self._shorten(loss)
            return False
        is_lower = loss < self.loss
        if not is_first:
            self._remember(self.trial - self.point, gradient - self._gradient)
            self.steps += 1
        self.point, self.loss, self._gradient = self.trial, loss, gradient
        self._direction = self._descend(gradient)
        self.gap = -_dot(gradient, self._direction) / 2
        # Where rounding hides what is won, the gradient may still shrink.
        is_nearer = is_lower or self.gap < self._least_gap / 2
        self._least_gap = min(self._least_gap, self.gap)
        self._level_steps = 0 if is_nearer else self._level_steps + 1
        self.is_stuck = self._level_steps >= _LEVEL_STEPS
        self._step = 1.0
        self.trial = self.point + self._direction
        return True

    def _shorten(self, loss: float) -> None:
        """Go back towards the minimum of the parabola through what is known."""
        slope = -2 * self.gap * self._step
        bend = loss - self.loss - slope
        share = -slope / (2 * bend) if np.isfinite(bend) and bend > 0 else 0.1
        self._step *= float(np.clip(share, 0.1, 0.5))
        self.is_stuck = self._step < _LEAST_STEP
        self.trial = self.point + self._direction * self._direction.dtype.type(self._step)

    def _remember(self, move: NDArray[Any], change: NDArray[Any]) -> None:
        curvature, square = _dot(move, change), _dot(change, change)
        # The square of a tiny change is zero in its precision.
        if square > 0 and curvature > float(np.finfo(move.dtype).eps) * square:
            self._pairs.append((move, change, curvature))

    def _descend(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """Return minus the gradient times the inverse Hessian that the pairs imply."""
        direction, shares = -gradient, []
        real = gradient.dtype.type
        for move, change, curvature in reversed(self._pairs):
            share = _dot(move, direction) / curvature
            shares.append(share)
            direction -= real(share) * change
        if self._pairs:
            _, change, curvature = self._pairs[-1]
            direction *= real(curvature / _dot(change, change))
        for (move, change, curvature), share in zip(self._pairs, reversed(shares), strict=True):
            direction += real(share - _dot(change, direction) / curvature) * move
        return direction


def _dot(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(np.dot(a.ravel(), b.ravel()))
