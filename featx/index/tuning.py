"""Tuning: the least effort that finds the asked share of the true neighbours, and what it costs."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from math import ceil
from time import perf_counter, thread_time
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.index.approximate import TUNED_K, Approximate
from featx.index.faiss import FaissFlat, fits_on_gpu, is_installed, one_thread
from featx.index.flat import NumpyFlat
from featx.index.metric import MetricName, checked_metric
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import index_class
from featx.index.settle import ask
from featx.index.stack import Stack
from featx.types import Rows, Vectors

EXACT_NUMBERS = 3 << 21
"""Up to so many numbers ``"auto"`` compares all rows: 16,384 of 384 dimensions, 3 ms of a core."""

LISTS_ROWS = 50_000
"""From so many rows on ``"auto"`` builds ``"ivf"``; ``"pq"`` too where few lists are not enough."""

QUERIES = 512
"""Rows that are searched for, each leaving itself out."""

MISSES = 0.7
"""Share of the misses that are allowed which rows of the gallery may have."""

_SINGLES = 50
_BATCH = 128  # queries at once whose time counts as much as that of single ones
_TIES = 16  # rows as near as the last true neighbour that are told from others
_FEW_LISTS = 2  # scanning half the lists is faster than scanning the codes of all rows
_WORSE = 1.1  # effort that costs so much more than less ends the trial
_STEP = 1.5
_ROUNDING = 4 * float(np.finfo(np.float32).eps)  # of a similarity that is summed in another order


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


class Searched(Protocol):
    """What can be asked for neighbours."""

    def search(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        ...


class Trial:
    """Rows to search for, each leaving itself out.

    Parameters
    ----------
    rows : ndarray of int64, shape (M,)
    Q : ndarray of float32, shape (M, D)
        The vectors of these rows.
    exact : Searched
        Finds the true neighbours.
    k : int
    n : int
        Rows that may be neighbours, themselves among them.
    """

    def __init__(self, rows: Rows, Q: Vectors, exact: Searched, *, k: int, n: int) -> None:
        self.rows = rows
        self.Q = Q
        self.k = min(k, n - 1)
        self._exact = exact
        self._more = min(self.k + _TIES, n - 1)

    @classmethod
    def of(cls, stack: Stack, metric: MetricName, k: int, seed: int) -> Self:
        """Draw some rows of a stack."""
        n = len(stack)
        rows = np.sort(np.random.default_rng(seed).choice(n, min(QUERIES, n), replace=False))
        return cls(rows, stack.take(rows), FaissFlat(stack, metric), k=k, n=n)

    @cached_property
    def true(self) -> Neighbours:
        """The `k` nearest and some more, which may be as near as the last."""
        return left_out(self._exact, self.Q, self.rows, self._more)

    @property
    def edges(self) -> NDArray[np.float32]:
        """Similarity of the last true neighbour of each row, shape (M, 1)."""
        return self.true.similarities[:, self.k - 1 : self.k]

    def recall(self, index: Searched) -> float:
        """Return the share of the true `k` nearest that an index finds, or others as near."""
        if not self.k:
            return 1.0
        found = left_out(index, self.Q, self.rows, self.k)
        return float((found.similarities >= self.edges).mean())

    def recall_of_rows(self, index: Searched, edges: NDArray[np.float32]) -> float:
        """Return the same of an index whose similarities are rounded: by the rows it finds.

        Parameters
        ----------
        index : Searched
        edges : ndarray of float32, shape (M, 1)
            What the index gives as the similarity of the last true neighbour.  Where more rows
            are as near as that than are told, what it finds as near counts.
        """
        if not self.k:
            return 1.0
        found = left_out(index, self.Q, self.rows, self.k)
        is_true = self.true.similarities >= self.edges
        true = np.where(is_true, self.true.rows, -1)
        hits = (found.rows[:, :, None] == true[:, None, :]).any(axis=2)
        slack = _ROUNDING * np.abs(edges)
        hits |= is_true[:, -1:] & (found.similarities >= edges - slack)
        return float(hits.mean())

    def candidates(self, index: Approximate, effort: int, recall: float) -> int | None:
        """Return how many candidates reach `recall` with this effort; None where too many would."""
        if not self.k:
            return None
        depth = min(index.plan.generous * max(1, self.k // TUNED_K), len(index.stack))
        ready = ask(index.stack, index.metric, self.Q, 1, None).ready
        found = index.codes.candidates(ready, depth, effort)
        ranks = _ranks(found, np.where(self.true.similarities >= self.edges, self.true.rows, -2))
        ranks = np.sort(ranks, axis=1)[:, : self.k]
        least = _quantile(ranks, recall)
        # Counted from zero, but the row itself is among them.
        return ceil(max(1, least) * TUNED_K / max(TUNED_K, self.k)) if least < depth else None

    def cost_ms(self, index: Searched) -> float:
        """Return the time that one core takes for a query, alone and in a batch."""
        times = []
        with one_thread():
            for Q in (*self.Q[:_SINGLES, None], self.Q[:_BATCH]):
                start = thread_time()
                index.search(Q, self.k)
                times.append((thread_time() - start) / len(Q))
        return 1000 * (float(np.median(times[:-1])) + times[-1])

    def latency_ms(self, index: Searched) -> float:
        """Return the median wall time of single queries."""
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

    One exact pass over the rows tells the true neighbours of 512 of them.  Effort and candidates
    are tuned together, for the least time of a core.  Rows that codes were trained on find more
    than new queries do, so they may miss 70 % of what `recall` allows.  100,000 rows of 384
    dimensions take some seconds of two cores, a million half a minute.

    Parameters
    ----------
    kind : str
        A name of `featx.index.INDEXES`, or ``"auto"``: exact up to `EXACT_NUMBERS` numbers and on
        a GPU that holds the rows, then ``"pq"``, and from `LISTS_ROWS` rows on ``"ivf"``, unless
        it must scan many of its lists and ``"pq"`` is faster.
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
    trial, aim = None, 1 - MISSES * (1 - recall)
    made: list[tuple[str, Index, Measured]] = []
    for each in kinds:
        index = index_class(each).build(stack, metric, seed=seed)
        trial = trial or Trial.of(stack, metric, k, seed)
        made.append((each, index, _tuned(index, trial, aim)))
        if made[-1][2].recall >= recall and _scans_few_lists(index):
            break
    enough = [one for one in made if one[2].recall >= recall]
    return min(enough or made, key=lambda one: one[2].latency_ms)


def _kinds(stack: Stack) -> tuple[str, ...]:
    if not is_installed():
        return ("numpy",)
    if len(stack) * stack.dim <= EXACT_NUMBERS or fits_on_gpu(stack):
        return ("exact",)
    return ("ivf", "pq") if len(stack) >= LISTS_ROWS else ("pq",)


def _scans_few_lists(index: Index) -> bool:
    lists = index.codes.most_effort if isinstance(index, Approximate) else 0
    return _FEW_LISTS * index.settings.get("nprobe", lists + 1) <= lists


def left_out(index: Searched, Q: Vectors, rows: Rows, k: int) -> Neighbours:
    """Return `k` neighbours of rows of the index, each without itself."""
    found = index.search(Q, k + 1)
    own = found.rows == rows[:, None]
    own[~own.any(axis=1), -1] = True  # among many equal rows it may not be found; then the last
    shape = (len(rows), k)
    return Neighbours(found.similarities[~own].reshape(shape), found.rows[~own].reshape(shape))


def _tuned(index: Index, trial: Trial, recall: float) -> Measured:
    """Set what reaches `recall` at the least cost, and measure what it does."""
    reached = 1.0
    if isinstance(index, Approximate):
        few, many = _cheapest(index, trial, recall), max(1, len(index.stack))
        # The trial asks for one neighbour more, since a row finds itself.
        k = max(trial.k, TUNED_K)
        for candidates in growing(min(many, few * k // (k + 1)), many):
            index.settings["candidates"] = candidates
            reached = trial.recall(index)
            if reached >= recall:
                break
        index.settings["candidates"] = ceil(candidates * (k + 1) / k)
    elif not isinstance(index, NumpyFlat):
        reached = trial.recall(index)
    return Measured(
        recall=reached,
        k=trial.k,
        queries=len(trial.rows),
        latency_ms=trial.latency_ms(index),
        size_bytes=index.size_bytes,
    )


def _cheapest(index: Approximate, trial: Trial, recall: float) -> int:
    """Set the effort that reaches `recall` soonest, and return how many candidates it takes."""
    effort, most = index.plan.effort, index.plan.generous
    best = (np.inf, index.codes.most_effort if effort else 0, most)
    efforts = list(growing(index.plan.least_effort, best[1])) if effort else [0]
    candidates_of = cache(lambda each: trial.candidates(index, each, recall))
    first = bisect_left(efforts, True, key=lambda each: candidates_of(each) is not None)
    for each in efforts[first:]:
        candidates = candidates_of(each)
        if candidates is None:
            continue
        index.settings |= {"candidates": candidates} | ({effort: each} if effort else {})
        cost_ms = trial.cost_ms(index)
        if cost_ms > _WORSE * best[0]:
            break  # more effort costs more and saves few candidates
        best = min(best, (cost_ms, each, candidates))
    if effort:
        index.settings[effort] = best[1]
    return best[2]


def _ranks(found: Rows, true: Rows) -> Rows:
    """Return the column of `found` in which each of `true` is, as if it were the last + 1 if none.

    Examples
    --------
    >>> _ranks(np.array([[7, 5, 3]]), np.array([[5, 9]])).tolist()
    [[1, 3]]
    """
    ranks = np.full(true.shape, found.shape[1], np.int64)
    for query, (row, wanted) in enumerate(zip(found, true, strict=True)):
        at, column = (row[:, None] == wanted).nonzero()
        ranks[query, column] = at
    return ranks


def _quantile(ranks: Rows, share: float) -> int:
    """Return the least rank that a share of all does not exceed."""
    count = min(ranks.size, ceil(share * ranks.size))
    return int(np.partition(ranks, count - 1, axis=None)[count - 1])


def growing(first: int, last: int) -> Iterator[int]:
    """Yield numbers from `first` to `last`, each half as large again.

    Examples
    --------
    >>> list(growing(2, 10))
    [2, 3, 5, 8, 10]
    """
    while first < last:
        yield first
        first = ceil(first * _STEP)
    yield last
