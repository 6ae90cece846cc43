"""Which rows are trained on together: texts of similar length, so that little is padded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.types import Rows

FINEST = 8
"""Lengths are multiples of this at least: each has a step of its own, which takes time to make."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows, and the length to which they are padded; 1 where items have one shape."""

    rows: Rows
    length: int


def padded_lengths(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return lengths rounded up: to multiples of 8, above 32 to quarters of a power of two.

    None is longer than the longest: a model may have no place for more.

    Examples
    --------
    >>> padded_lengths(np.array([3, 17, 33, 70, 250, 200])).tolist()
    [8, 24, 48, 96, 250, 250]
    >>> padded_lengths(np.array([1, 1])).tolist()
    [1, 1]
    """
    powers = np.ceil(np.log2(np.maximum(lengths, 1))).astype(np.int64)
    steps = np.maximum(FINEST, 2 ** np.maximum(powers - 2, 0))
    padded: NDArray[np.int64] = np.minimum(-(-lengths // steps) * steps, lengths.max(initial=0))
    return padded


def plan_batches(
    lengths: NDArray[np.int64], rows: Rows, *, size: int, rng: np.random.Generator | None = None
) -> list[Batch]:
    """Return batches that hold each row once.

    What a length leaves over joins the next longer one, so that one batch at most is not full.

    Parameters
    ----------
    lengths : ndarray of int64, shape (N,)
        Of all rows; padded as `padded_lengths` says.
    rows : ndarray of int64, shape (n,)
        Those to plan for.
    size : int
        Rows of a batch.
    rng : numpy.random.Generator or None
        Shuffles rows and batches; None: rows by length, for evaluation.

    Examples
    --------
    >>> batches = plan_batches(np.array([7, 5, 16, 8, 9]), np.arange(5), size=2)
    >>> [(batch.rows.tolist(), batch.length) for batch in batches]
    [([0, 1], 8), ([3, 2], 16), ([4], 16)]
    """
    buckets = padded_lengths(lengths)
    batches = list(_cut(rows if rng is None else rng.permutation(rows), buckets, size))
    if rng is not None:
        rng.shuffle(batches)
    return batches


def _cut(rows: Rows, buckets: NDArray[np.int64], size: int) -> Iterator[Batch]:
    waiting = rows[:0]
    for length in np.unique(buckets[rows]).tolist():
        waiting = np.concatenate([waiting, rows[buckets[rows] == length]])
        while len(waiting) >= size:
            yield Batch(waiting[:size], length)
            waiting = waiting[size:]
    if len(waiting):
        yield Batch(waiting, length)
