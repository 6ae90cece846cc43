"""Codes: compressed rows in a faiss index, which finds candidates and holds no vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import log2, sqrt
from pathlib import Path
from typing import Any, Self

import numpy as np

from featx.data.files import writing
from featx.errors import StoreError
from featx.index.faiss import faiss_metric, load_faiss, one_thread
from featx.index.metric import MetricName
from featx.index.stack import Stack
from featx.types import Rows, Vectors

TRAINING_ROWS = 1 << 16
"""At most this many rows, evenly spaced, are read to train codes."""

_FEWEST_TRAINING_ROWS = 1 << 14
_ROWS_FOR_A_LIST = 32
_ITERATIONS = 10  # of k-means; 25 take thrice as long and find no more
_MOST_SEARCHED = 1 << 12  # rows of a graph


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a kind codes rows.

    Attributes
    ----------
    factory : callable
        (number of rows, dimensions of codes) → factory string of faiss.
    made : str
        faiss's class of such an index.
    effort : str
        What its searches take, ``"nprobe"`` or ``"efSearch"``; empty where there is nothing.
    least_effort : int
        What tuning starts from.
    generous : int
        Candidates while effort is tuned: so many that it alone decides what is missed.
    """

    factory: Callable[[int, int], str]
    made: str
    effort: str = ""
    least_effort: int = 1
    generous: int = 1024


def lists_for(n: int) -> int:
    """Return how many inverted lists suit `n` rows: the power of two nearest to their root.

    Examples
    --------
    >>> lists_for(1_000_000)
    1024
    """
    return int(2 ** round(log2(sqrt(max(1, n)))))


def quantisers(dim: int) -> str:
    """Return the factory string of 4-bit codes: half a byte for four dimensions, more for few."""
    return f"PQ{dim // _width(dim)}x4fs"


def _width(dim: int) -> int:
    """Return how many dimensions share a code of 4 bits."""
    return 1 if dim < 32 else 2 if dim < 64 else 4


class Codes:
    """A trained faiss index and the plan that made it; searching it changes nothing.

    Parameters
    ----------
    plan : Plan
    index : faiss.Index
    """

    def __init__(self, plan: Plan, index: Any) -> None:  # noqa: ANN401  (faiss has no types)
        self.plan = plan
        self.index = index
        self._made: dict[int, Any] = {}  # by effort: making them takes as long as a search of lists

    @classmethod
    def trained(cls, plan: Plan, stack: Stack, metric: MetricName, *, seed: int) -> Self:
        """Train codes on evenly spaced rows of `stack`; none is added yet."""
        faiss = load_faiss()
        factory = plan.factory(len(stack), _padded_dim(stack.dim))
        index = faiss.index_factory(_padded_dim(stack.dim), factory, faiss_metric(metric))
        X = _padded(_training_rows(stack, metric, getattr(index, "nlist", 1)))
        _train(index, X, seed)
        return cls(plan, index)

    @classmethod
    def read(cls, plan: Plan, path: Path, stack: Stack, metric: MetricName) -> Self:
        """Read what `write` wrote.

        Raises
        ------
        StoreError
            If it is missing, damaged, of another kind or over other rows.
        """
        faiss = load_faiss()
        try:
            index = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as cause:
            message = f"{path}: missing or damaged; build the index again"
            raise StoreError(message) from cause
        found = (type(index).__name__, index.ntotal, index.d, index.metric_type)
        dim = _padded_dim(stack.dim)
        expected = (plan.made, len(stack), dim, faiss_metric(metric))
        if found != expected:
            message = f"{path}: holds {found}; must be {expected}; build the index again"
            raise StoreError(message)
        return cls(plan, index)

    def write(self, path: Path) -> None:
        """Write the codes, whole or not at all.

        Raises
        ------
        StoreError
            If the disk is full or the place cannot be written.
        """
        with writing(path) as temporary:
            try:
                load_faiss().write_index(self.index, str(temporary))
            except RuntimeError as cause:
                reason = str(cause).rpartition(": ")[2]
                raise StoreError(f"{path}: could not be written: {reason}") from cause

    def extended(self, stack: Stack, metric: MetricName) -> Self:
        """Return a copy with the rows of `stack` that are not coded yet."""
        index = load_faiss().clone_index(self.index)
        coded = index.ntotal
        for first, block in stack.metric_blocks(metric):
            if first + len(block) > coded:
                index.add(_padded(block[max(0, coded - first) :]))
        return type(self)(self.plan, index)

    def candidates(self, Q: Vectors, n: int, effort: int) -> Rows:
        """Return the `n` rows that look nearest by their codes, shape (M, n); -1 for none."""
        near, rows = np.empty((len(Q), n), np.float32), np.empty((len(Q), n), np.int64)
        pointers = [load_faiss().swig_ptr(array) for array in (_padded(Q), near, rows)]
        # faiss's own `search` first checks again, for a tenth of the time of a single query.
        self.index.search_c(len(Q), pointers[0], n, *pointers[1:], self._parameters(n, effort))
        return rows

    @property
    def most_effort(self) -> int:
        """Effort from which more changes nothing, or is not worth it."""
        return int(self.index.nlist) if self.plan.effort == "nprobe" else _MOST_SEARCHED

    @cached_property
    def size_bytes(self) -> int:
        """Memory that the codes take: as much as their file."""
        size = 0

        def count(piece: bytes) -> None:
            nonlocal size
            size += len(piece)

        faiss = load_faiss()
        faiss.write_index(self.index, faiss.PyCallbackIOWriter(count))
        return size

    def _parameters(self, n: int, effort: int) -> Any:  # noqa: ANN401
        if not self.plan.effort:
            return None
        effort = min(effort, self.index.nlist) if self.plan.effort == "nprobe" else max(effort, n)
        if effort not in self._made:
            faiss, name = load_faiss(), self.plan.effort
            kind = "SearchParametersIVF" if name == "nprobe" else "SearchParametersHNSW"
            self._made[effort] = getattr(faiss, kind)(**{name: effort})
        return self._made[effort]


def refine(Q: Vectors, X: Vectors, rows: Rows, metric: MetricName) -> Vectors:
    """Return the float32 inner product, or minus the squared distance, of queries with their rows.

    Parameters
    ----------
    Q : ndarray of float32, shape (M, D)
    X : ndarray of float32, shape (N, D)
        Read in place, a memory map too.
    rows : ndarray of int64, shape (M, R)
        Minus one gives minus infinity.
    metric : "cosine", "dot" or "l2"
        Cosine takes inner products.

    Returns
    -------
    ndarray of float32, shape (M, R)
    """
    faiss = load_faiss()
    near = np.empty(rows.shape, np.float32)
    is_l2 = metric == "l2"
    compare = faiss.fvec_L2sqr_by_idx if is_l2 else faiss.fvec_inner_products_by_idx
    pointers = [faiss.swig_ptr(array) for array in (near, Q, X, rows)]
    compare(*pointers, X.shape[1], *rows.shape)
    return np.negative(near, out=near) if is_l2 else near


def _training_rows(stack: Stack, metric: MetricName, lists: int) -> Vectors:
    most = min(TRAINING_ROWS, max(_FEWEST_TRAINING_ROWS, _ROWS_FOR_A_LIST * lists))
    count = min(most, len(stack))
    rows = np.arange(count, dtype=np.int64) * len(stack) // count
    sample = stack.unit_take(rows) if metric == "cosine" else stack.take(rows)
    return np.resize(sample, (max(count, 16 * lists), stack.dim))  # 16 centroids need 16 rows


def _train(index: Any, X: Vectors, seed: int) -> None:  # noqa: ANN401
    """Train lists by all cores, then codes by one: 16 centroids each give two cores no work."""
    faiss = load_faiss()
    for owner in (index, getattr(index, "pq", index)):
        if hasattr(owner, "cp"):
            owner.cp.seed = seed
            owner.cp.min_points_per_centroid = 1  # fewer are warned of on stderr
            owner.cp.niter = _ITERATIONS
    if hasattr(index, "train_q1"):
        index.train_q1(len(X), faiss.swig_ptr(X), False, index.metric_type)
    with one_thread():
        index.train(X)


def _padded_dim(dim: int) -> int:
    return -(-dim // _width(dim)) * _width(dim)


def _padded(X: Vectors) -> Vectors:
    """Return `X` with columns of zeros up to a whole number of codes."""
    extra = _padded_dim(X.shape[1]) - X.shape[1]
    return np.pad(X, ((0, 0), (0, extra))) if extra else X
