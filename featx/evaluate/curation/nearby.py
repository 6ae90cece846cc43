"""The nearest others of each row, searched once for all that asks for them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.evaluate.duplicates import first_equal, row_keys
from featx.evaluate.galleryduplicates import PAIRWISE_ROWS, IndexItems
from featx.heads.moments import row_blocks
from featx.index.approximate import SPARE, TUNED_K
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import build_index
from featx.index.stack import Stack
from featx.index.tuning import build_tuned
from featx.index.voting import without_own
from featx.types import Rows, Vectors

DEPTH = 24
"""Neighbours that are known of each row: 20 that vote, and some more where a few may not."""

ROWS_A_CANDIDATE = 32
"""Rows that a batch is compared with while it is compared with one candidate of an index.

Of 384 dimensions a core compares a row of a matrix product in 13 ns, and a row that it must fetch
by itself in .44 us.
"""


@dataclass(frozen=True, kw_only=True)
class Nearby:
    """The K different rows among N, and the nearest others of each.

    Attributes
    ----------
    items : IndexItems
        The different rows, as they can be searched; they have numbers of their own, which the
        neighbours are too.
    first : ndarray of int64, shape (K,)
        The first of the N rows that is equal to each, ascending.
    place : ndarray of int64, shape (N,)
        Which different row each row is equal to.
    near : Neighbours
        Shapes (K, 24), or (K, K - 1) of fewer.
    """

    items: IndexItems
    first: Rows
    place: Rows
    near: Neighbours

    @classmethod
    def of(cls, X: Vectors | RowView, *, seed: int = 0) -> Self:
        """Search for the nearest of all rows, by cosine.

        Up to 20,000 different rows every pair is compared.  More are searched in an index whose
        recall is tuned to .99, unless it would have to fetch so many rows that comparing all pairs
        is faster, as where neighbours are hardly nearer than other rows: of 100,000 such rows of
        384 that takes three minutes of a core.  Different rows are copied if any are equal.

        Parameters
        ----------
        X : ndarray of float32 or RowView, shape (N, D), N > 0
            Finite.
        seed : int
            Of the index.
        """
        stack = Stack.of(X)
        blocks = row_blocks(np.empty(len(stack)))
        keys = np.concatenate([row_keys(np.asarray(X[part])) for part in blocks])
        first, place = np.unique(first_equal(keys), return_inverse=True)
        if len(first) < len(stack):
            stack = Stack([stack.take(first)])
        if len(first) <= PAIRWISE_ROWS:
            index = build_index("exact", stack)
        else:
            index = build_tuned("auto", stack, "cosine", seed=seed)[1]
            index = _for_many(index, DEPTH, len(stack))
        items = IndexItems(index)
        return cls(
            items=items, first=first, place=place, near=_others(items, np.arange(len(first)), DEPTH)
        )

    @property
    def is_exact(self) -> bool:
        """Whether no neighbour is missed."""
        return not self.items.index.settings

    @cached_property
    def copies(self) -> Rows:
        """Rows that are equal to each different row, itself included, (K,)."""
        return np.bincount(self.place)

    @cached_property
    def of_copies(self) -> NDArray[np.float32]:
        """Cosine of each different row to one that is equal, (K,): 1, or 0 of a zero vector."""
        found = np.ones(len(self.first), np.float32)
        rows = np.flatnonzero(self.copies > 1)
        found[rows] = self.items.vectors(rows).any(axis=1)
        return found

    def among(self, rows: Rows, k: int) -> Neighbours:
        """Return the `k` nearest others of some different rows among them; all if there are fewer.

        Only rows that have too few of them among their known neighbours are searched for again.

        Parameters
        ----------
        rows : ndarray of int64, shape (M,), M > 0
            None twice.
        k : int, up to `DEPTH`
        """
        keep = np.zeros(len(self.first), bool)
        keep[rows] = True
        k = min(k, len(rows) - 1)
        near = self.near.rows[rows]
        is_kept = keep[near]
        columns = np.argsort(~is_kept, axis=1, kind="stable")[:, :k]
        found = Neighbours(
            np.take_along_axis(self.near.similarities[rows], columns, axis=1),
            np.take_along_axis(near, columns, axis=1),
        )
        short = np.flatnonzero(np.count_nonzero(is_kept, axis=1) < k)
        if len(short):
            items = IndexItems(_for_many(self.items.index, k, len(rows)), keep)
            again = _others(items, rows[short], k)
            found.similarities[short], found.rows[short] = again.similarities, again.rows
        return found


def _for_many(index: Index, k: int, kept: int) -> Index:
    """Return the index, or an exact one where that takes less time for the neighbours of many rows.

    Parameters
    ----------
    index : Index
    k : int
        Neighbours that are asked for.
    kept : int
        Rows that may be answered.
    """
    n = len(index.stack)
    candidates = index.settings.get("candidates", 0) * max(k, TUNED_K) / TUNED_K
    if kept < n:
        candidates *= SPARE * n / kept
    return build_index("exact", index.stack) if ROWS_A_CANDIDATE * candidates > kept else index


def _others(items: IndexItems, rows: Rows, k: int) -> Neighbours:
    """Return the `k` nearest others of rows that can be found."""
    found = [
        without_own(items.nearest(items.vectors(rows[part]), k + 1), rows[part])
        for part in row_blocks(rows)
    ]
    return Neighbours(
        np.concatenate([each.similarities for each in found]),
        np.concatenate([each.rows for each in found]),
    )
