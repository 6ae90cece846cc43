"""The table beside the vectors: one row of facts for each row of a segment."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
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


def to_table(rows: Sequence[Row]) -> pa.Table:
    """Return `rows` as an Arrow table of `SCHEMA`."""
    return pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)


def write_table(path: Path, table: pa.Table) -> None:
    """Write a table as Parquet, whole or not at all."""
    with writing(path) as temporary:
        pq.write_table(table, temporary)


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
        message = f"{path}: cannot be read: {str(cause).splitlines()[0]}"
        raise StoreError(message) from cause
    if table.num_rows != rows or table.schema.names != SCHEMA.names:
        message = f"{path}: damaged: {table.num_rows} rows; the set's manifest says {rows}"
        raise StoreError(message)
    return table
