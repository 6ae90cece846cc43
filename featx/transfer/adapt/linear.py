"""Linear classifiers as they are moved between domains."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import softmax
from featx.heads.moments import Moments


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Logits ``X @ coef.T + intercept`` of C classes.

    Attributes
    ----------
    coef : ndarray of float32 or float64, shape (C, D)
    intercept : ndarray, shape (C,)
    temperature : float
        Divides the logits before the softmax.
    """

    coef: NDArray[Any]
    intercept: NDArray[Any]
    temperature: float = 1.0

    def logits(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (N, C) of rows (N, D)."""
        return np.asarray(X @ self.coef.T + self.intercept)

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the probabilities (N, C) of rows (N, D)."""
        return np.asarray(softmax(self.logits(X).astype(np.float64) / self.temperature))

    def codes(self, X: NDArray[Any]) -> NDArray[np.int64]:
        """Return the most probable class of each row, shape (N,)."""
        return np.asarray(self.logits(X).argmax(axis=1), dtype=np.int64)

    def raised(self, log_odds: NDArray[np.float64]) -> "Linear":
        """Return it with the logarithm of each class's probability raised by `log_odds` (C,)."""
        shift = (self.temperature * log_odds).astype(self.intercept.dtype)
        return replace(self, intercept=self.intercept + shift)


def ridge(moments: Moments, alpha: float, *, dtype: Any = np.float32) -> Linear:  # noqa: ANN401
    """Return the ridge classifier of some moments, on targets of 1 and -1.

    What `featx.heads.ridge.RidgeProbe` gives at one penalty, without its eigenvectors.

    Parameters
    ----------
    moments : Moments
        Of rows and the indicators of their classes.
    alpha : float, above 0
    dtype : dtype, default float32
    """
    penalised = moments.scatter + alpha * np.eye(len(moments.mean))
    coef = 2 * np.linalg.solve(penalised, moments.cross).T
    intercept = 2 * moments.target_mean - 1 - coef @ moments.mean
    return Linear(coef=coef.astype(dtype), intercept=intercept.astype(dtype))
