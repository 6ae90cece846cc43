"""From logits to probabilities one can rely on, in plain NumPy.

Temperature scaling is Guo et al. 2017 (arXiv:1706.04599); the conformal sets are LAC, Sadinle,
Lei and Wasserman 2019 (arXiv:1609.00451).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
# Width of the golden-section bracket in log(temperature) at which the search ends.
_LOG_TOLERANCE = 1e-5
_GOLDEN = (5**0.5 - 1) / 2


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Return the softmax of each row, in the dtype of `logits`."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def log_softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the logarithm of the softmax of each row, in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def fit_temperature(logits: NDArray[Any], codes: NDArray[np.int64]) -> float:
    """Return the temperature that makes held-out logits most probable, within [0.01, 100].

    The log loss is convex in 1 / temperature, so it has one minimum in log(temperature) and a
    golden-section search finds it.  Where the logits separate the classes the loss falls for ever
    and the lower bound is returned.

    Parameters
    ----------
    logits : ndarray, shape (N, C)
        Of items that the head has not been fitted to.
    codes : ndarray of int64, shape (N,)
        Their true columns.
    """

    def loss(log_temperature: float) -> float:
        scaled = log_softmax(logits / np.exp(log_temperature))
        return -float(scaled[np.arange(len(codes)), codes].mean())

    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > _LOG_TOLERANCE:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - _GOLDEN * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + _GOLDEN * (high - low)
            loss_right = loss(right)
    return float(np.clip(np.exp((low + high) / 2), MIN_TEMPERATURE, MAX_TEMPERATURE))


def conformal_quantile(
    probabilities: NDArray[Any], codes: NDArray[np.int64], *, coverage: float = 0.9
) -> float:
    """Return the threshold of 1 - probability that keeps the true class in a set.

    A set of all classes with ``1 - probability <= quantile`` then holds the true class of a new
    item with at least `coverage`, if it is drawn like these.  With fewer items than
    ``coverage / (1 - coverage)`` no threshold can promise that, and the answer is 1: every class.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        Of held-out items.
    codes : ndarray of int64, shape (N,)
        Their true columns.
    coverage : float, between 0 and 1
        Share of new items whose set is to hold their class.
    """
    misfit = np.sort(1.0 - probabilities[np.arange(len(codes)), codes].astype(np.float64))
    rank = int(np.ceil((len(misfit) + 1) * coverage))
    return float(np.clip(misfit[rank - 1], 0, 1)) if rank <= len(misfit) else 1.0
