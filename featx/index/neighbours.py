"""Neighbours: what an index answers, and how a shortlist is settled exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.types import Rows, Vectors

Real = TypeVar("Real", bound=np.floating[Any])

MARGIN = 8
"""Candidates asked for beyond `k`, so that a tie at the edge is seen."""

LARGEST_NORM = 1e18
"""The product of two such rows is still finite in float32."""

_PAIRS = 1 << 22  # numbers held in float64 at once: 32 MiB a side
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of a gallery, nearest first.

    Attributes
    ----------
    similarities : ndarray of float32, shape (M, K)
        Inner products, descending; equal ones by the lower row.
    rows : ndarray of int64, shape (M, K)
        Rows of the gallery.  K is smaller than asked where the gallery is; never -1.
    """

    similarities: Vectors
    rows: Rows


class Index(Protocol):
    """Exact inner-product search over the rows of a matrix."""

    def __init__(self, X: Vectors) -> None: ...

    def search(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` rows with the largest inner product with each row of `Q`."""
        ...


def row_norms(X: NDArray[Real]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row, summed in float64; shape (N,)."""
    norms = np.empty(len(X))
    step = max(1, _PAIRS // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        block = X[start : start + step].astype(np.float64)
        norms[start : start + step] = np.sqrt(np.einsum("nd,nd->n", block, block))
    return norms


def unit_rows(X: NDArray[Real]) -> NDArray[Real]:
    """Return `X` with rows of length one, in the same dtype; zero rows stay zero.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    norms = row_norms(X)
    unit = np.empty(X.shape, X.dtype)
    np.divide(X, np.where(norms > 0, norms, 1.0)[:, None], out=unit, casting="same_kind")
    return unit


def checked(X: Vectors, what: str) -> tuple[Vectors, NDArray[np.float64]]:
    """Return `X` as contiguous float32 rows, uncopied where it is already, and their norms.

    Raises
    ------
    InputError
        If `X` is not two-dimensional or a row is not finite, naming the first such row.
    """
    X = np.ascontiguousarray(np.asarray(X), dtype=np.float32)
    if X.ndim != 2:
        raise InputError(f"{what}: shape {X.shape}; must be (rows, dimensions)")
    norms = row_norms(X)
    bad = np.flatnonzero(~(norms <= LARGEST_NORM))
    if len(bad):
        found = "NaN or infinite" if not np.isfinite(norms[bad[0]]) else "too long for float32"
        raise InputError(f"{what}: row {bad[0]} is {found}; drop it or embed it again")
    return X, norms


def checked_gallery(X: Vectors) -> tuple[Vectors, float]:
    """Return the rows to search as contiguous float32, and their largest norm."""
    X, norms = checked(X, "gallery")
    if not X.size:
        raise InputError(f"gallery: shape {X.shape}; needs at least one row and one dimension")
    return X, float(norms.max())


def _pair_similarities(Q: Vectors, X: Vectors, queries: Rows, rows: Rows) -> Vectors:
    """Return the inner product of each pair, the same whatever other pairs there are."""
    similarities = np.empty(len(rows), np.float32)
    step = max(1, _PAIRS // X.shape[1])
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        left, right = Q[queries[part]].astype(np.float64), X[rows[part]].astype(np.float64)
        similarities[part] = np.einsum("pd,pd->p", left, right)
    return similarities


def _first(similarities: Vectors, rows: Rows, k: int) -> Neighbours:
    """Return the `k` best columns, ties by the lower row."""
    order = np.lexsort((rows, -similarities), axis=-1)[:, :k]
    return Neighbours(
        np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)
    )


def _settle_doubtful(X: Vectors, Q: Vectors, floors: NDArray[np.float64], best: Neighbours) -> None:
    """Rank every row that may reach `floors` and write the answer into `best`, in place."""
    step = max(1, 4 * _PAIRS // len(X))
    k = best.rows.shape[1]
    for start in range(0, len(Q), step):
        near = Q[start : start + step] @ X.T
        for i, similarities in enumerate(near, start):
            rows = np.flatnonzero(similarities >= floors[i])
            exact = _pair_similarities(Q, X, np.full(len(rows), i), rows)
            first = _first(exact[None], rows[None], k)
            best.similarities[i], best.rows[i] = first.similarities[0], first.rows[0]


def search_exactly(
    X: Vectors,
    largest_norm: float,
    Q: Vectors,
    k: int,
    shortlist: Callable[[Vectors, int], tuple[Vectors, Rows]],
) -> Neighbours:
    """Settle the shortlist of a fast float32 search, so that the answer is reproducible.

    Similarities are summed again in float64, hence independent of the batch; a query whose
    shortlist ends within rounding error of its `k`-th neighbour is ranked against all rows.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
        As `checked_gallery` returned it.
    largest_norm : float
        Length of its longest row, which bounds rounding errors.
    Q : ndarray of float32, shape (M, D)
    k : int, >= 1
    shortlist : callable
        ``(Q, n)`` → float32 similarities and rows, each (M, n), in any order, n <= N.

    Raises
    ------
    InputError
        If `k` is below one, or `Q` has another dimension than `X` or a row that is not finite.
    """
    if k < 1:
        raise InputError(f"k: found {k}; must be at least 1")
    Q, norms = checked(Q, "query")
    if Q.shape[1] != X.shape[1]:
        raise InputError(f"query: {Q.shape[1]} dimensions; the gallery has {X.shape[1]}")
    k = min(k, len(X))
    if not len(Q):
        return Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
    near, rows = shortlist(Q, min(k + MARGIN, len(X)))
    queries = np.repeat(np.arange(len(Q)), rows.shape[1])
    exact = _pair_similarities(Q, X, queries, rows.ravel()).reshape(rows.shape)
    best = _first(exact, rows, k)
    if rows.shape[1] < len(X):
        # Largest error of a float32 inner product (Higham, 2002, section 3.1), and of rounding.
        slack = (X.shape[1] + 4) * _UNIT_ROUNDOFF * norms * largest_norm
        floors = best.similarities[:, -1].astype(np.float64) - slack
        doubtful = np.flatnonzero(near.min(axis=1) >= floors)
        redone = Neighbours(best.similarities[doubtful], best.rows[doubtful])
        _settle_doubtful(X, Q[doubtful], floors[doubtful], redone)
        best.similarities[doubtful], best.rows[doubtful] = redone.similarities, redone.rows
    return best
