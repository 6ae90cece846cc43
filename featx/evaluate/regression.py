"""Measures of estimated numbers, in plain NumPy.

Truth and estimates are matrices (N, T), a column an output; each measure is one number an output.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]

# Draws of rows are made this many numbers at a time.
_BLOCK_VALUES = 1 << 22


class Interval(NamedTuple):
    """An interval of 95 %."""

    low: float
    high: float


def r2(truth: Values, estimates: Values) -> NDArray[np.float64]:
    """Return the share of each output's variance that the estimates explain, (T,).

    1 at best, 0 for the mean, below 0 for worse.  Of a constant output it is 1 if the estimates
    are that constant, else 0, as scikit-learn has it.

    Examples
    --------
    >>> r2(np.array([[1.0], [2.0], [3.0]]), np.array([[1.0], [2.0], [2.0]])).tolist()
    [0.5]
    """
    truth = truth.astype(np.float64)
    missed = np.square(truth - estimates).sum(axis=0)
    return _explained(missed, np.square(truth - truth.mean(axis=0)).sum(axis=0))


def mean_absolute_error(truth: Values, estimates: Values) -> NDArray[np.float64]:
    """Return the mean distance of each output, in its unit, (T,)."""
    return np.asarray(np.abs(truth.astype(np.float64) - estimates).mean(axis=0))


def root_mean_square_error(truth: Values, estimates: Values) -> NDArray[np.float64]:
    """Return the root of the mean squared distance of each output, in its unit, (T,)."""
    return np.asarray(np.sqrt(np.square(truth.astype(np.float64) - estimates).mean(axis=0)))


def spearman(truth: Values, estimates: Values) -> NDArray[np.float64]:
    """Return the correlation of the ranks of each output, (T,); equal values share a mean rank.

    NaN where all values are equal (Spearman 1904).

    Examples
    --------
    >>> spearman(np.array([[1.0], [2.0], [9.0]]), np.array([[1.0], [4.0], [2.0]])).tolist()
    [0.5]
    """
    found = [
        _correlation(_mean_ranks(true), _mean_ranks(estimated))
        for true, estimated in zip(truth.T, estimates.T, strict=True)
    ]
    return np.array(found)


def r2_interval(truth: Values, estimates: Values, *, draws: int = 1000, seed: int = 0) -> Interval:
    """Return the 95 % interval of the mean `r2` of the outputs, by drawing rows again.

    Percentiles of the measure on rows drawn with replacement (Efron 1979, "Bootstrap methods:
    another look at the jackknife").  Cost: N x `draws` x T.

    Parameters
    ----------
    truth : ndarray, shape (N, T)
    estimates : ndarray, shape (N, T)
    draws : int, default 1000
    seed : int, default 0
    """
    # Each draw needs three sums of the rows' counts; the centre keeps the squares exact.
    centred = truth.astype(np.float64) - truth.mean(axis=0, dtype=np.float64)
    missed = np.square(truth.astype(np.float64) - estimates)
    sums = np.hstack([missed, centred, np.square(centred)])
    n, outputs = truth.shape
    rng = np.random.default_rng(seed)
    found = np.empty(draws)
    step = max(1, _BLOCK_VALUES // n)
    for start in range(0, draws, step):
        size = min(step, draws - start)
        times = rng.multinomial(n, np.full(n, 1 / n), size=size).astype(np.float64)
        lost, first, second = np.split(times @ sums, [outputs, 2 * outputs], axis=1)
        found[start : start + size] = _explained(lost, second - first * first / n).mean(axis=1)
    return Interval(*(float(end) for end in np.quantile(found, [0.025, 0.975])))


def per_output(truth: Values, estimates: Values) -> list[dict[str, float | None]]:
    """Return the measures of each output as JSON values.

    Returns
    -------
    list of dict
        ``r2``, ``mae``, ``rmse`` and ``spearman`` (None where all values are equal).
    """
    columns = {
        "r2": r2(truth, estimates),
        "mae": mean_absolute_error(truth, estimates),
        "rmse": root_mean_square_error(truth, estimates),
        "spearman": spearman(truth, estimates),
    }
    rows = zip(*(map(_finite, column) for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _explained(missed: NDArray[np.float64], spread: NDArray[np.float64]) -> NDArray[np.float64]:
    is_spread = spread > 0
    share = 1 - missed / np.where(is_spread, spread, 1)
    return np.where(is_spread, share, np.where(missed == 0, 1.0, 0.0))


def _mean_ranks(values: Values) -> NDArray[np.float64]:
    _, place, times = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((times.cumsum() - (times - 1) / 2)[place])


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    a, b = a - a.mean(), b - b.mean()
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else float("nan")
