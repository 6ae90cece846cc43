"""What a gallery holds at one moment, and who holds it: the faces of every way to keep one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from numpy import float64
from numpy.typing import NDArray

from featx.gallery.answers import Block, Classified, Neighbour, Page
from featx.gallery.items import ItemFacts
from featx.index.metric import MetricName
from featx.index.neighbours import Neighbours
from featx.index.voting import without_own
from featx.types import Rows, Vectors

BLOCK_ROWS = 1024
"""Items that are searched together where all are."""


class Held(Protocol):
    """What a gallery holds at one moment; it does not change any more.

    An item is named by its row, a number that is never another item's until the gallery is
    compacted.  Methods that `featx.gallery.gallery.Gallery` has too are described there.
    """

    @property
    def path(self) -> Path:
        """Of the gallery."""
        ...

    @property
    def facts(self) -> dict[str, Any]:
        """What the gallery is, and how its items vote."""
        ...

    @property
    def generation(self) -> int:
        """A number that rises when rows may get other numbers."""
        ...

    @property
    def seq(self) -> int:
        """A number that rises with every change."""
        ...

    @property
    def changes(self) -> int:
        """Items added and removed since the gallery was built."""
        ...

    @property
    def metric(self) -> MetricName:
        """What similarity means."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def label_counts(self) -> dict[str, int]:
        """Number of items of each label, by label."""
        ...

    @property
    def classes(self) -> list[str]:
        """Labels of the items, sorted."""
        ...

    @property
    def label_names(self) -> list[str]:
        """The label that each number of `label_codes` stands for."""
        ...

    @property
    def rows(self) -> Rows:
        """Rows that can be found, ascending."""
        ...

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def find(self, item_id: str) -> int | None:
        """Return the row of an id, None if no item has it."""
        ...

    def find_all(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row of each id that an item has."""
        ...

    def search(
        self, Q: Vectors, k: int, *, label: str | None = None, split: str | None = None
    ) -> list[list[Neighbour]]:
        """Return the `k` items nearest to each query."""
        ...

    def classify(self, Q: Vectors, k: int, *, abstain_below: float = 0.0) -> list[Classified]:
        """Return the vote of the `k` nearest labelled items."""
        ...

    def nearest(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        ...

    def nearest_labelled(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query that are labelled."""
        ...

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of the vectors of some rows."""
        ...

    def label_codes(self, rows: Rows) -> Rows:
        """Return the number of each row's label, -1 for none; of any shape."""
        ...

    def describe(
        self,
        rows: Rows,
        similarities: Vectors | None = None,
        votes: NDArray[float64] | None = None,
    ) -> list[Neighbour]:
        """Return the facts of rows, with similarity 1 unless given."""
        ...

    def item(self, row: int) -> tuple[str, ItemFacts]:
        """Return the id and the facts of a row; its thumbnail need not be among them."""
        ...

    def items(self) -> Iterator[tuple[str, ItemFacts]]:
        """Yield id and facts of each item that can be found, by row, without thumbnails."""
        ...

    def blocks(self, most: int) -> Iterator[Block]:
        """Yield the items that can be found by row, at most so many at a time.

        Nothing is held of items that are still to come.  Those that were removed later may be
        left out, where the gallery is compacted meanwhile.
        """
        ...

    def thumbnail(self, row: int) -> bytes | None:
        """Return the thumbnail of a row, None if it has none."""
        ...

    def page(
        self,
        *,
        limit: int,
        after: int = -1,
        label: str | None = None,
        split: str | None = None,
        text: str = "",
    ) -> Page:
        """Return a page of items, by row.

        Parameters
        ----------
        limit : int
            Most items of the page.
        after : int
            The page begins after this row, of the same generation of the gallery.
        label, split : str, optional
            Only items that have it.
        text : str
            Only items with this in their id or preview, in upper or lower case; then every id and
            preview is read.

        Raises
        ------
        UnknownNameError
            If no item ever had that label or split.
        StoreError
            If the gallery cannot be read.
        """
        ...


def each_with_neighbours(
    held: Held, k: int, *, threshold: float | None = None
) -> Iterator[tuple[Rows, Neighbours]]:
    """Yield items in blocks with their nearest others; see `Gallery.neighbours_of_items`."""
    for each in held.blocks(BLOCK_ROWS):
        block = each.rows
        found = without_own(held.nearest(each.X, k + 1), block)
        if threshold is not None and found.rows.shape[1]:
            near = found.similarities[:, 0] >= threshold
            block = block[near]
            found = Neighbours(found.similarities[near], found.rows[near])
        yield block, found


class Source(Protocol):
    """Who holds a gallery for a process: a reader, which sees what writers do, or the writer."""

    @property
    def latest(self) -> Held:
        """What the gallery held when it was last asked for."""
        ...

    def current(self) -> Held:
        """Return what the gallery holds now.

        Raises
        ------
        StoreError
            If it was closed, or cannot be read any more.
        """
        ...

    def stats(self) -> dict[str, Any]:
        """Return the figures of `Gallery.stats`."""
        ...

    def close(self) -> None:
        """Give up what is open."""
        ...


class Writer(Source, Protocol):
    """The one process that changes a gallery; see the methods of `Gallery`."""

    def add(
        self,
        ids: Sequence[str],
        X: Vectors,
        *,
        facts: Sequence[ItemFacts] | None,
        replace: bool,
    ) -> None:
        """Add items, all or none."""
        ...

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, all or none."""
        ...

    def fold(self) -> None:
        """Put pending changes in order."""
        ...

    def compact(self) -> None:
        """Drop removed rows and fit the index anew."""
        ...
