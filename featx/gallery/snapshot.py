"""Snapshot: what a gallery holds at one moment, searched and asked for a vote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, compress, islice
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.gallery.answers import Block, Classified, Neighbour, Page
from featx.gallery.base import Base
from featx.gallery.changelog import Change
from featx.gallery.items import ItemFacts, from_batch
from featx.gallery.listing import holding, page_of
from featx.gallery.living import Keep, Living, both
from featx.gallery.recent import Recent, Store
from featx.gallery.votes import checked_abstention, classified, unlabelled
from featx.index.metric import MetricName, checked
from featx.index.neighbours import Neighbours, merged
from featx.types import Rows, Vectors


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The parts of a gallery and the changes since; nothing of it changes.

    Rows of the parts are numbered from 0, those added since follow.

    Attributes
    ----------
    base : Base
    living : Living
    recent : Recent
    seq : int
        Number of the last change.
    """

    base: Base
    living: Living
    recent: Recent
    seq: int

    @classmethod
    def of(cls, base: Base) -> Self:
        """Return a base without changes."""
        store = Store(base.stack.dim, base.names, base.facts["metric"])
        return cls(base, Living(base, base.alive), Recent(store), int(base.facts["folded"]))

    def __len__(self) -> int:
        """Return the number of items, removed ones not counted."""
        return self.living.count + len(self.recent)

    @property
    def path(self) -> Path:
        """Of the gallery."""
        return self.base.path

    @property
    def facts(self) -> dict[str, Any]:
        """``gallery.json``."""
        return self.base.facts

    @property
    def generation(self) -> int:
        """Number of the generation."""
        return self.base.generation

    @property
    def metric(self) -> MetricName:
        """What similarity means."""
        metric: MetricName = self.base.facts["metric"]
        return metric

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.base.stack.dim

    @property
    def pending(self) -> int:
        """Changes that are in the log only."""
        return self.seq - int(self.base.facts["folded"])

    @property
    def changes(self) -> int:
        """Changes since the gallery was built."""
        return int(self.base.facts["changes"]) + self.pending

    @cached_property
    def label_counts(self) -> dict[str, int]:
        """Number of items of each label, by label."""
        names = list(self.recent.store.labels)
        codes = self.base.labels
        codes = codes if self.living.mask is None else codes[self.living.mask]
        codes = np.concatenate((codes, self.recent.labels[self.recent.alive]))
        counts = np.bincount(codes[codes >= 0], minlength=len(names))
        found = {name: int(count) for name, count in zip(names, counts, strict=False) if count}
        return dict(sorted(found.items()))

    @property
    def classes(self) -> list[str]:
        """Labels of the items, sorted."""
        return list(self.label_counts)

    def find(self, item_id: str) -> int | None:
        """Return the row of an id, None if no item has it."""
        at = self.recent.find(item_id)
        if at is not None:
            return len(self.base) + at
        rows = self.base.rows_of(item_id)
        return next((row for row in rows if self.living.holds(row)), None)

    def find_all(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row of each id that an item has."""
        rows = ((item_id, self.find(item_id)) for item_id in ids)
        return {item_id: row for item_id, row in rows if row is not None}

    def changed(self, changes: Sequence[Change]) -> Self:
        """Return this after changes; an item that is added takes the place of one of its id."""
        n, count = len(self.base), self.recent.count
        added: list[Change] = []
        rows: dict[str, int | None] = {}
        gone: list[int] = []
        for change in changes:
            if change.action != "add":
                row = rows[change.id] if change.id in rows else self.find(change.id)
                assert row is not None, f"{change.action} {change.id}"
                gone.append(row)
            rows[change.id] = None
            if change.vector is not None:
                rows[change.id] = n + count + len(added)
                added.append(change)
        recent = self.recent
        if added:
            X = [change.vector for change in added if change.vector is not None]
            recent = recent.joined([c.id for c in added], X, [c.facts for c in added])
        return type(self)(
            self.base,
            self.living.without([row for row in gone if row < n]),
            recent.without([row - n for row in gone if row >= n]),
            self.seq + len(changes),
        )

    def moved(self, base: Base, taken: int, kept: Rows | None) -> Self:
        """Return this over a later base.

        Parameters
        ----------
        base : Base
            Holds rows of this base and the first `taken` recent ones.
        taken : int
        kept : ndarray of int64, or None
            Which row, as numbered here, each row of `base` is; None where no number changed.
        """
        recent = self.recent.after(taken, Store(base.stack.dim, base.names, base.facts["metric"]))
        alive = np.concatenate((self.living.all, self.recent.alive[:taken]))
        alive = alive if kept is None else alive[kept]
        return type(self)(base, Living(base, None if alive.all() else alive), recent, self.seq)

    def search(
        self, Q: Vectors, k: int, *, label: str | None = None, split: str | None = None
    ) -> list[list[Neighbour]]:
        """Return the `k` items nearest to each query; see `Gallery.search`."""
        found = self.nearest(Q, k, self._keep(label, split))
        return [
            self.describe(rows, similarities)
            for rows, similarities in zip(found.rows, found.similarities, strict=True)
        ]

    def nearest(self, Q: Vectors, k: int, keep: Keep | None = None) -> Neighbours:
        """Return the `k` nearest rows of each query.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
        k : int, >= 1
        keep : Keep, optional
            Rows that may be answered; all that can be found unless given.

        Raises
        ------
        InputError
            If `k` is below one, or `Q` has another dimension or a row that is not finite.
        """
        keep = keep or self._keep(None, None)
        self._refuse(Q, k)
        answers = []
        if self.base.index is not None:
            answers.append(self.base.index.search(Q, k, keep=keep.base))
        if self.recent.count:
            found = self.recent.nearest(Q, k, keep.recent, answers[0] if answers else None)
            if found.rows.shape[1] or not answers:
                answers.append(Neighbours(found.similarities, found.rows + len(self.base)))
        return answers[0] if len(answers) == 1 else merged(answers, len(Q), k)

    def _refuse(self, Q: Vectors, k: int) -> None:
        """Refuse what no index has looked at: there may be none."""
        if self.base.index is None and not self.recent.count:
            Q, _ = checked(Q, "query")
            if k < 1:
                raise InputError(f"k: found {k}; must be at least 1")
            if Q.shape[1] != self.base.stack.dim:
                dim = self.base.stack.dim
                raise InputError(f"query: {Q.shape[1]} dimensions; the gallery has {dim}")

    def _keep(self, label: str | None, split: str | None, *, labelled: bool = False) -> Keep:
        recent = self.recent
        base_mask = self.living.labelled if labelled else self.living.mask
        recent_mask = recent.alive if recent.dead else None
        if labelled and (recent.labels < 0).any():
            recent_mask = both(recent_mask, recent.labels >= 0)
        if label is not None:
            code = _code("label", label, recent.store.labels)
            base_mask = both(base_mask, self.base.labels == code)
            recent_mask = both(recent_mask, recent.labels == code)
        if split is not None:
            code = _code("split", split, recent.store.splits)
            base_mask = both(base_mask, self.base.splits == code)
            recent_mask = both(recent_mask, recent.splits == code)
        return Keep(base_mask, recent_mask)

    def classify(self, Q: Vectors, k: int, *, abstain_below: float = 0.0) -> list[Classified]:
        """Return the vote of the `k` nearest labelled items; see `Gallery.classify`."""
        checked_abstention(abstain_below)
        found = self.nearest_labelled(Q, k)
        if not found.rows.shape[1]:
            raise unlabelled(self.base.path, self.base.facts)
        names, places = self._ranked_labels
        return classified(
            found,
            places[self.label_codes(found.rows)],
            names,
            self.base.facts,
            lambda i, votes: self.describe(found.rows[i], found.similarities[i], votes),
            abstain_below=abstain_below,
        )

    def nearest_labelled(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query that are labelled."""
        return self.nearest(Q, k, self._keep(None, None, labelled=True))

    @cached_property
    def _ranked_labels(self) -> tuple[list[str], Rows]:
        """Labels in order, so that of equal shares the first wins, and the place of each code."""
        names = list(self.recent.store.labels)
        places = np.empty(len(names), np.int64)
        order = sorted(range(len(names)), key=names.__getitem__)
        places[order] = np.arange(len(names))
        return [names[code] for code in order], places

    @property
    def label_names(self) -> list[str]:
        """The label that each number of `label_codes` stands for."""
        return list(self.recent.store.labels)

    def label_codes(self, rows: Rows) -> Rows:
        """Return the number of each row's label, -1 for none; of any shape."""
        n = len(self.base)
        codes = np.empty(rows.shape, np.int64)
        is_recent = rows >= n
        codes[~is_recent] = self.base.labels[rows[~is_recent]]
        codes[is_recent] = self.recent.labels[rows[is_recent] - n]
        return codes

    @property
    def rows(self) -> Rows:
        """Rows that can be found, ascending."""
        mask = self.living.mask
        base = np.arange(len(self.base)) if mask is None else np.flatnonzero(mask)
        return np.concatenate((base, len(self.base) + np.flatnonzero(self.recent.alive)))

    def rows_with(self, *, label: str | None = None, split: str | None = None) -> Rows:
        """Return rows that can be found and have a label, a split or both, ascending.

        Raises
        ------
        UnknownNameError
            If no item ever had that label or split.
        """
        if label is None and split is None:
            return self.rows
        keep = self._keep(label, split)
        assert keep.base is not None
        assert keep.recent is not None
        base, recent = np.flatnonzero(keep.base), np.flatnonzero(keep.recent)
        return np.concatenate((base, len(self.base) + recent))

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of the vectors of some rows.

        Where cosines are compared those that were added are of length one.
        """
        n = len(self.base)
        X = np.empty((len(rows), self.base.stack.dim), np.float32)
        is_recent = rows >= n
        X[~is_recent] = self.base.stack.take(rows[~is_recent])
        X[is_recent] = self.recent.vectors[rows[is_recent] - n]
        return X

    def describe(
        self,
        rows: Rows,
        similarities: Vectors | None = None,
        votes: NDArray[np.float64] | None = None,
    ) -> list[Neighbour]:
        """Return the facts of rows, with similarity 1 unless given.

        Raises
        ------
        InputError
            If there is no such row.
        """
        near = [1.0] * len(rows) if similarities is None else similarities.tolist()
        shares = [None] * len(rows) if votes is None else votes.tolist()
        return [self._neighbour(*each) for each in zip(rows.tolist(), near, shares, strict=True)]

    def _neighbour(self, row: int, similarity: float, vote: float | None) -> Neighbour:
        item_id, facts = self.item(row)
        return Neighbour(
            id=item_id,
            label=facts.label,
            similarity=similarity + 0.0,  # l2 of equal rows is 0, not -0
            uri=facts.uri,
            preview=facts.preview,
            row=row,
            split=facts.split,
            vote=vote,
        )

    def item(self, row: int) -> tuple[str, ItemFacts]:
        """Return the id and the facts of a row; those of the parts without their thumbnail."""
        at = self._recent_position(row)
        if at is None:
            return self.base.id(row), self.base.item(row)
        return self.recent.store.ids[at], self.recent.store.facts[at]

    def items(self) -> Iterator[tuple[str, ItemFacts]]:
        """Yield id and facts of each item that can be found, by row; see `Gallery.items`."""
        base, recent = self.base, self.recent
        batches = chain.from_iterable(map(base.batches, range(len(base.tables))))
        yield from compress(chain.from_iterable(map(from_batch, batches)), self.living.all)
        for at in np.flatnonzero(recent.alive).tolist():
            yield recent.store.ids[at], replace(recent.store.facts[at], thumbnail=None)

    def blocks(self, most: int) -> Iterator[Block]:
        """Yield the items that can be found by row, some at a time; see `Held.blocks`."""
        rows, items = self.rows, self.items()
        for start in range(0, len(rows), most):
            some = rows[start : start + most]
            yield Block(rows=some, X=self.vectors(some), items=list(islice(items, len(some))))

    def page(
        self,
        *,
        limit: int,
        after: int = -1,
        label: str | None = None,
        split: str | None = None,
        text: str = "",
    ) -> Page:
        """Return a page of items, by row; see `Held.page`."""
        rows = self.rows_with(label=label, split=split)
        if text:
            rows = rows[holding(self.base, self.recent, text)[rows]]
        return page_of(rows, self.item, after=after, limit=limit)

    def thumbnail(self, row: int) -> bytes | None:
        """Return the thumbnail of a row, None if it has none."""
        at = self._recent_position(row)
        return self.base.thumbnail(row) if at is None else self.recent.store.facts[at].thumbnail

    def _recent_position(self, row: int) -> int | None:
        """Return where among the recent rows a row is, None if it is of the base."""
        at = row - len(self.base)
        if row < 0 or at >= self.recent.count:
            rows = len(self.base) + self.recent.count
            raise InputError(f"row: found {row}; the gallery has rows 0 to {rows - 1}")
        return at if at >= 0 else None


def _code(what: str, name: str, codes: dict[str, int]) -> int:
    if name not in codes:
        raise UnknownNameError(what, name, codes)
    return codes[name]
