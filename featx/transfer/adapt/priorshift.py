"""Whether all that differs between two domains is how common the classes are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.transfer.adapt.domains import Source, SourceRows
from featx.transfer.adapt.prior import correct_prior, estimate_prior
from featx.transfer.adapt.shift import proxy_a_distance

LEAST_ROWS = 100
"""Of the source, drawn as common as in the target; fewer cannot be told from anything."""


def is_prior_shift(source: Source, rows: SourceRows, X: NDArray[Any], *, seed: int = 0) -> bool:
    """Return whether rows of the source, drawn as the target's classes are estimated, look like it.

    They must not be told apart from the target, while as many drawn at random must: otherwise so
    few rows say nothing.

    Parameters
    ----------
    source : Source
    rows : SourceRows
    X : ndarray of float32 or float64, shape (M, D)
    seed : int, default 0
        Draws the rows.
    """
    prior = estimate_prior(source.base.probabilities(X), source.prior)
    drawn = draw_as(prior, rows.codes, np.random.default_rng(seed))
    if len(drawn) < LEAST_ROWS:
        return False
    as_many = np.random.default_rng(seed).permutation(len(rows))[: len(drawn)]
    (_, (before, _)), (_, (after, _)) = (
        proxy_a_distance(rows.X[each], X, seed=seed) for each in (as_many, drawn)
    )
    return before > 0 and after == 0


def draw_as(
    prior: NDArray[np.float64], codes: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return as many rows as there are whose classes have the shares `prior` (C,).

    Examples
    --------
    >>> codes = np.repeat([0, 1], [50, 50])
    >>> drawn = draw_as(np.array([0.75, 0.25]), codes, np.random.default_rng(0))
    >>> np.bincount(codes[drawn]).tolist()
    [50, 16]
    """
    counts = np.bincount(codes, minlength=len(prior))
    total = (counts / np.maximum(prior, np.finfo(np.float64).tiny)).min()
    wanted = np.floor(total * prior + 1e-9).astype(np.int64)
    shuffled = rng.permutation(len(codes))
    return np.concatenate(
        [shuffled[codes[shuffled] == code][:n] for code, n in enumerate(wanted.tolist())]
    )


def prior_gain(source: Source, X: NDArray[Any], before: NDArray[np.int64]) -> tuple[float, float]:
    """Return the gain that a corrected prior is expected to bring, and the share that it changes.

    The gain is what the corrected probabilities say of the new class less what they say of the old.

    Parameters
    ----------
    source : Source
    X : ndarray of float32 or float64, shape (M, D)
    before : ndarray of int64, shape (M,)
        Classes that the head gives.
    """
    likely = correct_prior(source, X).probabilities(X)
    gain = likely.max(axis=1) - likely[np.arange(len(X)), before]
    changed = float((likely.argmax(axis=1) != before).mean())
    return float(gain.mean()) - source.handicap, changed
