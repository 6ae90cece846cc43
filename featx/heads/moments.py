"""The sums that closed-form heads are solved from; they add up, and can be taken apart again."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError

BLOCK_ROWS = 4096
"""Rows that are centred and summed at a time, in their own precision; blocks sum in float64."""

Sums = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted means and centred second moments of rows x (D,) and targets t (T,).

    Equal to what one pass over all rows gives, up to rounding, however the rows were split (Chan,
    Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample
    variances").  Targets may be the indicators of T classes.

    Attributes
    ----------
    weight : float
        Sum of the weights, W.
    mean : ndarray of float64, shape (D,)
    scatter : ndarray of float64, shape (D, D)
        Sum of w (x - mean)(x - mean)'.
    target_mean : ndarray of float64, shape (T,)
    cross : ndarray of float64, shape (D, T)
        Sum of w (x - mean)(t - target_mean)'.
    target_square : ndarray of float64, shape (T,)
        Sum of w (t - target_mean)^2.
    """

    weight: float
    mean: Sums
    scatter: Sums
    target_mean: Sums
    cross: Sums
    target_square: Sums

    def plus(self, other: "Moments") -> "Moments":
        """Return the moments of both sets of rows together."""
        weight = self.weight + other.weight
        share = other.weight / weight
        step, target_step = other.mean - self.mean, other.target_mean - self.target_mean
        factor = self.weight * share
        return Moments(
            weight,
            self.mean + share * step,
            self.scatter + other.scatter + factor * np.outer(step, step),
            self.target_mean + share * target_step,
            self.cross + other.cross + factor * np.outer(step, target_step),
            self.target_square + other.target_square + factor * target_step**2,
        )

    def minus(self, other: "Moments") -> "Moments":
        """Return the moments of the rows left when those of `other` are taken away.

        Raises
        ------
        InputError
            If nothing would be left.
        """
        weight = self.weight - other.weight
        if not weight > 0:
            message = (
                f"moments: rows of weight {other.weight:g} taken from {self.weight:g};"
                " at least one row must stay"
            )
            raise InputError(message)
        share = other.weight / weight
        step, target_step = other.mean - self.mean, other.target_mean - self.target_mean
        factor = self.weight * share
        return Moments(
            weight,
            self.mean - share * step,
            self.scatter - other.scatter - factor * np.outer(step, step),
            self.target_mean - share * target_step,
            self.cross - other.cross - factor * np.outer(step, target_step),
            np.maximum(self.target_square - other.target_square - factor * target_step**2, 0),
        )

    def widened(self, basis: NDArray[Any] | None, mean: NDArray[Any] | None) -> "Moments":
        """Return the moments of ``x @ basis + mean`` (basis (D, E)); of x if there is no basis."""
        if basis is None or mean is None:
            return self
        return replace(
            self,
            mean=self.mean @ basis + mean,
            scatter=basis.T @ self.scatter @ basis,
            cross=basis.T @ self.cross,
        )

    def class_weights(self) -> Sums:
        """Return the weight of each class, shape (T,); the targets must be indicators."""
        return self.weight * self.target_mean

    def class_means(self) -> Sums:
        """Return the mean of each class, (T, D); of an empty class, the mean of all rows."""
        weights = self.class_weights()
        return self.mean + (self.cross / np.where(weights > 0, weights, 1)).T

    def within_scatter(self) -> Sums:
        """Return the scatter (D, D) of rows about the means of their classes."""
        weights = self.class_weights()
        spread = self.cross / np.sqrt(np.where(weights > 0, weights, 1))
        return np.asarray(self.scatter - spread @ spread.T)


def measure(
    X: NDArray[Any], targets: NDArray[Any], weights: NDArray[np.float64] | None = None
) -> Moments:
    """Return the moments of rows `X` (N, D) and `targets` (N, T), read in blocks.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
        May be a memory map; never copied as a whole.
    targets : ndarray, shape (N, T)
    weights : ndarray of float64, shape (N,), optional
        Not negative.
    """
    w = np.ones(len(X)) if weights is None else weights
    total = float(w.sum())
    mean = _mean(X, w)
    target_mean = w @ targets.astype(np.float64) / total
    scatter = np.zeros((X.shape[1], X.shape[1]))
    cross = np.zeros((X.shape[1], targets.shape[1]))
    for part, centred in _scaled_blocks(X, mean, np.sqrt(w)):
        scatter += centred.T @ centred
        off = np.sqrt(w[part])[:, None] * (targets[part] - target_mean)
        cross += centred.T @ off.astype(X.dtype, copy=False)
    square = w @ (targets - target_mean) ** 2
    return Moments(total, mean, scatter, target_mean, cross, square)


def measure_classes(
    X: NDArray[Any],
    codes: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.float64] | None = None,
) -> Moments:
    """Return the moments of rows `X` (N, D) and the indicators of their classes.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
        May be a memory map; never copied as a whole.
    codes : ndarray of int64, shape (N,)
    n_classes : int
    weights : ndarray of float64, shape (N,), optional
        Not negative.
    """
    w = np.ones(len(X)) if weights is None else weights
    total = float(w.sum())
    mean = _mean(X, w)
    scatter = np.zeros((X.shape[1], X.shape[1]))
    sums = np.zeros((n_classes, X.shape[1]))
    roots = np.sqrt(w)
    for part, centred in _scaled_blocks(X, mean, roots):
        scatter += centred.T @ centred
        _add_class_sums(sums, centred * roots[part, None].astype(X.dtype), codes[part])
    share = np.bincount(codes, w, minlength=n_classes) / total
    # The sums of centred rows are those of (x - mean)(t - target_mean)', since x - mean sums to 0.
    return Moments(total, mean, scatter, share, sums.T, total * share * (1 - share))


def row_blocks(X: NDArray[Any], rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover the rows of `X` in order."""
    for start in range(0, len(X), rows):
        yield slice(start, min(start + rows, len(X)))


def _mean(X: NDArray[Any], weights: NDArray[np.float64]) -> Sums:
    total = np.zeros(X.shape[1])
    for part in row_blocks(X):
        total += weights[part] @ X[part]
    return np.asarray(total / weights.sum())


def _scaled_blocks(
    X: NDArray[Any], mean: Sums, scale: Sums
) -> Iterator[tuple[slice, NDArray[Any]]]:
    """Yield blocks of centred rows, each row times its `scale`."""
    centre = mean.astype(X.dtype)
    for part in row_blocks(X):
        block = X[part] - centre
        block *= scale[part, None].astype(X.dtype)
        yield part, block


def _add_class_sums(sums: Sums, block: NDArray[Any], codes: NDArray[np.int64]) -> None:
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=-1))
    sums[ranked[starts]] += np.add.reduceat(block[order], starts, axis=0)
