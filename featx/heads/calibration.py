"""From logits to probabilities one can rely on, in plain NumPy.

Temperature scaling is Guo et al. 2017 (arXiv:1706.04599); the sigmoid of each tag is Platt 1999
("Probabilistic outputs for support vector machines") as Lin, Lin and Weng 2007 ("A note on
Platt's probabilistic outputs for support vector machines") made it stable.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-4, 1e4
# Rows that are added, in effect, and say nothing of the class: without them a few rows that all are
# right would make new ones certain.
_PRIOR_ROWS = 2
# Relative change of the temperature at which the search ends.
_TOLERANCE = 1e-5
# A block of logits holds at most this many values, 2 MiB in float64.
_BLOCK_VALUES = 1 << 18
# Of more logits than this, so many give a temperature to begin with.
_FEW_VALUES = 1 << 13
# Newton steps, and halvings of one: five to ten steps do, and 2**-30 of a step is none.
_MAX_STEPS, _MAX_HALVINGS = 100, 30
# Gradient of a mean log loss, in logits of unit spread, at which a sigmoid is fitted.
_FLAT = 1e-10
# Added to curvatures, so that a column of equal logits has a finite step (Lin, Lin, Weng).
_RIDGE = 1e-12
# Spread of a column's logits, relative to their mean, that is rounding.
_EQUAL = 1e-7


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax of each row, in the dtype of `logits`."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def class_losses(logits: NDArray[Any], codes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return minus the logarithm of the softmax at each row's class, shape (N,).

    Parameters
    ----------
    logits : ndarray, shape (N, C)
    codes : ndarray of int64, shape (N,)
    """
    highest = logits.max(axis=1)
    sums = np.exp(logits - highest[:, None]).sum(axis=1, dtype=np.float64)
    return np.asarray(np.log(sums) + (highest - logits[np.arange(len(codes)), codes]))


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    """Return 1 / (1 + exp(-logit)) of each value, in the dtype of `logits`, without overflow.

    Examples
    --------
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    power = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, power) / (1 + power))


def fit_temperature(
    logits: NDArray[Any], codes: NDArray[np.int64], weights: NDArray[Any] | None = None
) -> float:
    """Return the temperature that makes held-out logits most probable, within [1e-4, 1e4].

    Of the probability of each row's class 2 / (n + 2) is dealt out to all classes, as if two more
    rows had been seen that may be of any: where the logits separate the classes the temperature
    would be 0 without it.  The log loss is convex in 1 / temperature: its slope has one root,
    which Newton's steps find, kept inside a shrinking bracket; where all logits are equal it is
    the lower bound.  Many rows are searched from what some of them give: three passes over the
    logits, in blocks.

    Parameters
    ----------
    logits : ndarray, shape (N, C)
        Of items that the head has not been fitted to.
    codes : ndarray of int64, shape (N,)
        Their true columns.
    weights : ndarray, shape (N,), optional
        An item of weight two counts as two items; by default all are equal.
    """
    inverse = 1.0
    if len(logits) * logits.shape[1] > _FEW_VALUES:
        step = len(logits) * logits.shape[1] // _FEW_VALUES + 1
        some = None if weights is None else weights[::step]
        inverse = _root(logits[::step], codes[::step], some, inverse)
    inverse = _root(logits, codes, weights, inverse)
    return float(np.clip(1 / inverse, MIN_TEMPERATURE, MAX_TEMPERATURE))


def _root(
    logits: NDArray[Any], codes: NDArray[np.int64], weights: NDArray[Any] | None, inverse: float
) -> float:
    """Return the 1 / temperature at which the log loss has no slope, searched from `inverse`."""
    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    moved = float("inf")
    total = len(logits) if weights is None else float(np.sum(weights))
    dealt_out = _PRIOR_ROWS / (total + _PRIOR_ROWS)
    for _ in range(_MAX_STEPS):
        slope, curvature = _slope(logits, codes, weights, (inverse, dealt_out))
        low, high = (inverse, high) if slope <= 0 else (low, inverse)
        wanted = inverse - slope / curvature if curvature > 0 else low
        # In a flat tail the steps are short and stay so; then halve the bracket's logarithm.
        if not low < wanted < high or abs(wanted - inverse) > moved / 2:
            wanted = float(np.sqrt(low * high))
        moved, inverse = abs(wanted - inverse), wanted
        if moved <= _TOLERANCE * inverse:
            break
    return inverse


def _slope(
    logits: NDArray[Any],
    codes: NDArray[np.int64],
    weights: NDArray[Any] | None,
    at: tuple[float, float],
) -> tuple[float, float]:
    """Return the first two derivatives of the summed log loss by 1 / temperature.

    `at` is that, and the share of each row's class that is dealt out.
    """
    slope = curvature = 0.0
    inverse, dealt_out = at
    step = max(1, _BLOCK_VALUES // logits.shape[1])
    for start in range(0, len(logits), step):
        # In float32 where the logits are: three times as fast, and rounding averages out.
        block = logits[start : start + step].astype(np.result_type(logits, np.float32))
        block -= block.max(axis=1, keepdims=True)
        powers = np.exp(block.dtype.type(inverse) * block)
        total = powers.sum(axis=1, dtype=np.float64)
        powers *= block
        mean = powers.sum(axis=1, dtype=np.float64) / total
        spread = np.einsum("nc,nc->n", powers, block) / total - mean * mean
        own = block[np.arange(len(block)), codes[start : start + step]]
        gap = mean - (1 - dealt_out) * own - dealt_out * block.mean(axis=1)
        shares = np.ones(len(block)) if weights is None else weights[start : start + step]
        slope += float(shares @ gap)
        curvature += float(shares @ spread)
    return slope, curvature


def fit_platt(
    logits: NDArray[Any], targets: NDArray[Any], weights: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scale and shift of each tag that make ``sigmoid(scale * logit + shift)`` honest.

    Targets are pulled in from 0 and 1, as if one more item of either kind had been seen (Platt's
    smoothing), so that even a tag that all or no items have gets a finite answer: scale 0 and
    its smoothed frequency.  A scale is never negative: held-out logits of a tag that nothing
    predicts fall slightly as the truth rises, and turning them round would be learning that.

    Parameters
    ----------
    logits : ndarray, shape (N, C)
        Of items that the head has not been fitted to.
    targets : ndarray of 0 and 1, shape (N, C)
        Whether the item has the tag.
    weights : ndarray, shape (N,), optional
        An item of weight two counts as two items; by default all are equal.

    Returns
    -------
    scale, shift : ndarray of float64, shape (C,)

    Examples
    --------
    >>> scale, shift = fit_platt(np.array([[-2.0], [-1], [1], [2]]), np.array([[0], [0], [1], [1]]))
    >>> sigmoid(scale * 2 + shift).round(2).tolist()
    [0.79]
    """
    scale, shift = np.empty(logits.shape[1]), np.empty(logits.shape[1])
    shares = np.ones(len(logits)) if weights is None else np.asarray(weights, np.float64)
    step = max(1, _BLOCK_VALUES // max(1, len(logits)))
    for start in range(0, logits.shape[1], step):
        columns = slice(start, start + step)
        fitted = _fit_sigmoids(logits[:, columns], targets[:, columns], shares)
        scale[columns], shift[columns] = fitted
    return scale, shift


def _fit_sigmoids(
    logits: NDArray[Any], targets: NDArray[Any], weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and shift of some columns, fitted to logits of mean 0 and spread 1."""
    total = weights.sum()
    positives = weights @ targets.astype(np.float64)
    smooth = np.where(targets > 0, (positives + 1) / (positives + 2), 1 / (total - positives + 2))
    centre = weights @ logits.astype(np.float64) / total
    X = logits - centre
    spread = np.sqrt(weights @ np.square(X) / total)
    # A column of equal logits tells nothing, though rounding gives it a spread.
    spread = np.where(spread > _EQUAL * np.abs(centre), spread, np.inf)
    mean = weights @ smooth / total
    frequency = np.log(mean / (1 - mean))
    scale, shift = _newton(X / spread, smooth, weights / total, frequency)
    shift = np.where(scale > 0, shift, frequency)
    scale = np.maximum(scale, 0) / spread
    return scale, shift - scale * centre


def _newton(
    X: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scale and shift (C,) of the least log loss, from scale 0 and the given shift."""
    scale = np.zeros_like(shift)
    for _ in range(_MAX_STEPS):
        likely = sigmoid(scale * X + shift)
        gap = weights[:, None] * (likely - targets)
        by_scale, by_shift = (gap * X).sum(axis=0), gap.sum(axis=0)
        if max(np.abs(by_scale).max(initial=0), np.abs(by_shift).max(initial=0)) <= _FLAT:
            break
        curved = weights[:, None] * likely * (1 - likely)
        a, b = (curved * X * X).sum(axis=0) + _RIDGE, (curved * X).sum(axis=0)
        c = curved.sum(axis=0) + _RIDGE
        determinant = a * c - b * b
        step = np.stack([c * by_scale - b * by_shift, a * by_shift - b * by_scale]) / determinant
        step *= _share_of_step(X, targets, weights, (scale, shift), step)
        scale, shift = scale - step[0], shift - step[1]
    return scale, shift


def _share_of_step(
    X: NDArray[np.float64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64],
    at: tuple[NDArray[np.float64], NDArray[np.float64]],
    step: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return 1, 1/2, 1/4 ... (C,): the part of the step that does not raise a column's loss."""

    def loss(scale: NDArray[np.float64], shift: NDArray[np.float64]) -> NDArray[np.float64]:
        logits = scale * X + shift
        return np.asarray(weights @ (np.logaddexp(0, logits) - targets * logits))

    share, before = np.ones(step.shape[1]), loss(*at)
    for _ in range(_MAX_HALVINGS):
        after = loss(at[0] - share * step[0], at[1] - share * step[1])
        is_worse = after > before + _FLAT
        if not is_worse.any():
            break
        share[is_worse] /= 2
    return share
