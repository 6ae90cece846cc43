"""Rows of a parquet file, read a few at a time."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.record import Record
from featx.errors import InputError

BATCH_BYTES = 2**22
"""About how much is decoded at once."""

BATCH_ROWS = 1024
"""The most rows that are decoded at once."""

READ_BYTES = 2**20
"""How much of a column is read from the file at once; else all of a row group is."""


class ParquetRecords:
    """A parquet file, read a batch at a time, however large its row groups are.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        with self._open() as file:
            return list(file.schema_arrow.names)

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield every row, with `columns` only; a damaged row group gives a problem for each."""
        chosen = self.names if columns is None else list(columns)
        end = 0
        with self._open() as file:
            for group in range(file.metadata.num_row_groups):
                start, end = end, end + int(file.metadata.row_group(group).num_rows)
                yield from _group_records(file, group, chosen, (start, end))

    def count(self) -> int:
        """Return the number of rows."""
        with self._open() as file:
            return int(file.metadata.num_rows)

    def _open(self) -> Any:  # noqa: ANN401  (pyarrow's stubs do not type its context manager)
        from pyarrow import ArrowException, parquet

        try:
            return parquet.ParquetFile(
                self.path,
                buffer_size=READ_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except (ArrowException, OSError) as error:
            raise InputError(f"{self.path}: not a parquet file: {error}") from error


def _group_records(
    file: Any,  # noqa: ANN401  (see above)
    group: int,
    columns: Sequence[str],
    rows: tuple[int, int],
) -> Iterator[Record]:
    """Yield the rows of one row group, which are those from ``rows[0]`` to ``rows[1]``."""
    from pyarrow import ArrowException

    row, end = rows
    size = _batch_rows(file.metadata.row_group(group), columns)
    try:
        batches = file.iter_batches(batch_size=size, row_groups=[group], columns=columns)
        for batch in batches:
            for values in _batch_values(batch):
                row += 1
                yield _record(row, values)
    except (ArrowException, OSError) as error:
        found = str(error).splitlines()[0]
        for lost in range(row + 1, end + 1):
            yield Record(lost, problem=f"row {lost}: row group {group + 1} is damaged: {found}")


def _batch_rows(group: Any, columns: Sequence[str]) -> int:  # noqa: ANN401  (see above)
    """Return how many rows of a row group are decoded at once: fewer where they hold much."""
    chunks = [group.column(at) for at in range(group.num_columns)]
    wanted = set(columns)
    size = sum(
        c.total_uncompressed_size for c in chunks if c.path_in_schema.split(".")[0] in wanted
    )
    row_bytes = max(1, size // max(1, group.num_rows))
    return int(min(BATCH_ROWS, max(1, BATCH_BYTES // row_bytes)))


def _batch_values(batch: Any) -> "Iterator[dict[str, Any]]":  # noqa: ANN401  (see above)
    """Yield the values of each row; a cell that Python cannot hold is the error that it gives."""
    try:
        yield from batch.to_pylist()
    except (ValueError, OverflowError):  # not UTF-8, a date that is none, nanoseconds
        for row in range(batch.num_rows):
            columns = zip(batch.schema.names, batch.columns, strict=True)
            yield {name: _cell(column[row]) for name, column in columns}


def _cell(scalar: Any) -> Any:  # noqa: ANN401  (whatever the column holds)
    try:
        return scalar.as_py()
    except (ValueError, OverflowError) as error:
        return error


def _record(row: int, values: dict[str, Any]) -> Record:
    for name, value in values.items():
        if isinstance(value, Exception):
            found = str(value).splitlines()[0]
            return Record(row, problem=f"row {row}: {name!r} cannot be read: {found}")
    return Record(row, values)
