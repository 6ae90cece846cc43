"""Recent: rows that were added since the last fold, held in memory and searched exactly."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from featx.gallery.items import Codes, ItemFacts, Names
from featx.index.faiss import BLAS_QUERIES, FaissFlat, is_installed, one_thread
from featx.index.flat import NumpyFlat
from featx.index.metric import MetricName, row_norms, snapped
from featx.index.neighbours import Neighbours
from featx.index.settle import Asked
from featx.index.stack import PartNorms, Stack
from featx.types import Rows, Vectors

FIRST_ROWS = 64
"""Rows that there is room for at first; the room doubles as it fills."""

_LEAST_NORM = 1e-10
"""Inner products with shorter queries are rounded too coarsely to compare them unscaled."""


class Store:
    """Growing room for rows: what lies there once does not change, so that readers need no lock.

    Parameters
    ----------
    dim : int
    names : Names
        Labels and splits of the base; numbers of new ones follow theirs.
    metric : "cosine", "dot" or "l2"
        For the cosine rows are of length one.
    """

    def __init__(self, dim: int, names: Names, metric: MetricName) -> None:
        self.metric: MetricName = metric
        self.vectors = np.empty((FIRST_ROWS, dim), np.float32)
        self.norms = np.empty(FIRST_ROWS, np.float64)
        self.largest_norm = 1.0
        self.label_codes = np.empty(FIRST_ROWS, np.int32)
        self.split_codes = np.empty(FIRST_ROWS, np.int32)
        self.ids: list[str] = []
        self.facts: list[ItemFacts] = []
        self.positions: dict[str, int] = {}
        self.labels = {name: code for code, name in enumerate(names.label)}
        self.splits = {name: code for code, name in enumerate(names.split)}

    def put(
        self,
        at: int,
        ids: Sequence[str],
        X: Vectors | Sequence[Vectors],
        facts: Sequence[ItemFacts],
    ) -> None:
        """Write rows at position `at`."""
        end = at + len(ids)
        if end > len(self.norms):
            self._grow(at, end)
        self.vectors[at:end] = X
        if self.metric != "cosine":
            self.norms[at:end] = snapped(row_norms(self.vectors[at:end]))
            self.largest_norm = max(self.largest_norm, float(self.norms[at:end].max(initial=0.0)))
        self.label_codes[at:end] = [_code(self.labels, each.label) for each in facts]
        self.split_codes[at:end] = [_code(self.splits, each.split) for each in facts]
        del self.ids[at:], self.facts[at:]
        self.ids += ids
        self.facts += facts
        for position, item_id in enumerate(ids, at):
            self.positions[item_id] = position

    @cached_property
    def flat(self) -> NumpyFlat:
        """Compares rows that are given to it with queries, by one thread."""
        return _flat([self.vectors[:0]], ["unit"], self.metric)

    def _grow(self, used: int, needed: int) -> None:
        rows = max(needed, 2 * len(self.norms))
        self.vectors = _grown(self.vectors, used, rows)
        self.norms = _grown(self.norms, used, rows)
        self.label_codes = _grown(self.label_codes, used, rows)
        self.split_codes = _grown(self.split_codes, used, rows)


def _grown(old: NDArray[Any], used: int, rows: int) -> NDArray[Any]:
    new = np.empty((rows, *old.shape[1:]), old.dtype)
    new[:used] = old[:used]
    return new


def _code(codes: dict[str, int], name: str | None) -> int:
    return -1 if name is None else codes.setdefault(name, len(codes))


@dataclass(frozen=True, slots=True)
class Recent:
    """The first `count` rows of a store, without those that were removed; it never changes."""

    store: Store
    count: int = 0
    dead: frozenset[int] = frozenset()

    def __len__(self) -> int:
        """Return the number of rows that can be found."""
        return self.count - len(self.dead)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Which rows can be found, shape (count,)."""
        alive = np.ones(self.count, np.bool_)
        alive[list(self.dead)] = False
        return alive

    @property
    def labels(self) -> Codes:
        """Number of each row's label; -1 for none."""
        return self.store.label_codes[: self.count]

    @property
    def splits(self) -> Codes:
        """Number of each row's split; -1 for none."""
        return self.store.split_codes[: self.count]

    @property
    def vectors(self) -> Vectors:
        """The rows, shape (count, D)."""
        return self.store.vectors[: self.count]

    def find(self, item_id: str) -> int | None:
        """Return the position of the row of an id, None if there is none."""
        at = self.store.positions.get(item_id)
        if at is not None and at >= self.count:  # of a later state, which may replace one of ours
            ids = self.store.ids[: self.count]
            at = max((i for i, each in enumerate(ids) if each == item_id), default=None)
        return None if at in self.dead else at

    def joined(
        self, ids: Sequence[str], X: Vectors | Sequence[Vectors], facts: Sequence[ItemFacts]
    ) -> Self:
        """Return this with more rows at the end; only the newest state of a store can grow."""
        self.store.put(self.count, ids, X, facts)
        return type(self)(self.store, self.count + len(ids), self.dead)

    def without(self, positions: Sequence[int]) -> Self:
        """Return this without some rows."""
        return type(self)(self.store, self.count, self.dead.union(positions)) if positions else self

    def forget_later(self) -> None:
        """Take back what was joined to this state: it was not to be."""
        ids = self.store.ids[: self.count]
        self.store.positions = {item_id: at for at, item_id in enumerate(ids)}

    def after(self, taken: int, store: Store) -> Self:
        """Return the rows from position `taken` on, in a new store."""
        rest = slice(taken, self.count)
        X, ids, facts = self.vectors[rest], self.store.ids[rest], self.store.facts[rest]
        dead = frozenset(at - taken for at in self.dead if at >= taken)
        return type(self)(store, 0, dead).joined(ids, X, facts)

    def nearest(
        self,
        Q: Vectors,
        k: int,
        keep: NDArray[np.bool_] | None,
        others: Neighbours | None = None,
    ) -> Neighbours:
        """Return the `k` nearest rows of each query, exactly.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
        k : int, >= 1
        keep : ndarray of bool, shape (count,), or None
            Rows that may be answered.
        others : Neighbours, optional
            What was found elsewhere; where no row comes near it, the answer has no columns.
        """
        if others is not None and others.rows.shape[1] == k and self._are_far(Q, others):
            return Neighbours(np.empty((len(Q), 0), np.float32), np.empty((len(Q), 0), np.int64))
        norms = self.store.norms[: self.count]
        known: PartNorms = "unit" if self.store.metric == "cosine" else norms
        return _flat([self.vectors], [known], self.store.metric).search(Q, k, keep=keep)

    def _are_far(self, Q: Vectors, others: Neighbours) -> bool:
        """Return whether no row can be as near to a query as the last of its `others`.

        The most frequent case, hence in few steps: where cosines are compared what they must reach
        is scaled, not the queries.  Allows for twice the rounding errors of `Asked.slack`.
        """
        if not len(Q):
            return False
        Q = np.ascontiguousarray(Q, np.float32)
        near = self.store.flat.scan(Q, self.vectors, 1)[0][:, 0]
        norms, last = row_norms(Q), others.similarities[:, -1].astype(np.float64)
        error = (Q.shape[1] + 8) * 2.0**-23
        if self.store.metric == "l2":
            least = -(last**2) * (1 + 2.0**-20) - error * (norms + self.store.largest_norm) ** 2
        elif self.store.metric == "dot":
            least = last - np.abs(last) * 2.0**-20 - error * norms * self.store.largest_norm
        else:
            least = (last - np.abs(last) * 2.0**-20 - error) * norms
        return bool(((near < least) & (norms > _LEAST_NORM)).all())


def _flat(parts: list[Vectors], norms: list[PartNorms], metric: MetricName) -> NumpyFlat:
    """Return an exact index over rows; made in microseconds."""
    return (_OneThread if is_installed() else NumpyFlat)(Stack(parts, norms), metric)


class _OneThread(FaissFlat):
    """Exact search by one thread on the CPU: there are few rows, and other ones every time."""

    def scan(self, Q: Vectors, X: Vectors, n: int) -> tuple[Vectors, Rows]:
        with one_thread(when=len(Q) < BLAS_QUERIES):
            return super().scan(Q, X, n)

    def _shortlist(self, asked: Asked, n: int) -> tuple[Vectors, Rows]:
        return NumpyFlat._shortlist(self, asked, n)
