"""Tuning: the least effort that finds the asked share of the true neighbours, and what it costs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.index.approximate import TUNED_K, Approximate
from featx.index.faiss import FaissFlat, fits_on_gpu, is_installed
from featx.index.flat import NumpyFlat
from featx.index.metric import MetricName, checked_metric
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import index_class
from featx.index.stack import Stack
from featx.types import Rows, Vectors

EXACT_NUMBERS = 1 << 23
"""Up to so many numbers ``"auto"`` compares all rows: 21,845 of 384 dimensions, 32 MiB."""

LISTS_ROWS = 1 << 18
"""From so many rows on ``"auto"`` builds ``"ivf"`` beside ``"pq"``, and takes the faster one."""

QUERIES = 256
"""Rows that are searched for, each leaving itself out."""

_SINGLES = 50
_FEWEST = 2  # candidates for each neighbour that tuning starts from
_STEP = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an index reaches, on rows of its own that leave themselves out.

    Attributes
    ----------
    recall : float
        Share of the true `k` nearest that are found.
    k : int
    queries : int
        Rows it was measured on.
    latency_ms : float
        Median wall time of single queries on this machine, warm.
    size_bytes : int
        Memory held apart from the rows.
    """

    recall: float
    k: int
    queries: int
    latency_ms: float
    size_bytes: int


class _Trial:
    """Rows to search for, each leaving itself out."""

    def __init__(self, stack: Stack, metric: MetricName, k: int, seed: int) -> None:
        n = len(stack)
        self.rows = np.sort(np.random.default_rng(seed).choice(n, min(QUERIES, n), replace=False))
        self.Q = stack.take(self.rows)
        self.k = min(k, n - 1)
        self._exact = FaissFlat(stack, metric)

    @cached_property
    def edges(self) -> NDArray[np.float32]:
        """Similarity of the last true neighbour of each row, shape (M, 1)."""
        return _left_out(self._exact, self.Q, self.rows, self.k).similarities[:, -1:]

    def recall(self, index: Index) -> float:
        if not self.k:
            return 1.0
        found = _left_out(index, self.Q, self.rows, self.k)
        return float((found.similarities >= self.edges).mean())

    def latency_ms(self, index: Index) -> float:
        times = []
        for q in np.resize(self.Q, (_SINGLES, self.Q.shape[1])):
            start = perf_counter()
            index.search(q[None], max(1, self.k))
            times.append(perf_counter() - start)
        return 1000 * float(np.median(times))


def build_tuned(
    kind: str,
    stack: Stack,
    metric: MetricName,
    *,
    recall: float = 0.99,
    k: int = TUNED_K,
    seed: int = 0,
) -> tuple[str, Index, Measured]:
    """Build an index and give it the least effort that reaches `recall`.

    One exact pass over the rows tells the true neighbours of 256 of them.  100,000 rows of 384
    dimensions take some seconds of two cores, a million half a minute.

    Parameters
    ----------
    kind : str
        A name of `featx.index.INDEXES`, or ``"auto"``: exact up to `EXACT_NUMBERS` numbers and on
        a GPU that holds the rows, then ``"pq"``, and from `LISTS_ROWS` rows on ``"ivf"`` where it
        is faster and reaches `recall`.
    stack : Stack
    metric : "cosine", "dot" or "l2"
    recall : float, 0 < recall <= 1
        Of the `k` nearest.  ``"pq"`` and ``"ivf"`` always reach it, since their effort ends with a
        comparison of all rows; of ``"hnsw"``, see what was measured.
    k : int, default 10
    seed : int, default 0

    Returns
    -------
    kind : str
        Never ``"auto"``.
    index : Index
    measured : Measured

    Raises
    ------
    InputError
        If `recall` is out of range, there is no row, or one is not finite.
    UnknownNameError
        If there is no such kind or metric.
    MissingPackageError
        If faiss is not installed and the kind needs it.
    """
    checked_metric(metric)
    if not 0 < recall <= 1:
        raise InputError(f"recall: found {recall}; must be above 0 and at most 1")
    kinds = _kinds(stack) if kind == "auto" else (kind,)
    trial = None
    made: list[tuple[str, Index, Measured]] = []
    for each in kinds:
        index = index_class(each).build(stack, metric, seed=seed)
        trial = trial or _Trial(stack, metric, k, seed)
        made.append((each, index, _tuned(index, trial, recall)))
    enough = [one for one in made if one[2].recall >= recall]
    return min(enough or made, key=lambda one: one[2].latency_ms)


def _kinds(stack: Stack) -> tuple[str, ...]:
    if not is_installed():
        return ("numpy",)
    if len(stack) * stack.dim <= EXACT_NUMBERS or fits_on_gpu(stack):
        return ("exact",)
    return ("pq", "ivf") if len(stack) >= LISTS_ROWS else ("pq",)


def _left_out(index: Index, Q: Vectors, rows: Rows, k: int) -> Neighbours:
    """Return `k` neighbours of rows of the index, each without itself."""
    found = index.search(Q, k + 1)
    own = found.rows == rows[:, None]
    own[~own.any(axis=1), -1] = True  # among many equal rows it may not be found; then the last
    shape = (len(rows), k)
    return Neighbours(found.similarities[~own].reshape(shape), found.rows[~own].reshape(shape))


def _tuned(index: Index, trial: _Trial, recall: float) -> Measured:
    """Set the least effort that reaches `recall`, and measure what it does."""
    reached = 1.0
    if isinstance(index, Approximate):
        _set_effort(index, trial, recall)
        few = _FEWEST * TUNED_K
        candidates = _growing(few, max(few, len(index.stack)))
        reached = _least(index, "candidates", candidates, trial, recall)
        # The trial asked for one neighbour more, since a row finds itself.
        k = max(trial.k, TUNED_K)
        index.settings["candidates"] = ceil(index.settings["candidates"] * (k + 1) / k)
    elif not isinstance(index, NumpyFlat):
        reached = trial.recall(index)
    return Measured(
        recall=reached,
        k=trial.k,
        queries=len(trial.rows),
        latency_ms=trial.latency_ms(index),
        size_bytes=index.size_bytes,
    )


def _set_effort(index: Approximate, trial: _Trial, recall: float) -> None:
    """Set the least effort of the plan that leaves room for too few candidates."""
    if index.plan.effort:
        index.settings["candidates"] = index.plan.generous
        efforts = _growing(index.plan.least_effort, index.codes.most_effort)
        _least(index, index.plan.effort, efforts, trial, (1 + recall) / 2)


def _least(
    index: Approximate, setting: str, values: Iterable[int], trial: _Trial, recall: float
) -> float:
    """Give `setting` the first of `values` that reaches `recall`, else the last; what it did."""
    reached = 0.0
    for value in values:
        index.settings[setting] = value
        reached = trial.recall(index)
        if reached >= recall:
            break
    return reached


def _growing(first: int, last: int) -> Iterator[int]:
    """Yield numbers from `first` to `last`, each half as large again.

    Examples
    --------
    >>> list(_growing(2, 10))
    [2, 3, 5, 8, 10]
    """
    while first < last:
        yield first
        first = ceil(first * _STEP)
    yield last
