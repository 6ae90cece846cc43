"""Near: the rows nearest to queries, found by the servers and ranked here.

A server gives candidates by numbers of 16 or 32 bits, through its graph or by a look at all rows.
Their similarities are then summed in float64 from the vectors that it holds, as every index does,
so that answers do not depend on how many servers there are, nor on how many queries are asked.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector, Vector
from psycopg import sql

from featx.gallery.items import ItemFacts
from featx.gallery.postgres.load import LARGEST_HALF
from featx.gallery.postgres.server import Session, set_to
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.tables import Storage, Tables
from featx.index.approximate import FEW_ROWS, TUNED_K
from featx.index.metric import MetricName, row_norms, scaled, snapped
from featx.index.neighbours import Neighbours
from featx.types import Vectors

MARGIN = 8
"""Candidates asked for beyond `k`, so that a tie at the edge is seen."""

MOST_EFFORT = 1000
"""The largest ``hnsw.ef_search`` that pgvector takes."""

BLOCK_QUERIES = 64
"""Queries whose candidates, with their vectors, are held at once."""

_LEAST = 1e-300  # smaller than the product of any two lengths but zero

Row = tuple[Any, ...]
"""row, id, uri, label, split, preview, vec of a candidate."""

COLUMNS = ("row", "id", "uri", "label", "split", "preview")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which rows are wanted.

    Attributes
    ----------
    seq : int
        Number of the last change that counts.
    k : int
    label, split : str or None
        Only rows that have it.
    is_labelled : bool
        Only rows that have a label.
    allowed : int
        Rows that there can be, at most.
    stored : int
        All rows of the tables, removed ones too.
    effort : int
        ``hnsw.ef_search`` for the ten nearest of all; 0 to look at every row.
    indexed : "halfvec" or "vector"
        Numbers of the graph.
    is_far : bool
        Whether the queries have numbers that 16 bits do not hold.
    """

    seq: int
    k: int
    label: str | None = None
    split: str | None = None
    is_labelled: bool = False
    allowed: int
    stored: int
    effort: int
    indexed: Storage = "halfvec"
    is_far: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether every row is looked at: where the graph would save nothing."""
        return not self.effort or self.allowed <= FEW_ROWS

    @property
    def fetched(self) -> int:
        """Candidates that are asked for."""
        return self.k + MARGIN if self.is_exact else 2 * self.k + MARGIN

    @property
    def ef_search(self) -> int:
        """How hard to search: harder for more neighbours, and where few rows may be answered."""
        share = self.stored / max(1, self.allowed)
        wanted = ceil(self.effort * max(1.0, self.k / TUNED_K) * max(1.0, share))
        return min(MOST_EFFORT, max(self.fetched, wanted))


@dataclass(frozen=True, slots=True)
class Found:
    """The nearest rows of some queries, and what they are.

    Attributes
    ----------
    neighbours : Neighbours
    items : list of list of (str, ItemFacts)
        Id and facts of each, without thumbnails.
    """

    neighbours: Neighbours
    items: list[list[tuple[str, ItemFacts]]]


def nearest(shards: Shards, Q: Vectors, norms: NDArray[np.float64], wish: Wish) -> Found:
    """Return the nearest rows of checked queries.

    Parameters
    ----------
    shards : Shards
    Q : ndarray of float32, shape (M, D), M >= 1
    norms : ndarray of float64, shape (M,)
        Lengths of the queries.
    wish : Wish
    """
    blocks = [slice(at, at + BLOCK_QUERIES) for at in range(0, len(Q), BLOCK_QUERIES)]
    parts = [_nearest(shards, Q[block], norms[block], wish) for block in blocks]
    width = min(part.neighbours.rows.shape[1] for part in parts)
    near = [part.neighbours for part in parts]
    return Found(
        Neighbours(
            np.concatenate([each.similarities[:, :width] for each in near]),
            np.concatenate([each.rows[:, :width] for each in near]),
        ),
        [items[:width] for part in parts for items in part.items],
    )


def _nearest(shards: Shards, Q: Vectors, norms: NDArray[np.float64], wish: Wish) -> Found:
    """Return the nearest rows of some queries, all asked at once."""
    tables = shards.tables
    is_l2 = tables.metric == "l2"
    # Inner products of a longer query have the same order, but halves do not hold it.
    ready = Q if is_l2 else scaled(Q, snapped(norms))
    is_far = np.abs(ready).max(axis=1) > (LARGEST_HALF if wish.indexed == "halfvec" else np.inf)
    found: list[list[Row]] = [[] for _ in Q]

    def ask(which: NDArray[np.bool_], wish: Wish) -> None:
        places = which.nonzero()[0]
        if len(places):
            rows_of = _candidates(shards, ready[places], wish)
            for at, rows in zip(places.tolist(), rows_of, strict=True):
                found[at] = rows

    ask(~is_far, wish)
    ask(is_far, replace(wish, effort=0, is_far=True))
    if not wish.is_exact:
        # The graph ends where it thinks that it has seen enough; a zero query is near to nothing.
        least = min(wish.k, wish.allowed)
        is_short = np.array([len(rows) < least for rows in found]) | ((norms == 0) & (not is_l2))
        ask(is_short & ~is_far, replace(wish, effort=0))
    return _ranked(found, Q, norms, wish.k, tables.metric)


def _candidates(shards: Shards, ready: Vectors, wish: Wish) -> list[list[Row]]:
    """Return the candidates of each query, of all servers."""
    answers = shards.ask(lambda session, tables: _asked(session, tables, ready, wish))
    return [[row for rows in each for row in rows] for each in zip(*answers, strict=True)]


def _asked(session: Session, tables: Tables, ready: Vectors, wish: Wish) -> list[list[Row]]:
    exact = wish.is_exact
    if not exact and session.effort != wish.ef_search:
        set_to(session, "hnsw.ef_search", wish.ef_search)
        session.effort = wish.ef_search
    filters = (wish.label is not None, wish.split is not None, wish.is_labelled)
    values = {"seq": wish.seq, "n": wish.fetched, "label": wish.label, "split": wish.split}
    if wish.is_far:
        query = _statement(tables, "far", exact, *filters)
        norms = row_norms(ready)
        pairs = zip(scaled(ready, norms), (0.5 / norms).tolist(), strict=True)
        asked = [values | {"q": Vector(q), "share": share} for q, share in pairs]
    else:
        indexed = tables.storage if exact else wish.indexed
        query = _statement(tables, indexed, exact, *filters)
        wrap = HalfVector if indexed == "halfvec" else Vector
        asked = [values | {"q": wrap(q)} for q in _in_numbers_of(ready, indexed)]
    if len(asked) == 1:
        with session.cursor(binary=True) as cursor:
            return [cursor.execute(query, asked[0], prepare=True).fetchall()]
    with session.pipeline():
        cursors = [session.cursor(binary=True) for _ in asked]
        for cursor, each in zip(cursors, asked, strict=True):
            cursor.execute(query, each, prepare=True)
        return [cursor.fetchall() for cursor in cursors]


def _in_numbers_of(Q: Vectors, storage: Storage) -> NDArray[Any]:
    """Return queries as numbers of the index."""
    return Q if storage == "vector" else Q.astype(np.float16)


@lru_cache(maxsize=64)
def _statement(
    tables: Tables,
    indexed: Storage | Literal["far"],
    is_exact: bool,
    by_label: bool,
    by_split: bool,
    is_labelled: bool,
) -> bytes:
    """Return the query for candidates; the graph is not asked where the order is a sum.

    Far away the order is that of (|q - x|² - |q|²) / 2|q|, which float32 still tells apart.
    """
    filters = sql.SQL("").join(
        [
            sql.SQL(" AND label = %(label)s" if by_label else ""),
            sql.SQL(" AND split = %(split)s" if by_split else ""),
            sql.SQL(" AND label IS NOT NULL" if is_labelled else ""),
        ]
    )
    if indexed == "far":
        distance = sql.SQL("({0} <#> %(q)b) + vector_norm({0}) ^ 2 * %(share)s").format(
            tables.compared("vector")
        )
    else:
        distance = sql.SQL("{} {} %(q)b").format(tables.compared(indexed), tables.distance)
    order = sql.SQL("({}) + 0, row").format(distance) if is_exact else distance
    columns = sql.SQL(", ").join(map(sql.Identifier, (*COLUMNS, "vec")))
    return (
        sql.SQL(
            "SELECT {} FROM {} WHERE added <= %(seq)s AND removed > %(seq)s{} "
            "ORDER BY {} LIMIT %(n)s"
        )
        .format(columns, tables.items, filters, order)
        .as_bytes(None)
    )


def _ranked(
    found: Sequence[Sequence[Row]],
    Q: Vectors,
    norms: NDArray[np.float64],
    k: int,
    metric: MetricName,
) -> Found:
    """Rank candidates by the similarities that are reported; ties by the lower row."""
    most = min(k, *map(len, found)) if found else k
    near_of = np.empty((len(found), most), np.float32)
    rows = np.empty((len(found), most), np.int64)
    items: list[list[tuple[str, ItemFacts]]] = []
    for at, candidates in enumerate(found):
        if not most:
            items.append([])
            continue
        X = as_matrix([row[-1] for row in candidates])
        near = similarities(Q[at], norms[at], X, metric)
        numbers = np.array([row[0] for row in candidates], np.int64)
        best = np.lexsort((numbers, -near))[:most]
        near_of[at], rows[at] = near[best], numbers[best]
        items.append([item_of(candidates[each]) for each in best.tolist()])
    return Found(Neighbours(near_of, rows), items)


def similarities(q: Vectors, norm: float, X: Vectors, metric: MetricName) -> Vectors:
    """Return the similarities of a query of some length and rows as stored, shape (n,)."""
    norm = float(snapped(np.array(norm)))
    left, right = q.astype(np.float64), X.astype(np.float64)
    near: NDArray[np.float64]
    if metric == "l2":
        right -= left
        near = -np.sqrt(np.einsum("nd,nd->n", right, right))
    else:
        near = np.einsum("nd,d->n", right, left)
    if metric == "cosine":
        near /= np.maximum(norm * snapped(row_norms(X)), _LEAST)
    return near.astype(np.float32)


def as_matrix(stored: Sequence[HalfVector | Vector]) -> Vectors:
    """Return vectors as they are stored, shape (n, D)."""
    return np.stack([each.to_numpy() for each in stored]).astype(np.float32)


def item_of(row: Row) -> tuple[str, ItemFacts]:
    """Return id and facts of a row of `COLUMNS`."""
    return row[1], ItemFacts(uri=row[2], label=row[3], split=row[4], preview=row[5])
