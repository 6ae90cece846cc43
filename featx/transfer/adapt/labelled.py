"""A few labels of the target: ridge whose prior is the source."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import class_losses, fit_temperature
from featx.heads.moments import Moments, measure_classes, row_blocks
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear, ridge

WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""What a row of the source may count beside a labelled one of the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFit:
    """A head of the source and of labelled rows of the target.

    Attributes
    ----------
    linear : Linear
    held_out : ndarray, shape (n, C)
        Logits of each labelled row of the target by the head without it.
    weight : float
        What a row of the source counts.
    """

    linear: Linear
    held_out: NDArray[Any]
    weight: float


def fit_labelled(source: Source, X: NDArray[Any], codes: NDArray[np.int64]) -> LabelledFit:
    """Return the ridge head of both domains in which a row of the source weighs what suits best.

    A weighted source is a Gaussian prior on the coefficients, as tight as the source was sure of
    them in each direction.  The weight is that of the least calibrated log loss when each labelled
    row is left out, which is exact; among equals the larger.

    Parameters
    ----------
    source : Source
    X : ndarray of float32 or float64, shape (n, D)
        Labelled rows of the target.
    codes : ndarray of int64, shape (n,)
    """
    own = measure_classes(X, codes, len(source.prior))
    fits = [_fit(source, own, X, codes, weight) for weight in WEIGHTS]
    return min(fits, key=lambda fit: _loss(fit, codes))


def _loss(fit: LabelledFit, codes: NDArray[np.int64]) -> float:
    return float(class_losses(fit.held_out / fit.linear.temperature, codes).mean())


def _fit(
    source: Source, own: Moments, X: NDArray[Any], codes: NDArray[np.int64], weight: float
) -> LabelledFit:
    moments = weighted(source.moments, weight).plus(own)
    # The penalty keeps its size beside what it penalises.
    alpha = source.alpha * float(np.trace(moments.scatter) / np.trace(source.moments.scatter))
    held_out = without_each(moments, alpha, X, codes)
    linear = ridge(moments, alpha, dtype=source.base.coef.dtype)
    return LabelledFit(
        linear=replace(linear, temperature=fit_temperature(held_out, codes)),
        held_out=held_out,
        weight=weight,
    )


def without_each(
    moments: Moments, alpha: float, X: NDArray[Any], codes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the logits (n, C) of each row by the ridge head of all others.

    Parameters
    ----------
    moments : Moments
        Of rows among which `X` are, each of weight one.
    alpha : float, above 0
    X : ndarray of float32 or float64, shape (n, D)
    codes : ndarray of int64, shape (n,)
    """
    linear = ridge(moments, alpha, dtype=np.float64)
    fitted = linear.logits(X.astype(np.float64))
    targets = np.where(codes[:, None] == np.arange(fitted.shape[1]), 1.0, -1.0)
    lever = _leverages(moments, alpha, X)[:, None]
    # A row that alone decides its own prediction has leverage 1.
    rest = np.maximum(1 - lever, np.finfo(np.float64).eps)
    return np.asarray(targets + (fitted - targets) / rest)


def weighted(moments: Moments, weight: float) -> Moments:
    """Return the moments of rows of which each counts `weight`.

    Examples
    --------
    >>> whole = measure_classes(np.array([[1.0], [3.0]]), np.array([0, 1]), 2)
    >>> weighted(whole, 0.5).scatter.tolist(), weighted(whole, 0.5).mean.tolist()
    ([[1.0]], [2.0])
    """
    return replace(
        moments,
        weight=weight * moments.weight,
        scatter=weight * moments.scatter,
        cross=weight * moments.cross,
        target_square=weight * moments.target_square,
    )


def _leverages(moments: Moments, alpha: float, X: NDArray[Any]) -> NDArray[np.float64]:
    """Return how much each row, of weight one, says in its own prediction, shape (n,)."""
    root = np.linalg.cholesky(moments.scatter + alpha * np.eye(len(moments.mean)))
    found = np.empty(len(X))
    for part in row_blocks(X):
        solved = np.linalg.solve(root, (X[part] - moments.mean).T)
        found[part] = np.square(solved).sum(axis=0) + 1 / moments.weight
    return found
