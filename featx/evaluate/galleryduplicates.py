"""Near duplicates among many rows, found through an index instead of pair by pair."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.evaluate.duplicates import (
    SAME,
    Duplicates,
    Matches,
    cosines,
    first_equal,
    near_duplicates,
    row_keys,
    slack,
    unite,
)
from featx.index.metric import MetricName, unit_rows
from featx.index.neighbours import Index, Neighbours
from featx.index.opening import build_index
from featx.index.stack import Stack
from featx.index.tuning import build_tuned
from featx.index.voting import without_own
from featx.types import Rows, Vectors

PAIRWISE_ROWS = 20_000
"""Up to this many rows every pair is compared: it takes seconds and misses none."""

DEPTHS = (8, 64)
"""Neighbours that are asked for; rows with more near ones are compared with all rows instead."""

_BLOCK = 1024  # rows that are searched, or compared, together
_TILE = 8192  # rows that a block is compared with at once: 32 MiB of similarities


class Items(Protocol):
    """Rows that can be searched: a snapshot of a gallery is, and an `IndexItems`."""

    @property
    def rows(self) -> Rows:
        """Numbers of the rows that can be found, ascending."""
        ...

    @property
    def metric(self) -> MetricName:
        """What similarity means."""
        ...

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of some rows."""
        ...

    def nearest(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        ...


@dataclass(frozen=True, slots=True)
class IndexItems:
    """The rows of an index, as `Items`.

    Attributes
    ----------
    index : Index
    keep : ndarray of bool, shape (N,), or None
        Rows that can be found; all unless given.
    """

    index: Index
    keep: NDArray[np.bool_] | None = None

    @property
    def rows(self) -> Rows:
        """Numbers of the rows that can be found, ascending."""
        return np.arange(len(self.index.stack)) if self.keep is None else np.flatnonzero(self.keep)

    @property
    def metric(self) -> MetricName:
        """What similarity means."""
        return self.index.metric

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of some rows."""
        return self.index.stack.take(rows)

    def nearest(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        return self.index.search(Q, k, keep=self.keep)


def gallery_duplicates(items: Items, *, threshold: float = SAME) -> Duplicates:
    """Group rows that are equal, or of a cosine of `threshold`.

    Up to 20,000 rows every pair is compared, as `near_duplicates` does.  Of more, each is searched
    for its nearest, deeper where even the last of these is near; what an approximate index misses
    is missed here, which is rare so near.  Under another metric than the cosine the vectors are
    copied into an index of their own, which takes as much memory.

    Parameters
    ----------
    items : Items
        ``gallery.snapshot``, or ``IndexItems(index)``.
    threshold : float, above 0

    Returns
    -------
    Duplicates
        ``groups`` has a place for every row up to the last; rows that were removed are alone.
        `nearest_within` says how near the rows of a cluster are.

    Raises
    ------
    InputError
        If a row is not finite.
    """
    rows = items.rows
    groups = np.arange(int(rows.max(initial=-1)) + 1)
    if len(rows) <= PAIRWISE_ROWS:
        found = near_duplicates(items.vectors(rows), threshold=threshold)
        groups[rows] = rows[found.groups]
        return Duplicates(groups, found.different, found.searched)
    keys = np.concatenate([row_keys(items.vectors(rows[part])) for part in _parts(len(rows))])
    groups[rows] = rows[first_equal(keys)]
    different = rows[groups[rows] == rows]
    if items.metric == "cosine":
        _Union(items, threshold, groups).search(different)
    else:
        own = IndexItems(build_tuned("auto", Stack([items.vectors(different)]), "cosine")[1])
        among = np.arange(len(different))
        _Union(own, threshold, among).search(own.rows)
        unite(groups, different, different[among])
    return Duplicates(groups, len(different), len(different))


def gallery_matches(Q: Vectors | RowView, items: Items, *, threshold: float = SAME) -> Matches:
    """Return the rows of `Q` whose nearest row of a gallery has a cosine of at least `threshold`.

    Asks one search a row: leaks between sets of any size.  What an approximate index misses is
    missed here.

    Parameters
    ----------
    Q : ndarray of float32 or RowView, shape (M, D)
        Read in blocks.
    items : Items
        As `gallery_duplicates` takes them; of metric ``"cosine"``, or compared as if.
    threshold : float, above 0

    Raises
    ------
    InputError
        If a query is not finite or of another dimension.
    """
    rows = items.rows
    if items.metric != "cosine":
        own = IndexItems(build_index("exact", Stack([items.vectors(rows)]), "cosine"))
        found = gallery_matches(Q, own, threshold=threshold)
        return Matches(found.queries, rows[found.rows], found.similarities)
    nearest, similarities = np.empty(len(Q), np.int64), np.full(len(Q), -np.inf)
    for part in _parts(len(Q)):
        answers = items.nearest(np.ascontiguousarray(Q[part], np.float32), 1)
        if answers.rows.shape[1]:
            nearest[part] = answers.rows[:, 0]
            similarities[part] = answers.similarities[:, 0]
    queries = np.flatnonzero(similarities >= threshold)
    return Matches(queries, nearest[queries], similarities[queries])


def nearest_within(items: Items, rows: Rows) -> tuple[Rows, NDArray[np.float64]]:
    """Return the nearest other row of each of some rows, among them, and its cosine.

    Costs n^2 D multiplications and additions for n rows: meant for one cluster of `Duplicates`.

    Parameters
    ----------
    items : Items
    rows : ndarray of int64, shape (n,), n >= 2

    Returns
    -------
    nearest : ndarray of int64, shape (n,)
    similarities : ndarray of float64, shape (n,)
    """
    U = unit_rows(items.vectors(rows))
    best, near = np.full(len(rows), -np.inf, np.float32), np.zeros(len(rows), np.int64)
    for part in _parts(len(U)):
        for start in range(0, len(U), _TILE):
            products = U[part] @ U[start : start + _TILE].T
            own = np.arange(part.start, part.stop) - start
            inside = np.flatnonzero((own >= 0) & (own < products.shape[1]))
            products[inside, own[inside]] = -np.inf
            found = products.argmax(axis=1)
            values = products[np.arange(len(found)), found]
            is_nearer = values > best[part]
            near[part] = np.where(is_nearer, found + start, near[part])
            best[part] = np.maximum(best[part], values)
    return rows[near], cosines(U, U[near])


def near_groups(
    items: Items, near: Neighbours, *, threshold: float, most: int | None = None
) -> Rows | None:
    """Return the groups of rows whose nearest others are known already.

    Parameters
    ----------
    items : Items
        N rows, all of which can be found; of metric ``"cosine"``.
    near : Neighbours
        Shapes (N, K); rows whose K others are all near are compared with all rows.
    threshold : float, above 0
    most : int, optional
        Rows that a group may hold.

    Returns
    -------
    ndarray of int64, shape (N,), or None
        The first row of the group of each; None as soon as a group holds more than `most`.
    """
    rows = items.rows
    union = _Union(items, threshold, np.arange(len(rows)), most)
    crowded = [np.empty(0, np.int64)]
    for part in _parts(len(rows)):
        known = Neighbours(near.similarities[part], near.rows[part])
        crowded.append(union.join(rows[part], known))
        if union.is_too_large:
            return None
    if near.rows.shape[1] < len(rows) - 1:
        union.compare(np.concatenate(crowded))
    return None if union.is_too_large else union.groups


@dataclass(frozen=True)
class _Union:
    """Groups that grow as near pairs are found.

    Attributes
    ----------
    items : Items
    threshold : float
    groups : ndarray of int64
        Changed in place.
    most : int or None
        Rows that a group may hold before nothing more is compared.
    """

    items: Items
    threshold: float
    groups: Rows
    most: int | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether a group holds more than `most` rows."""
        return self.most is not None and int(np.bincount(self.groups).max()) > self.most

    def search(self, rows: Rows) -> None:
        """Join the groups of rows and their near neighbours."""
        for depth in DEPTHS:
            crowded = [np.empty(0, np.int64)]
            for part in _parts(len(rows)):
                block = rows[part]
                X = self.items.vectors(block)
                found = without_own(self.items.nearest(X, depth + 1), block)
                full = self.join(block, found)
                if found.rows.shape[1] == depth:
                    crowded.append(full)
            rows = np.concatenate(crowded)
        self.compare(rows)

    def join(self, rows: Rows, near: Neighbours) -> Rows:
        """Join rows (B,) with those of their nearest others (B, K) that are near.

        Returns the rows whose others are all near: there may be more of them.
        """
        floor = self._floor
        at, column = np.nonzero(near.similarities >= floor)
        self._settle(rows[at], near.rows[at, column], near.similarities[at, column])
        return rows[(near.similarities >= floor).all(axis=1)]

    def compare(self, rows: Rows) -> None:
        """Join the groups of rows and of all that are near, by a look at every row."""
        everyone = self.items.rows
        # Rows of one group side by side, so that many blocks hold no pair that is still open; and
        # those that are asked for first, so that each of their pairs is looked at once.
        is_other = ~np.isin(everyone, rows)
        everyone = everyone[np.lexsort((self.groups[everyone], is_other))]
        for part in _parts(len(rows)):
            if self.is_too_large:
                return
            block = everyone[part]
            U = unit_rows(self.items.vectors(block))
            for start in range(part.start, len(everyone), _TILE):
                others = everyone[start : start + _TILE]
                is_open = self.groups[block][:, None] != self.groups[others]
                if is_open.any():
                    near = U @ unit_rows(self.items.vectors(others)).T
                    at = np.flatnonzero(is_open & (near >= self._floor))
                    left, right = np.divmod(at, len(others))
                    self._settle(block[left], others[right], near.ravel()[at])

    @property
    def _floor(self) -> float:
        """The least float32 cosine of a pair that may be near."""
        return self.threshold - self._slack

    @cached_property
    def _slack(self) -> float:
        return slack(self.items.vectors(self.items.rows[:1]).shape[1])

    def _settle(self, left: Rows, right: Rows, near: Vectors) -> None:
        """Join each pair that is near, whose float32 cosines leave it open."""
        is_open = self.groups[left] != self.groups[right]
        left, right, near = left[is_open], right[is_open], near[is_open]
        is_near = np.ones(len(left), bool)
        doubtful = np.flatnonzero(near <= self.threshold + self._slack)
        pair = (unit_rows(self.items.vectors(side[doubtful])) for side in (left, right))
        is_near[doubtful] = cosines(*pair) >= self.threshold
        unite(self.groups, left[is_near], right[is_near])


def _parts(n: int, size: int = _BLOCK) -> Iterator[slice]:
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
