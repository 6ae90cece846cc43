"""Alignments: affine maps that give rows of the target the moments of the source.

They know no labels.  Each is shrunk, so that constant columns and few rows do no harm.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, measure
from featx.transfer.adapt.linear import Linear

SHRINKAGE = 0.1
"""Share of the mean variance in every variance; Sun, Feng and Saenko add a multiple of it too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Affine:
    """The map ``(x - mean) @ matrix + offset``, of rows of the target to the source.

    Attributes
    ----------
    mean : ndarray of float64, shape (D,)
        Of the target.
    offset : ndarray of float64, shape (D,)
        Of the source.
    matrix : ndarray of float64, shape (D, D), or None
        None for the identity.
    """

    mean: NDArray[np.float64]
    offset: NDArray[np.float64]
    matrix: NDArray[np.float64] | None = None

    def __call__(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return mapped rows (N, D), in the dtype of `X`."""
        if self.matrix is None:
            return np.asarray(X + (self.offset - self.mean).astype(X.dtype))
        # Centred in their own precision first: far from zero a product would lose the differences.
        centred = X - self.mean.astype(X.dtype)
        return np.asarray(centred @ self.matrix.astype(X.dtype) + self.offset.astype(X.dtype))

    def folded(self, linear: Linear) -> Linear:
        """Return the classifier of unmapped rows that equals `linear` of mapped ones."""
        wide = linear.coef.astype(np.float64)
        coef = wide if self.matrix is None else wide @ self.matrix.T
        intercept = linear.intercept + wide @ self.offset - coef @ self.mean
        dtype = linear.coef.dtype
        return replace(linear, coef=coef.astype(dtype), intercept=intercept.astype(dtype))


def identity(source: Moments, _: Moments) -> Affine:
    """Leave rows where they are."""
    return Affine(mean=source.mean, offset=source.mean)


def centre(source: Moments, target: Moments) -> Affine:
    """Move the mean of the target onto that of the source."""
    return Affine(mean=target.mean, offset=source.mean)


def zscore(source: Moments, target: Moments) -> Affine:
    """Give each column the mean and the standard deviation that it has in the source."""
    stretch = np.sqrt(_variances(source) / _variances(target))
    return Affine(mean=target.mean, offset=source.mean, matrix=np.diag(stretch))


def coral(source: Moments, target: Moments) -> Affine:
    """Give the target the mean and the covariance of the source.

    Sun, Feng and Saenko 2016, "Return of frustratingly easy domain adaptation" (arXiv:1511.05547),
    turned round: rows of the target are whitened and recoloured, so that the head can stay.
    """
    whiten = _power(_covariance(target), -0.5)
    return Affine(
        mean=target.mean, offset=source.mean, matrix=whiten @ _power(_covariance(source), 0.5)
    )


ALIGNMENTS: dict[str, Callable[[Moments, Moments], Affine]] = {
    "": identity,
    "centre": centre,
    "zscore": zscore,
    "coral": coral,
}
"""Name → function of the moments of the source and of the target."""


def moments_of(X: NDArray[Any]) -> Moments:
    """Return the moments of rows without labels."""
    return measure(X, np.zeros((len(X), 1)))


def _covariance(moments: Moments) -> NDArray[np.float64]:
    plain = moments.scatter / moments.weight
    level = float(np.trace(plain)) / len(plain) or 1.0
    return np.asarray((1 - SHRINKAGE) * plain + SHRINKAGE * level * np.eye(len(plain)))


def _variances(moments: Moments) -> NDArray[np.float64]:
    plain = np.diag(moments.scatter) / moments.weight
    level = float(plain.mean()) or 1.0
    return np.asarray((1 - SHRINKAGE) * plain + SHRINKAGE * level)


def _power(covariance: NDArray[np.float64], power: float) -> NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * values**power) @ vectors.T)
