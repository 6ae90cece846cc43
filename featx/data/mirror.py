"""A set's segments, written anew in another order or with other facts, in constant memory."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.rows import BATCH_ROWS, SCHEMA, read_batches, write_batches
from featx.data.segment import SegmentFile
from featx.data.store import EmbeddingSet
from featx.data.told import Changes, mapped
from featx.types import Rows

COPIED_BYTES = 8 << 20
"""Vectors that are copied together."""


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
    """Yield the facts of a set's rows, batch by batch; `names` picks columns.

    Raises
    ------
    StoreError
        If a table is missing or damaged, with what mends the set.
    """
    for segment in current.manifest["segments"]:
        path, rows = current.path / str(segment["items"]), int(segment["rows"])
        with current.mended():
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
