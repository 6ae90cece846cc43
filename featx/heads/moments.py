"""The sums that closed-form heads are solved from; they add up, and can be taken apart again."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError

BLOCK_ROWS = 4096
"""Rows that are centred and summed at a time, in their own precision; blocks sum in float64."""

# Share of a weight that rounding may leave of it when all of it is taken away.
_NOTHING = 1e-12

# Up to so many classes a product with their indicators is faster than sorting the rows.
_DENSE_CLASSES = 128

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
        if not weight > _NOTHING * self.weight:
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
    """Return the moments of rows `X` (N, D) and `targets` (N, T), read once, in blocks.

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
        May be a memory map; never copied as a whole.
    targets : ndarray, shape (N, T)
    weights : ndarray of float64, shape (N,), optional
        Not negative.
    """
    w = np.ones(len(X)) if weights is None else weights
    target_mean = w @ targets.astype(np.float64) / w.sum()
    off = targets - target_mean
    sums = _Sums.over(
        X, off.shape[1], weights, lambda part, rows: rows.T @ off[part].astype(X.dtype)
    )
    return sums.moments(target_mean, sums.cross, w @ off**2)


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
        May be a memory map; read once, in blocks, and never copied as a whole.
    codes : ndarray of int64, shape (N,)
    n_classes : int
    weights : ndarray of float64, shape (N,), optional
        Not negative.
    """
    w = np.ones(len(X)) if weights is None else weights
    share = np.bincount(codes, w, minlength=n_classes) / w.sum()
    sums = _Sums.over(
        X, n_classes, weights, lambda part, rows: _class_sums(rows, codes[part], n_classes)
    )
    cross = sums.cross - np.outer(sums.total, share)
    return sums.moments(share, cross, w.sum() * share * (1 - share))


def row_blocks(X: NDArray[Any], rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """Yield slices that cover the rows of `X` in order."""
    for start in range(0, len(X), rows):
        yield slice(start, min(start + rows, len(X)))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over rows about a point near their mean, which spares a pass for the mean itself."""

    weight: float
    centre: NDArray[Any]  # (D,)
    total: Sums  # (D,): of w (x - centre)
    scatter: Sums  # (D, D): of w (x - centre)(x - centre)'
    cross: Sums  # (D, T)

    @classmethod
    def over(
        cls,
        X: NDArray[Any],
        n_targets: int,
        weights: NDArray[np.float64] | None,
        cross_of: Callable[[slice, NDArray[Any]], NDArray[Any]],
    ) -> "_Sums":
        """Read the rows; `cross_of` gives what weighted centred rows add to ``cross``."""
        width = X.shape[1]
        # A row without weight may lie anywhere, and would drag the centre there.
        weighty = np.arange(len(X)) if weights is None else np.flatnonzero(weights)
        spaced = X[weighty[:: max(1, len(weighty) // BLOCK_ROWS)]]
        centre = spaced.mean(axis=0, dtype=np.float64).astype(X.dtype)
        total, scatter = np.zeros(width), np.zeros((width, width))
        cross = np.zeros((width, n_targets))
        buffer = np.empty((min(len(X), BLOCK_ROWS), width), dtype=X.dtype)
        for part in row_blocks(X):
            rows = np.subtract(X[part], centre, out=buffer[: part.stop - part.start])
            if weights is None:
                scatter += rows.T @ rows
            else:
                root = np.sqrt(weights[part, None]).astype(X.dtype)
                rows *= root
                scatter += rows.T @ rows
                rows *= root
            total += np.ones(len(rows), dtype=X.dtype) @ rows
            cross += cross_of(part, rows)
        weight = float(len(X) if weights is None else weights.sum())
        return cls(weight, centre, total, scatter, cross)

    def moments(self, target_mean: Sums, cross: Sums, target_square: Sums) -> Moments:
        off = self.total / self.weight
        scatter = self.scatter - np.outer(off, self.total)
        return Moments(self.weight, self.centre + off, scatter, target_mean, cross, target_square)


def _class_sums(rows: NDArray[Any], codes: NDArray[np.int64], n_classes: int) -> NDArray[Any]:
    """Return the sums of the rows of each class, (D, C)."""
    if n_classes <= _DENSE_CLASSES:
        return np.asarray(rows.T @ (codes[:, None] == np.arange(n_classes)).astype(rows.dtype))
    order = np.argsort(codes, kind="stable")
    ranked = codes[order]
    starts = np.flatnonzero(np.diff(ranked, prepend=-1))
    sums = np.zeros((rows.shape[1], n_classes), dtype=rows.dtype)
    sums[:, ranked[starts]] = np.add.reduceat(rows[order], starts, axis=0).T
    return sums
