"""The table beside the vectors: one row of facts for each row of a segment."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from featx.data.files import writing
from featx.errors import StoreError

_TYPES: dict[str, Any] = {
    "id": pa.string(),
    "uri": pa.string(),
    "label": pa.string(),
    "split": pa.string(),
    "digest": pa.string(),
    "status": pa.string(),
    "n_tokens": pa.int64(),
    "truncated": pa.bool_(),
    "preview": pa.string(),
}
SCHEMA = pa.schema(_TYPES)

BATCH_ROWS = 4096
"""Rows that are read or written together; a row group of a table holds at most as many."""


class Row(NamedTuple):
    """Facts about one row; `digest` is BLAKE3 in hex, `preview` at most 200 characters."""

    id: str
    digest: str
    uri: str = ""
    label: str | None = None
    split: str | None = None
    status: str = "ok"
    n_tokens: int | None = None
    truncated: bool = False
    preview: str = ""


_PLACES = [Row._fields.index(name) for name in SCHEMA.names]


def to_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Return `rows` as an Arrow batch of `SCHEMA`."""
    columns = ([row[place] for row in rows] for place in _PLACES)
    arrays = [pa.array(column, each.type) for each, column in zip(SCHEMA, columns, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def regrouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of `batches`, in order, `BATCH_ROWS` at a time; the last may be fewer."""
    waiting, count = list[pa.RecordBatch](), 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        while count >= BATCH_ROWS:
            table = pa.Table.from_batches(waiting).combine_chunks()
            yield from table.slice(0, BATCH_ROWS).to_batches()
            waiting, count = table.slice(BATCH_ROWS).to_batches(), count - BATCH_ROWS
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Return `rows` as an Arrow table of `SCHEMA`."""
    return pa.Table.from_batches([to_batch(rows)])


def relabelled(
    table: pa.Table, labels: Mapping[str, str | None], splits: Mapping[str, str | None]
) -> pa.Table:
    """Return `table` with the labels and splits of the ids that are named; others stay."""
    old = (Row(**row) for row in table.to_pylist())
    new = [
        row._replace(label=labels.get(row.id, row.label), split=splits.get(row.id, row.split))
        for row in old
    ]
    return to_table(new)


@contextmanager
def writing_table(path: Path) -> Iterator[pq.ParquetWriter]:
    """Give a writer of batches of `SCHEMA`; the table is written whole or not at all."""
    with writing(path) as temporary, table_writer(temporary) as writer:
        yield writer


def table_writer(path: Path) -> pq.ParquetWriter:
    """Return a writer of batches of `SCHEMA`; the table is whole when it is closed."""
    repeated: Any = ["label", "split", "status"]  # the stubs know of True and False only
    return pq.ParquetWriter(path, SCHEMA, use_dictionary=repeated)


def write_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write batches of `SCHEMA` as one table, whole or not at all."""
    with writing_table(path) as writer:
        for batch in batches:
            writer.write_batch(batch)
            pa.default_memory_pool().release_unused()


def read_batches(path: Path, *, rows: int, names: Sequence[str] = ()) -> Iterator[pa.RecordBatch]:
    """Yield a table of `rows` rows in batches of at most `BATCH_ROWS`; `names` picks columns.

    Raises
    ------
    StoreError
        If it is missing, damaged or not of `rows` rows.
    """
    with _opened(path, rows=rows) as file:
        wanted = list(names) or SCHEMA.names
        for group in range(file.num_row_groups):  # all at once take 100 KB each
            yield from file.iter_batches(BATCH_ROWS, [group], wanted, use_threads=False)
            pa.default_memory_pool().release_unused()


def check_table(path: Path, *, rows: int) -> None:
    """Check that a table of `rows` rows is there and whole; its columns are not read.

    Raises
    ------
    StoreError
        If it is missing, cut or not of `rows` rows.
    """
    with _opened(path, rows=rows):
        pass


@contextmanager
def _opened(path: Path, *, rows: int) -> Iterator[pq.ParquetFile]:
    try:
        with pq.ParquetFile(path) as file:
            _check(path, file.metadata.num_rows, file.schema_arrow, rows)
            yield file
    except (OSError, pa.ArrowException) as cause:
        raise _unreadable(path, cause) from cause


def read_table(path: Path, *, rows: int) -> pa.Table:
    """Read a table and check its length.

    Raises
    ------
    StoreError
        If it is missing, damaged or not of `rows` rows.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as cause:
        raise _unreadable(path, cause) from cause
    _check(path, table.num_rows, table.schema, rows)
    return table


def _unreadable(path: Path, cause: Exception) -> StoreError:
    if isinstance(cause, StoreError):
        return cause
    return StoreError(f"{path}: cannot be read: {str(cause).splitlines()[0]}")


def _check(path: Path, found: int, schema: pa.Schema, rows: int) -> None:
    if found != rows or schema.names != SCHEMA.names:
        message = f"{path}: damaged: {found} rows; the set's manifest says {rows}"
        raise StoreError(message)
