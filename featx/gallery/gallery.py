"""Gallery: labelled neighbours on disk, ``X.knn/``, that grow and forget while they are searched.

::

    gallery.json            format, version, generation, the parts, the index, the vote, metrics
    items-<n>.arrow         facts of the items of a part, memory-mapped
    order-<n>.npy           hashes of the ids of that part, sorted, and their rows
    vectors-<n>.npy         vectors of a part; the first part mostly lies in the embedding set
    norms-<n>.npy           lengths of the rows of a part, if not all are one
    index-<n>.faiss         codes of the approximate kinds
    removed-<n>.npy         rows that were removed
    log.sqlite              changes that are not in the parts yet
    lock                    held by the one writer

How they change together: `featx.gallery.generation`.
"""

from collections.abc import Iterator, Sequence
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from featx.errors import InputError, StoreError
from featx.gallery import SOURCES, WRITERS
from featx.gallery.answers import Classified, Neighbour
from featx.gallery.folder import backend_of
from featx.gallery.held import Held, Source, Writer, each_with_neighbours
from featx.gallery.items import ItemFacts
from featx.index.neighbours import Neighbours
from featx.registry import resolve
from featx.types import Rows, Vectors

__all__ = [
    "Classified",
    "Gallery",
    "ItemFacts",
    "Neighbour",
]


class Gallery:
    """Items to search and to vote; made by `build_gallery`, read by `Gallery.open`.

    Any thread may use it.  A search works on what the gallery held when it began; it sees every
    change that was acknowledged before, by this process or another.

    Attributes
    ----------
    path : Path
    """

    def __init__(self, path: Path, source: Source, writer: Writer | None = None) -> None:
        self.path = path
        self._source = source
        self._its_writer = writer

    @classmethod
    def open(cls, path: str | Path, *, writable: bool = False) -> Self:
        """Open a gallery and check that its set is still the one it was built from.

        Files are mapped, not read, but for the codes of an approximate index.

        Parameters
        ----------
        path : str or Path
        writable : bool, default False
            Whether items shall be added or removed: by one process at a time.

        Raises
        ------
        StoreError
            If something is missing, damaged, of another format or changed, with the command that
            mends it; or another process is writing to the gallery.
        """
        path = Path(path)
        backend = backend_of(path)
        if not writable:
            return cls(path, resolve("backend", SOURCES, backend)(path))
        writer: Writer = resolve("backend", WRITERS, backend)(path)
        return cls(path, writer, writer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a writer first waits for its background work, then gives up the lock."""
        self._source.close()

    def __len__(self) -> int:
        """Return the number of items, removed ones not counted."""
        return len(self._source.current())

    def __contains__(self, item_id: object) -> bool:
        """Return whether an item has this id."""
        return isinstance(item_id, str) and self._source.current().find(item_id) is not None

    def __repr__(self) -> str:
        return f"Gallery({str(self.path)!r}: {len(self):,} items, model {self.facts['model']})"

    @property
    def facts(self) -> dict[str, Any]:
        """What the gallery is, and how its items vote, as it was last written."""
        return self._source.latest.facts

    @property
    def k(self) -> int:
        """Neighbours that vote, chosen when the gallery was built."""
        return int(self.facts["k"])

    @property
    def temperature(self) -> float:
        """Temperature of the vote, chosen when the gallery was built."""
        return float(self.facts["temperature"])

    @property
    def classes(self) -> list[str]:
        """Labels of the items, sorted."""
        return self._source.current().classes

    @property
    def snapshot(self) -> Held:
        """What the gallery holds now, which does not change any more; rows keep their numbers."""
        return self._source.current()

    @property
    def is_writable(self) -> bool:
        """Whether items may be added and removed by this process."""
        return self._its_writer is not None

    def items(self) -> Iterator[tuple[str, ItemFacts]]:
        """Yield the id and the facts of each item, in the order of rows, as they are now.

        What was added comes last, and what was removed is left out.  Thumbnails are left out too;
        `thumbnail` gives them.
        """
        return self._source.current().items()

    def search(
        self,
        Q: Vectors,
        k: int | None = None,
        *,
        label: str | None = None,
        split: str | None = None,
    ) -> list[list[Neighbour]]:
        """Return the `k` items most similar to each query, nearest first.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
            For the cosine of any length; a zero row has similarity 0 to everything.
        k : int, optional
            The gallery's own `k` unless given.  Fewer are returned where there are fewer.
        label, split : str, optional
            Only items that have it.

        Raises
        ------
        InputError
            If a query has another dimension or is not finite, naming its row; or `k` is below one.
        UnknownNameError
            If no item ever had that label or split.
        StoreError
            If the gallery was replaced by something that cannot be read.
        """
        snapshot = self._source.current()
        return snapshot.search(Q, self._k(k, snapshot), label=label, split=split)

    def classify(
        self, Q: Vectors, k: int | None = None, *, abstain_below: float = 0.0
    ) -> list[Classified]:
        """Return the vote of the `k` most similar labelled items for each query.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
        k : int, optional
            The gallery's own `k` unless given.
        abstain_below : float, 0 to 1, default 0
            Give no label where the winner's share of the vote is smaller.

        Raises
        ------
        InputError
            If no item is labelled, `abstain_below` is none of its range, or as `search` does.
        """
        snapshot = self._source.current()
        return snapshot.classify(Q, self._k(k, snapshot), abstain_below=abstain_below)

    @staticmethod
    def _k(k: int | None, snapshot: Held) -> int:
        if k is None:
            return int(snapshot.facts["k"])
        try:
            return index(k)
        except TypeError as cause:
            raise InputError(f"k: found {k!r}; must be a whole number, at least 1") from cause

    def neighbours_of_items(
        self, k: int, *, threshold: float | None = None
    ) -> Iterator[tuple[Rows, Neighbours]]:
        """Yield items in blocks, each with its `k` nearest other items.

        Parameters
        ----------
        k : int
        threshold : float, optional
            Leave out items whose nearest other item is less similar than this.

        Yields
        ------
        rows : ndarray of int64, shape (B,)
            Of the items, ascending; `describe` says what they are.
        neighbours : Neighbours
            Shape (B, K), K = min(`k`, items - 1).
        """
        snapshot = self._source.current()
        return each_with_neighbours(snapshot, self._k(k, snapshot), threshold=threshold)

    def describe(self, rows: Rows | Sequence[int]) -> list[Neighbour]:
        """Return the facts of rows that the last search named, each with similarity 1.

        Raises
        ------
        InputError
            If there is no such row.
        """
        return self._source.latest.describe(np.asarray(rows, np.int64))

    def thumbnail(self, row: int) -> bytes | None:
        """Return the stored thumbnail of a row that the last search named; None if it has none.

        Raises
        ------
        InputError
            If there is no such row.
        """
        return self._source.latest.thumbnail(row)

    def add(
        self,
        ids: Sequence[str],
        X: Vectors,
        *,
        facts: Sequence[ItemFacts] | None = None,
        replace: bool = False,
    ) -> None:
        """Add items, all or none; they are on the disk, and found, when this returns.

        Parameters
        ----------
        ids : sequence of str
        X : ndarray of float32, shape (N, D)
            Embeddings of the gallery's space, one for each id.
        facts : sequence of ItemFacts, optional
            Label, split, uri, preview and thumbnail of each.
        replace : bool, default False
            Whether an item of the same id gives way.

        Raises
        ------
        InputError
            If an id is there twice, or already in the gallery without `replace`; or a vector has
            another dimension, is not finite, or is zero where cosines are compared.
        StoreError
            If the gallery was opened for reading only, or the disk is full or fails; then it is
            as it was.
        """
        self._writer.add(ids, X, facts=facts, replace=replace)

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, all or none; they are gone, on the disk too, when this returns.

        Raises
        ------
        InputError
            If an id is not there or is given twice, naming it.
        StoreError
            As `add` does.
        """
        self._writer.remove(ids)

    def fold(self) -> None:
        """Move the pending changes from the log into the parts now; rows keep their numbers.

        A writer does so by itself, in the background, from 1,024 to 4,096 changes on, by its size.
        """
        self._writer.fold()

    def compact(self) -> None:
        """Drop removed rows, join the parts that were added, build the index anew and tune it.

        Rows get new numbers.  Where there is nothing to gain only the log is emptied of what it
        held.  Removed items of the set that the gallery refers to lose their facts; their vectors
        stay in the set, and their rows stay passed over.

        Raises
        ------
        StoreError
            If the gallery was opened for reading only, or the disk is full or fails; then it is
            as it was.
        """
        self._writer.compact()

    @property
    def _writer(self) -> Writer:
        if self._its_writer is None:
            message = f"{self.path}: opened for reading only; use Gallery.open(..., writable=True)"
            raise StoreError(message)
        return self._its_writer

    def stats(self) -> dict[str, Any]:
        """Return figures for people and programs: items, removed, pending, recall, bytes ...

        ``items`` can be found, ``removed`` are rows still stored, ``blanked`` those of them that
        stay after `compact`, as their vectors are the set's, but whose facts are gone; ``pending``
        are changes in the log only; ``recall``, ``latency_ms`` and ``accuracy`` were measured when
        the index was built; ``disk_bytes`` is the folder, ``index_bytes`` the memory of the index
        without the vectors, measured when it was built and in proportion to its rows since;
        ``fold_error`` says why the last background fold failed, or is None.
        """
        return self._source.stats()
