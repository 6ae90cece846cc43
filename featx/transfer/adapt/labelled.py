"""A few labels of the target: ridge whose prior is the source."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import class_losses, fit_temperature
from featx.heads.folds import deal_folds
from featx.heads.moments import Moments, measure_classes, row_blocks
from featx.train.recipe import FOLDS
from featx.train.twins import find_twins
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear, ridge
from featx.types import Rows

WEIGHTS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
"""What a row of the source may count beside a labelled one of the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFit:
    """A head of the source and of labelled rows of the target.

    Attributes
    ----------
    linear : Linear
    rows : ndarray of int64, shape (n,)
        Those that it was tuned and is judged by, ascending: one of each group of nearly equal ones.
    held_out : ndarray of float64, shape (n, C)
        Logits of each of them by the head of all others, its weight chosen without a fifth of the
        rows, which this one is in.
    weight : float
        What a row of the source counts.
    """

    linear: Linear
    rows: Rows
    held_out: NDArray[np.float64]
    weight: float


def fit_labelled(
    source: Source, X: NDArray[Any], codes: NDArray[np.int64], *, seed: int = 0
) -> LabelledFit:
    """Return the ridge head of both domains in which a row of the source weighs what suits best.

    A weighted source is a Gaussian prior on the coefficients, as tight as the source was sure of
    them in each direction.  The weight is that of the least calibrated log loss when each labelled
    row is left out, which is exact; among equals the larger.  It is chosen six times: once for the
    head, and for each fifth of the rows by the others, so that no row is judged by a choice that
    it had a say in.  That costs 42 solutions of D equations: D = 384 takes a second of a core.

    All that is done with one row of each group of nearly equal ones, since a row whose twin stays
    is not left out.  The head is then fitted to all rows, of which a group weighs as much as one.

    Parameters
    ----------
    source : Source
    X : ndarray of float32 or float64, shape (N, D)
        Labelled rows of the target, N > 0.
    codes : ndarray of int64, shape (N,)
    seed : int, default 0
        Deals the fifths.
    """
    _, rows, of_row, sizes = np.unique(
        find_twins(X).groups, return_index=True, return_inverse=True, return_counts=True
    )
    whole = measure_classes(X, codes, len(source.prior), 1 / sizes[of_row])
    X, codes = X[rows], codes[rows]
    own = measure_classes(X, codes, len(source.prior))
    weight = _best_weight(source, X, codes)
    held_out = without_each(*_joined(source, own, weight), X, codes)
    # Not by class: how many others a fifth holds of one would tell the label of a row in it.
    parts = deal_folds(np.zeros_like(codes), FOLDS, seed=seed)
    for part in np.unique(parts):
        is_in = parts == part
        other = _best_weight(source, X[~is_in], codes[~is_in])
        if other != weight:
            joined = _joined(source, own, other)
            held_out[is_in] = without_each(*joined, X[is_in], codes[is_in])
    linear = ridge(*_joined(source, whole, weight), dtype=source.base.coef.dtype)
    return LabelledFit(
        linear=replace(linear, temperature=fit_temperature(held_out, codes)),
        rows=rows,
        held_out=held_out,
        weight=weight,
    )


def _best_weight(source: Source, X: NDArray[Any], codes: NDArray[np.int64]) -> float:
    """Return the weight of the least log loss, each row left out; the largest without rows."""
    if not len(codes):
        return WEIGHTS[0]
    own = measure_classes(X, codes, len(source.prior))

    def loss(weight: float) -> float:
        held_out = without_each(*_joined(source, own, weight), X, codes)
        return float(class_losses(held_out / fit_temperature(held_out, codes), codes).mean())

    return min(WEIGHTS, key=loss)


def _joined(source: Source, own: Moments, weight: float) -> tuple[Moments, float]:
    """Return the moments of both domains, and their penalty."""
    moments = weighted(source.moments, weight).plus(own)
    # The penalty keeps its size beside what it penalises.
    ratio = np.trace(moments.scatter) / np.trace(source.moments.scatter)
    return moments, source.alpha * float(ratio)


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
    penalised = moments.scatter + alpha * np.eye(len(moments.mean))
    targets = np.where(codes[:, None] == np.arange(len(moments.target_mean)), 1.0, -1.0)
    found = np.empty(targets.shape)
    for part in row_blocks(X):
        off = X[part] - moments.mean
        solved = np.linalg.solve(penalised, off.T).T
        fitted = 2 * (solved @ moments.cross + moments.target_mean) - 1
        lever = (off * solved).sum(axis=1) + 1 / moments.weight
        # A row that alone decides its own prediction has leverage 1.
        rest = np.maximum(1 - lever, np.finfo(np.float64).eps)
        found[part] = targets[part] + (fitted - targets[part]) / rest[:, None]
    return found


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
