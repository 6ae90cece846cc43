"""A set brought in line with what its source says, in constant memory.

As long as the source tells of rows 0, 1, 2 ... just what the set holds, a counter is kept; from
the first difference on, 9 bytes a row, and a spool of the facts that differ.
"""

import json
import mmap
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.log import Known
from featx.data.rows import BATCH_ROWS, SCHEMA, read_batches, write_batches
from featx.data.segment import SegmentFile
from featx.data.store import EmbeddingSet
from featx.types import Rows

COPIED_BYTES = 8 << 20
"""Vectors that are copied together."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source says of an item that is in the set already; it may have changed."""

    id: str
    uri: str = ""
    label: str | None = None
    split: str | None = None


class Change(NamedTuple):
    """New facts of the row at `position` of the order that was told."""

    position: int
    uri: str
    label: str | None
    split: str | None


class Told:
    """The rows that a source has told of, in its order, and which of their facts are new.

    Parameters
    ----------
    folder : Path
        Where order and new facts are spooled, to files without a name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._order: IO[bytes] | None = None
        self._changes: IO[bytes] | None = None
        self._bits = bytearray()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        """Tell whether a row has been told of."""
        assert isinstance(row, int)
        if self._order is None:
            return row < self._count
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] >> (row & 7) & 1)

    def add(self, facts: Facts, known: Known) -> None:
        """Put a row that has not been told of after the others.

        What the source does not say of a label or split stays as it is: it may have been given
        by ``featx label``.
        """
        if self._order is not None or known.row != self._count:
            self._keep_order(known.row)
        label = known.label if facts.label is None else facts.label
        split = known.split if facts.split is None else facts.split
        if (facts.uri, label, split) != (known.uri, known.label, known.split):
            self._keep_change(Change(self._count, facts.uri, label, split))
        self._count += 1

    def _keep_order(self, row: int) -> None:
        with explained(self._folder):
            if self._order is None:
                self._order = TemporaryFile(dir=self._folder)  # noqa: SIM115
                for start in range(0, self._count, BATCH_ROWS):
                    rows = np.arange(start, min(start + BATCH_ROWS, self._count), dtype=np.int64)
                    self._order.write(rows.tobytes())
                self._bits = bytearray(b"\xff") * (self._count >> 3)
                self._bits.append((1 << (self._count & 7)) - 1)
            self._order.write(row.to_bytes(8, sys.byteorder))
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1))
        self._bits[row >> 3] |= 1 << (row & 7)

    def _keep_change(self, change: Change) -> None:
        with explained(self._folder):
            if self._changes is None:
                self._changes = TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._changes.write(json.dumps(change).encode() + b"\n")

    def order(self) -> Rows | range:
        """Return the rows in the order that was told; a range if it is that of the set."""
        if self._order is None:
            return range(self._count)
        self._order.flush()
        return np.frombuffer(mapped(self._order), dtype=np.int64)

    def changes(self) -> "Changes":
        """Return the facts that are new, by position."""
        return Changes(self._changes)

    def close(self) -> None:
        """Give the spools' space back."""
        for spool in (self._order, self._changes):
            if spool is not None:
                spool.close()


class Changes:
    """New facts, by ascending position; each is given once."""

    def __init__(self, spool: IO[bytes] | None = None) -> None:
        if spool is not None:
            spool.seek(0)
        lines = iter(spool or ())
        self._rest = (Change(*json.loads(line)) for line in lines)
        self._next = next(self._rest, None)

    def until(self, end: int) -> Iterator[Change]:
        """Yield those before position `end`."""
        while self._next is not None and self._next.position < end:
            yield self._next
            self._next = next(self._rest, None)

    def is_before(self, end: int) -> bool:
        """Tell whether there are any before position `end`."""
        return self._next is not None and self._next.position < end

    def apply(self, batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
        """Return the batch of the rows at position `start` and following, with their new facts."""
        found = list(self.until(start + batch.num_rows))
        if not found:
            return batch
        for name in ("uri", "label", "split"):
            values = batch.column(name).to_pylist()
            for change in found:
                values[change.position - start] = getattr(change, name)
            at = SCHEMA.get_field_index(name)
            batch = batch.set_column(at, SCHEMA.field(at), pa.array(values, pa.string()))
        return batch


def mapped(file: IO[bytes]) -> mmap.mmap:
    """Map a file that is not empty; the map lives on when the file is closed."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class PickedRows:
    """Batches spooled to a file without a name, so that rows can be picked in any order.

    The file is mapped: memory is taken for the rows that are picked only.

    Parameters
    ----------
    batches : iterable of RecordBatch
        At least one row.
    folder : Path
        Where the file takes its space.
    """

    def __init__(self, batches: Iterable[pa.RecordBatch], folder: Path) -> None:
        lengths = []
        with explained(folder), TemporaryFile(dir=folder) as file:
            with pa.ipc.new_file(file, SCHEMA) as spool:
                for batch in batches:
                    spool.write_batch(batch)
                    lengths.append(batch.num_rows)
            file.flush()
            self._spool = pa.ipc.open_file(pa.py_buffer(mapped(file)))
        self._ends = np.cumsum(lengths, dtype=np.int64)

    def take(self, rows: Rows) -> pa.RecordBatch:
        """Return `rows`, in their order, as one batch."""
        homes = np.searchsorted(self._ends, rows, side="right")
        places, parts = [], []
        for home in np.unique(homes):
            place = np.flatnonzero(homes == home)
            batch = self._spool.get_batch(int(home))
            start = self._ends[home] - batch.num_rows
            parts.append(batch.take(pa.array(rows[place] - start)))
            places.append(place)
        back = np.argsort(np.concatenate(places))
        (batch,) = (
            pa.Table.from_batches(parts)
            .take(pa.array(back, pa.int64()))
            .combine_chunks()
            .to_batches()
        )
        return batch


def facts_of(current: EmbeddingSet, names: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Yield the facts of a set's rows, batch by batch."""
    for segment in current.manifest["segments"]:
        path, rows = current.path / str(segment["items"]), int(segment["rows"])
        yield from read_batches(path, rows=rows, names=names)


def rewrite(
    current: EmbeddingSet, order: Rows | range, changes: Changes, *, segment_rows: int
) -> list[dict[str, Any]]:
    """Write new segments that hold the rows of `order`, and return the manifest's entries."""
    segments: list[dict[str, Any]] = []
    if not len(order):
        return segments
    table = PickedRows(facts_of(current), current.path)
    for start in range(0, len(order), segment_rows):
        rows = order[start : start + segment_rows]
        name = f"segment-{current.manifest['next_segment'] + len(segments):05d}"
        _copy_vectors(current, rows, name)
        batches = (
            changes.apply(table.take(_picked(rows, at, BATCH_ROWS)), start + at)
            for at in range(0, len(rows), BATCH_ROWS)
        )
        write_batches(current.path / f"{name}.parquet", batches)
        segments.append({"name": name, "rows": len(rows), "items": f"{name}.parquet"})
    return segments


def _copy_vectors(current: EmbeddingSet, rows: Rows | range, name: str) -> None:
    file = SegmentFile(current.path / f"{name}.npy", current.dim, 0)
    length = max(1, COPIED_BYTES // (4 * current.dim))
    try:
        for at in range(0, len(rows), length):
            file.put(np.asarray(current.X[_picked(rows, at, length)]), at)
        file.seal(len(rows))
    finally:
        file.close()


def _picked(rows: Rows | range, start: int, length: int) -> Rows:
    return np.array(rows[start : start + length], dtype=np.int64)


def relabel(current: EmbeddingSet, changes: Changes) -> list[dict[str, Any]]:
    """Write new tables beside the same vectors where facts are new; return all entries."""
    segments, start = [], 0
    for segment in current.manifest["segments"]:
        end = start + int(segment["rows"])
        if changes.is_before(end):
            segments.append(_relabel_segment(current.path, segment, changes, start))
        else:
            segments.append(segment)
        start = end
    return segments


def _relabel_segment(
    folder: Path, segment: dict[str, Any], changes: Changes, start: int
) -> dict[str, Any]:
    batches = read_batches(folder / str(segment["items"]), rows=int(segment["rows"]))
    return replace_table(folder, segment, _applied(batches, changes, start))


def _applied(
    batches: Iterable[pa.RecordBatch], changes: Changes, start: int
) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield changes.apply(batch, start)
        start += batch.num_rows


def replace_table(
    folder: Path, segment: dict[str, Any], batches: Iterable[pa.RecordBatch]
) -> dict[str, Any]:
    """Write a segment's next table, under a name never used before; return its new entry."""
    revision = int(segment.get("revision", 0)) + 1
    items = f"{segment['name']}-r{revision}.parquet"
    write_batches(folder / items, batches)
    return {**segment, "items": items, "revision": revision}
