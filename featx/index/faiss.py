"""Exact search by faiss; the only file that imports it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from threading import Lock
from types import ModuleType
from typing import Any, Self

import numpy as np

from featx.errors import MissingPackageError
from featx.index.flat import NumpyFlat, largest
from featx.index.metric import MetricName
from featx.index.settle import Asked
from featx.index.stack import Stack
from featx.types import Rows, Vectors

BLAS_QUERIES = 4
"""From this many queries on a matrix product is faster than faiss's own loop."""

GPU_BYTES = 1 << 32
"""Rows of up to 4 GiB are kept on a GPU, where there is one with that much memory left."""

_MOST_ON_GPU = 2048  # neighbours that faiss finds on a GPU
_threshold_lock = Lock()


@cache
def load_faiss() -> ModuleType:
    """Import faiss, once.

    Raises
    ------
    MissingPackageError
        If it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its SWIG wrapper
            import faiss
    except ImportError as cause:
        raise MissingPackageError("faiss", "faiss-cpu") from cause
    module: ModuleType = faiss
    return module


def is_installed() -> bool:
    """Return whether faiss can be imported."""
    try:
        load_faiss()
    except MissingPackageError:
        return False
    return True


def fits_on_gpu(stack: Stack) -> bool:
    """Return whether there is a live GPU and the rows are few enough for it."""
    few = 4 * len(stack) * stack.dim <= GPU_BYTES
    return few and is_installed() and int(load_faiss().get_num_gpus()) > 0


@contextmanager
def one_thread(*, when: bool = True) -> Iterator[None]:
    """Keep faiss from waking other threads for work that one does as fast, such as a single query.

    On busy cores waiting for them takes milliseconds.  The number of threads is the calling
    thread's own, so that others keep theirs.
    """
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if when else before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


@contextmanager
def blas_threshold(queries: int, dim: int) -> Iterator[None]:
    """Set faiss's global queries times dimensions from which BLAS is used, and put it back.

    Its default of 128,000 leaves every batch of up to 333 queries at 384 dimensions in the slow
    loop.  The lock keeps two threads from putting back each other's value; faiss uses all cores
    within one search.  Batches that it would treat rightly by itself wait for nobody.
    """
    faiss = load_faiss()
    before = faiss.cvar.distance_compute_blas_threshold
    if queries < BLAS_QUERIES or queries * dim >= before:
        yield
        return
    with _threshold_lock:
        before = faiss.cvar.distance_compute_blas_threshold
        faiss.cvar.distance_compute_blas_threshold = BLAS_QUERIES * dim
        try:
            yield
        finally:
            faiss.cvar.distance_compute_blas_threshold = before


class FaissFlat(NumpyFlat):
    """Exact search by faiss's flat kernel, in place over the rows (memory maps too).

    Nothing is copied, as `faiss.IndexFlatIP` would, unless rows must be scaled; see `NumpyFlat`.
    Where a GPU is live and holds the rows, the shortlist is made there; the answers are the same.
    """

    def __init__(self, stack: Stack, metric: MetricName = "cosine") -> None:
        super().__init__(stack, metric)
        self._gpu_lock = Lock()  # faiss's GPU indexes are for one thread at a time

    @classmethod
    def build(cls, stack: Stack, metric: MetricName = "cosine", *, seed: int = 0) -> Self:
        """Check the rows, and that faiss is there; `seed` changes nothing."""
        load_faiss()
        return super().build(stack, metric, seed=seed)

    def scan(self, Q: Vectors, X: Vectors, n: int) -> tuple[Vectors, Rows]:
        """Return the `n` rows of `X` that are nearest by float32; see `NumpyFlat.scan`."""
        with blas_threshold(len(Q), Q.shape[1]):
            near, rows = load_faiss().knn(Q, X, n, metric=faiss_metric(self.metric))
        return (np.negative(near, out=near) if self.metric == "l2" else near), rows

    def _near(self, Q: Vectors, X: Vectors) -> Vectors:
        if len(Q) > 1:
            return super()._near(Q, X)
        faiss, near = load_faiss(), np.empty((1, len(X)), np.float32)
        is_l2 = self.metric == "l2"
        compare = faiss.fvec_L2sqr_ny if is_l2 else faiss.fvec_inner_products_ny
        compare(*(faiss.swig_ptr(array) for array in (near, Q, X)), X.shape[1], len(X))
        return np.negative(near, out=near) if is_l2 else near

    def _shortlist(self, asked: Asked, n: int) -> tuple[Vectors, Rows]:
        wanted = n + len(self.stack) - asked.allowed
        if wanted > _MOST_ON_GPU or not fits_on_gpu(self.stack) or self._on_gpu is None:
            return super()._shortlist(asked, n)
        with self._gpu_lock:
            near, rows = self._on_gpu.search(asked.ready, wanted)
        near = np.negative(near, out=near) if self.metric == "l2" else near
        if asked.keep is None:
            return near, rows
        return largest(np.where(asked.keep[rows], near, np.float32(-np.inf)), rows, n)

    @cached_property
    def _on_gpu(self) -> Any:  # noqa: ANN401  (faiss has no types)
        """The rows on the first GPU; None where its memory is full."""
        faiss = load_faiss()
        with self._gpu_lock:
            if "_on_gpu" in self.__dict__:
                return self.__dict__["_on_gpu"]
            try:
                resources = faiss.StandardGpuResources()
                kind = faiss_metric(self.metric)
                index = faiss.GpuIndexFlat(resources, self.stack.dim, kind)
                for _, block in self._scanned.metric_blocks(self.metric):
                    index.add(block)
            except RuntimeError:
                return None
        return index


def faiss_metric(metric: MetricName) -> int:
    """Return faiss's number of a metric; rows are of length one for cosine."""
    faiss = load_faiss()
    return int(faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
