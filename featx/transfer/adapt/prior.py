"""How common each class is in the target, from probabilities alone."""

import numpy as np
from numpy.typing import NDArray

from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear

MOST_STEPS = 500
# Largest change of a share at which the search ends.
_TOLERANCE = 1e-6


def estimate_prior(
    probabilities: NDArray[np.float64], source_prior: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the shares of the classes, (C,), under which the target's rows are most likely.

    Expectation maximisation of Saerens, Latinne and Decaestecker 2002 ("Adjusting the outputs of
    a classifier to new a priori probabilities"), with half a row of each class added, so that none
    vanishes for good.  It holds where classes look in the target as they do in the source.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (M, C)
        Calibrated for the source.
    source_prior : ndarray of float64, shape (C,)
        All above 0.

    Examples
    --------
    >>> sure = np.repeat([[0.99, 0.01], [0.01, 0.99]], [30, 10], axis=0)
    >>> estimate_prior(sure, np.array([0.5, 0.5])).round(2).tolist()
    [0.75, 0.25]
    """
    prior = source_prior
    for _ in range(MOST_STEPS):
        sums = reweighted(probabilities, prior / source_prior).sum(axis=0) + 0.5
        moved, prior = prior, sums / sums.sum()
        if np.abs(moved - prior).max() <= _TOLERANCE:
            break
    return prior


def reweighted(
    probabilities: NDArray[np.float64], ratio: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return probabilities (M, C) where each class is `ratio` (C,) times as common."""
    found = probabilities * ratio
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def correct_prior(source: Source, Z: NDArray[np.float32]) -> Linear:
    """Return the source's head with its intercepts moved to the classes' shares in `Z` (M, D)."""
    found = estimate_prior(source.base.probabilities(Z), source.prior)
    return source.base.raised(np.log(found / source.prior))
