"""What a gallery in PostgreSQL held after a change, searched and asked for a vote."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.gallery.answers import Block, Classified, Neighbour, Page
from featx.gallery.items import ItemFacts
from featx.gallery.postgres.near import Found, Wish, nearest
from featx.gallery.postgres.rows import Stored
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.state import NamedCounts, State, read_counted
from featx.gallery.votes import checked_abstention, classified, unlabelled
from featx.index.metric import MetricName, checked
from featx.index.neighbours import Neighbours
from featx.types import Rows, Vectors


@dataclass(frozen=True, eq=False)
class PostgresHeld:
    """What a gallery held after a change; a `featx.gallery.held.Held`.

    Rows that were removed later are found until the gallery is compacted.

    Attributes
    ----------
    path : Path
    facts : dict
        ``gallery.json``, and what was fitted.
    shards : Shards
    state : State
    counted : dict, optional
        What `names` gives, where it was read together with the state.
    """

    path: Path
    facts: dict[str, Any]
    shards: Shards
    state: State
    counted: NamedCounts | None = None

    @property
    def seq(self) -> int:
        """Number of the last change."""
        return self.state.seq

    @property
    def generation(self) -> int:
        """How often the gallery was built or compacted."""
        return self.state.generation

    @property
    def changes(self) -> int:
        """Items added and removed since the gallery was built."""
        return self.state.changes

    @property
    def metric(self) -> MetricName:
        """What similarity means."""
        return self.shards.tables.metric

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return self.shards.tables.dim

    @property
    def stored(self) -> Stored:
        """The rows."""
        return Stored(self.shards, self.seq)

    def __len__(self) -> int:
        """Return the number of items."""
        return self.state.items

    @cached_property
    def names(self) -> NamedCounts:
        """Labels and splits, those that no item has any more too, by how many have each."""
        if self.counted is not None:
            return self.counted
        state, found = self.shards.head.ask(
            lambda session: read_counted(session, self.shards.tables)
        )
        if state.seq != self.seq:  # of a later change; counting takes a look at each row
            now = {"label": self.stored.counts("label"), "split": self.stored.counts("split")}
            found = {
                what: {name: now[what].get(name, 0) for name in each}
                for what, each in found.items()
            }
        return found

    @property
    def has_names(self) -> bool:
        """Whether labels and splits are known already."""
        return self.counted is not None or "names" in vars(self)

    @property
    def label_counts(self) -> dict[str, int]:
        """Number of items of each label, by label."""
        return {name: n for name, n in self.names["label"].items() if n > 0}

    @property
    def classes(self) -> list[str]:
        """Labels of the items, sorted."""
        return list(self.label_counts)

    @property
    def label_names(self) -> list[str]:
        """The label that each number of `label_codes` stands for."""
        return list(self.names["label"])

    @property
    def rows(self) -> Rows:
        """Rows that can be found, ascending."""
        return self.stored.all()

    def find(self, item_id: str) -> int | None:
        """Return the row of an id, None if no item has it."""
        return self.stored.find([item_id]).get(item_id)

    def find_all(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row of each id that an item has, in the order of the ids."""
        found = self.stored.find(ids)
        return {item_id: found[item_id] for item_id in ids if item_id in found}

    def search(
        self, Q: Vectors, k: int, *, label: str | None = None, split: str | None = None
    ) -> list[list[Neighbour]]:
        """Return the `k` items nearest to each query; see `Gallery.search`."""
        allowed = self._allowed(label, split)
        found = self._nearest(Q, k, allowed, label=label, split=split)
        return [self._described(found, at) for at in range(len(found.items))]

    def classify(self, Q: Vectors, k: int, *, abstain_below: float = 0.0) -> list[Classified]:
        """Return the vote of the `k` nearest labelled items; see `Gallery.classify`."""
        checked_abstention(abstain_below)
        found = self._labelled(Q, k)
        if not found.neighbours.rows.shape[1]:
            raise unlabelled(self.path, self.facts)
        labels = [[facts.label or "" for _, facts in each] for each in found.items]
        names = sorted({label for each in labels for label in each})
        place = {name: at for at, name in enumerate(names)}
        codes = [[place[label] for label in each] for each in labels]
        return classified(
            found.neighbours,
            np.array(codes, np.int64).reshape(found.neighbours.rows.shape),
            names,
            self.facts,
            lambda at, votes: self._described(found, at, votes),
            abstain_below=abstain_below,
        )

    def nearest(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        return self._nearest(Q, k, len(self)).neighbours

    def nearest_labelled(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query that are labelled."""
        return self._labelled(Q, k).neighbours

    def _labelled(self, Q: Vectors, k: int) -> Found:
        labelled = sum(self.label_counts.values())
        return self._nearest(Q, k, labelled, is_labelled=labelled < len(self))

    def _allowed(self, label: str | None, split: str | None) -> int:
        """Return how many rows can have a label and a split, at most.

        Raises
        ------
        UnknownNameError
            If no item ever had one of them.
        """
        allowed = len(self)
        for what, name in (("label", label), ("split", split)):
            if name is not None:
                if name not in self.names[what]:
                    raise UnknownNameError(what, name, self.names[what])
                allowed = min(allowed, max(0, self.names[what][name]))
        return allowed

    def _nearest(self, Q: Vectors, k: int, allowed: int, **filters: Any) -> Found:  # noqa: ANN401
        if k < 1:
            raise InputError(f"k: found {k}; must be at least 1")
        Q, norms = checked(Q, "query")
        if Q.shape[1] != self.dim:
            raise InputError(f"query: {Q.shape[1]} dimensions; the gallery has {self.dim}")
        if not len(Q) or not allowed:
            shape = (len(Q), 0 if len(Q) else min(k, allowed))
            none = Neighbours(np.empty(shape, np.float32), np.empty(shape, np.int64))
            return Found(none, [[] for _ in Q])
        index = self.facts["index"]
        wish = Wish(
            seq=self.seq,
            k=min(k, allowed),
            allowed=allowed,
            stored=self.state.items + self.state.removed,
            effort=int(index["settings"].get("ef_search", 0)),
            indexed=index["indexed"],
            **filters,
        )
        return nearest(self.shards, Q, norms, wish)

    @staticmethod
    def _described(
        found: Found, at: int, votes: NDArray[np.float64] | None = None
    ) -> list[Neighbour]:
        """Return the neighbours of a query as they are told."""
        near = found.neighbours.similarities[at].tolist()
        rows = found.neighbours.rows[at].tolist()
        shares = [None] * len(rows) if votes is None else votes.tolist()
        each = zip(rows, found.items[at], near, shares, strict=True)
        return [_neighbour(row, *item, similarity, vote) for row, item, similarity, vote in each]

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of the vectors of some rows, as they are stored."""
        return self.stored.vectors(np.asarray(rows, np.int64))

    def label_codes(self, rows: Rows) -> Rows:
        """Return the number of each row's label, -1 for none; of any shape."""
        place = {name: at for at, name in enumerate(self.label_names)}
        wanted, inverse = np.unique(rows, return_inverse=True)
        labels = self.stored.column("label", wanted.tolist())
        codes = [place.get(labels[row], -1) for row in wanted.tolist()]
        return np.array(codes, np.int64)[inverse].reshape(rows.shape)

    def describe(
        self,
        rows: Rows,
        similarities: Vectors | None = None,
        votes: NDArray[np.float64] | None = None,
    ) -> list[Neighbour]:
        """Return the facts of rows, with similarity 1 unless given; see `Gallery.describe`."""
        numbers = rows.tolist()
        known = self.stored.facts(numbers)
        near = [1.0] * len(rows) if similarities is None else similarities.tolist()
        shares = [None] * len(rows) if votes is None else votes.tolist()
        each = zip(numbers, near, shares, strict=True)
        return [_neighbour(row, *known[row], *measures) for row, *measures in each]

    def item(self, row: int) -> tuple[str, ItemFacts]:
        """Return the id and the facts of a row, without its thumbnail."""
        return self.stored.facts([row])[row]

    def items(self) -> Iterator[tuple[str, ItemFacts]]:
        """Yield id and facts of each item that can be found, by row; see `Gallery.items`."""
        return self.stored.items()

    def blocks(self, most: int) -> Iterator[Block]:
        """Yield the items that can be found by row, some at a time; see `Held.blocks`."""
        return self.stored.blocks(most)

    def thumbnail(self, row: int) -> bytes | None:
        """Return the thumbnail of a row, None if it has none."""
        picture: bytes | None = self.stored.column("thumbnail", [row])[row]
        return picture

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
        total = self._allowed(label, split)
        filters = {"label": label, "split": split, "text": text.replace("\x00", "")}
        if text or (label is not None and split is not None):
            total = self.stored.count(filters)
        found = self.stored.page(filters, after=after, limit=limit)
        is_last = len(found) <= limit
        items = [item for _, item in found[:limit]]
        return Page(items=items, next=None if is_last else found[limit - 1][0], total=total)


def _neighbour(
    row: int, item_id: str, facts: ItemFacts, similarity: float, vote: float | None
) -> Neighbour:
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
