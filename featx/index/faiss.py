"""Exact search by faiss; the only file that imports it."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from types import ModuleType

from featx.errors import MissingPackageError
from featx.index.neighbours import Neighbours, checked_gallery, search_exactly
from featx.types import Rows, Vectors

BLAS_QUERIES = 20
"""From this many queries on a matrix product is faster than faiss's own loop."""

_threshold_lock = Lock()


@cache
def _load_faiss() -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of its SWIG wrapper
            import faiss
    except ImportError as cause:
        raise MissingPackageError("faiss", "faiss-cpu") from cause
    module: ModuleType = faiss
    return module


@contextmanager
def _blas_threshold(faiss: ModuleType, dim: int) -> Iterator[None]:
    """Set faiss's global queries times dimensions from which BLAS is used, and put it back.

    Its default of 128,000 leaves every batch of up to 333 queries at 384 dimensions in the slow
    loop.  The lock keeps two threads from putting back each other's value; faiss uses all cores
    within one search.
    """
    with _threshold_lock:
        before = faiss.cvar.distance_compute_blas_threshold
        faiss.cvar.distance_compute_blas_threshold = BLAS_QUERIES * dim
        try:
            yield
        finally:
            faiss.cvar.distance_compute_blas_threshold = before


class FaissFlat:
    """Exact inner-product search by faiss's flat kernel, in place over `X` (a memory map too).

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
        The gallery; kept by reference, not copied as `faiss.IndexFlatIP` would.

    Raises
    ------
    MissingPackageError
        If faiss is not installed.
    InputError
        If there is no row, or one is not finite.
    """

    def __init__(self, X: Vectors) -> None:
        _load_faiss()
        self.X, self._largest_norm = checked_gallery(X)

    def search(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query; see `search_exactly`."""
        return search_exactly(self.X, self._largest_norm, Q, k, self._shortlist)

    def _shortlist(self, Q: Vectors, n: int) -> tuple[Vectors, Rows]:
        faiss = _load_faiss()
        with _blas_threshold(faiss, Q.shape[1]):
            similarities, rows = faiss.knn(Q, self.X, n, metric=faiss.METRIC_INNER_PRODUCT)
        return similarities, rows
