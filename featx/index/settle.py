"""Settling: from the candidates of a fast float32 search to a reproducible answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.index.metric import MetricName, checked, scaled, snapped
from featx.index.neighbours import Neighbours
from featx.index.stack import Stack
from featx.types import Rows, Vectors

MARGIN = 8
"""Candidates asked for beyond `k`, so that a tie at the edge is seen."""

_NUMBERS = 1 << 17  # held in float64 at once: 1 MiB a side, which stays in the cache of a core
_TILE = 256  # queries compared with a block of rows at once, where ties are settled
_UNIT_ROUNDOFF = 2.0**-24
_LEAST = 1e-300  # smaller than the product of any two lengths but zero


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is searched for and where, checked.

    Attributes
    ----------
    stack : Stack
    metric : "cosine", "dot" or "l2"
    Q : ndarray of float32, shape (M, D)
        As given.
    norms : ndarray of float64, shape (M,)
        Their lengths.
    ready : ndarray of float32, shape (M, D)
        What is compared with rows: of length one for cosine, else as given.
    k : int
        At most the number of rows that may be answered.
    keep : ndarray of bool, shape (N,), or None
        Rows that may be answered; None where all may.
    """

    stack: Stack
    metric: MetricName
    Q: Vectors
    norms: NDArray[np.float64]
    ready: Vectors
    k: int
    keep: NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.Q)

    def only(self, queries: slice | Rows | NDArray[np.bool_]) -> "Asked":
        """Return the same for some of the queries."""
        return replace(
            self, Q=self.Q[queries], norms=self.norms[queries], ready=self.ready[queries]
        )

    @property
    def allowed(self) -> int:
        """Number of rows that may be answered."""
        return len(self.stack) if self.keep is None else int(np.count_nonzero(self.keep))

    @property
    def slack(self) -> NDArray[np.float64] | float:
        """Largest rounding error of a float32 `near` of each query (Higham 2002, section 3.1).

        One number where it is the same for all.
        """
        unit = (self.stack.dim + 8) * _UNIT_ROUNDOFF
        if self.metric == "cosine":
            return unit
        if self.metric == "dot":
            return unit * self.norms * self.stack.largest_norm
        return unit * (self.norms + self.stack.largest_norm) ** 2


def ask(
    stack: Stack, metric: MetricName, Q: Vectors, k: int, keep: NDArray[np.bool_] | None
) -> Asked:
    """Check a question and return it.

    Raises
    ------
    InputError
        If `k` is below one, `keep` is not of one truth a row, or `Q` has another dimension than
        the stack or a row that is not finite.
    """
    if k < 1:
        raise InputError(f"k: found {k}; must be at least 1")
    Q, norms = checked(Q, "query")
    if Q.shape[1] != stack.dim:
        raise InputError(f"query: {Q.shape[1]} dimensions; the gallery has {stack.dim}")
    ready = Q
    if metric == "cosine":
        norms = snapped(norms)
        ready = Q if (norms == 1).all() else scaled(Q, norms)
    if keep is not None and (keep.shape != (len(stack),) or keep.dtype != np.bool_):
        found = f"{keep.dtype} of shape {keep.shape}"
        raise InputError(f"keep: {found}; must be bool of shape ({len(stack)},)")
    allowed = len(stack) if keep is None else int(np.count_nonzero(keep))
    return Asked(
        stack=stack,
        metric=metric,
        Q=Q,
        norms=norms,
        ready=ready,
        k=min(k, allowed),
        keep=None if allowed == len(stack) else keep,
    )


def nothing(asked: Asked) -> Neighbours | None:
    """Return the answer where there is no query or no row to answer, else None."""
    if len(asked) and asked.k:
        return None
    shape = (len(asked), asked.k)
    return Neighbours(np.empty(shape, np.float32), np.empty(shape, np.int64))


def pair_similarities(asked: Asked, queries: Rows, rows: Rows) -> Vectors:
    """Return the similarity of each pair, the same whatever other pairs there are."""
    step = max(1, _NUMBERS // asked.stack.dim)
    if len(rows) > step:
        starts = range(0, len(rows), step)
        parts = [(queries[at : at + step], rows[at : at + step]) for at in starts]
        return np.concatenate([pair_similarities(asked, *part) for part in parts])
    left = asked.Q[queries].astype(np.float64)
    right = asked.stack.take(rows).astype(np.float64)
    if asked.metric == "l2":
        left -= right
        right = left
    similarities: NDArray[np.float64] = np.einsum("pd,pd->p", left, right)
    if asked.metric == "l2":
        similarities = -np.sqrt(similarities)
    if asked.metric == "cosine":
        lengths = asked.norms[queries]
        if not asked.stack.is_unit:
            lengths *= asked.stack.lengths(rows)
        similarities /= np.maximum(lengths, _LEAST)  # of a zero row the product is zero
    return similarities.astype(np.float32)


def settle(asked: Asked, near: Vectors, rows: Rows) -> Neighbours:
    """Rank candidates by the similarities that are reported; ties by the lower row.

    Parameters
    ----------
    asked : Asked
    near : ndarray of float32, shape (M, R), R >= K
        Float32 similarities, within `Asked.slack` of the true ones; minus squared distances for
        l2; minus infinity where there is no candidate, at most R - K times.
    rows : ndarray of int64, shape (M, R)
        In any order, none twice.
    """
    ranked = near.copy()
    ranked.partition(near.shape[1] - asked.k, axis=1)
    edge = ranked[:, -asked.k]
    # What lies further than two errors below the k-th candidate cannot be among the k nearest.
    possible = near >= (edge - 2 * asked.slack)[:, None]
    queries, columns = possible.nonzero()
    rows = rows[queries, columns]
    return _nearest(asked, queries, rows, pair_similarities(asked, queries, rows))


def _nearest(asked: Asked, queries: Rows, rows: Rows, similarities: Vectors) -> Neighbours:
    """Return the answer from pairs, at least `k` of them for each query, which ascend."""
    order = np.lexsort((rows, -similarities, queries))
    first = queries.searchsorted(np.arange(len(asked)))
    best = order[first[:, None] + np.arange(asked.k)]
    return Neighbours(similarities[best], rows[best])


def search_exactly(
    asked: Asked, shortlist: Callable[[Asked, int], tuple[Vectors, Rows]]
) -> Neighbours:
    """Settle the shortlist of a fast float32 search, so that the answer is reproducible.

    Similarities are summed again in float64, hence independent of the batch; a query whose
    shortlist ends within rounding error of its `k`-th neighbour is ranked against all rows.

    Parameters
    ----------
    asked : Asked
    shortlist : callable
        ``(asked, n)`` → the `n` largest `near` among the rows that may be answered and those rows,
        as `settle` takes them, each (M, n); n is at most their number.
    """
    if (empty := nothing(asked)) is not None:
        return empty
    near, rows = shortlist(asked, min(asked.k + MARGIN, asked.allowed))
    best = settle(asked, near, rows)
    if rows.shape[1] < asked.allowed:
        floors = _floors(asked, best)
        doubtful = (near.min(axis=1) >= floors).nonzero()[0]
        for start in range(0, len(doubtful), _TILE):
            some = doubtful[start : start + _TILE]
            redone = _among_all(asked.only(some), floors[some])
            best.similarities[some], best.rows[some] = redone.similarities, redone.rows
    return best


def _floors(asked: Asked, best: Neighbours) -> NDArray[np.float64]:
    """Return the least `near` of each query that a row of its answer can have."""
    last = best.similarities[:, -1].astype(np.float64)
    if asked.metric == "l2":
        last = -(last**2)
    return last - np.abs(last) * 4 * _UNIT_ROUNDOFF - asked.slack


def _among_all(asked: Asked, floors: NDArray[np.float64]) -> Neighbours:
    """Rank every row that may reach `floors`; the answer has rounding errors nowhere."""
    m, k = len(asked), asked.k
    queries, rows = np.empty(0, np.int64), np.empty(0, np.int64)
    similarities = np.empty(0, np.float32)
    for first, near in _nearness(asked):
        reach = near >= floors[:, None]
        if asked.keep is not None:
            reach &= asked.keep[first : first + near.shape[1]]
        left, right = np.nonzero(reach)
        exact = pair_similarities(asked, left, right + first)
        queries, rows = np.append(queries, left), np.append(rows, right + first)
        similarities = np.append(similarities, exact)
        order = np.lexsort((rows, -similarities, queries))
        queries = queries[order]
        is_first = np.arange(len(order)) - np.searchsorted(queries, queries) < k
        queries, order = queries[is_first], order[is_first]
        rows, similarities = rows[order], similarities[order]
    return Neighbours(similarities.reshape(m, k), rows.reshape(m, k))


def _nearness(asked: Asked) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield the first row of each block and `near` of its rows, (M, n), within `Asked.slack`."""
    for first, block in asked.stack.metric_blocks(asked.metric):
        near = (asked.ready @ block.T).astype(np.float64)
        if asked.metric == "l2":
            squares = np.einsum("nd,nd->n", block, block, dtype=np.float64)
            near = 2 * near - (asked.norms**2)[:, None] - squares
        yield first, near
