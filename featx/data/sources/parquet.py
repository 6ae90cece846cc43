"""Rows of a parquet file, read a few at a time."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
        with self._open() as file, self._explained():
            return list(file.schema_arrow.names)

    def read(self, columns: Sequence[str] | None = None, *, start: int = 1) -> Iterator[Record]:
        """Yield every row, with `columns` only; one problem for what a damaged row group lacks.

        Row groups that end before row `start`, counted from 1, are left out.
        """
        chosen = self.names if columns is None else list(columns)
        end = 0
        with self._open() as file:
            with self._explained():
                counts = _group_rows(file)
            for group, count in enumerate(counts):
                before, end = end, end + count
                if end >= start:
                    yield from _group_records(file, group, chosen, (before, end))
            promised = int(file.metadata.num_rows)
            if end != promised:
                found = f"promises {promised} rows, and {end} in its row groups"
                yield Record(end + 1, problem=f"row {end + 1}: the footer is damaged: it {found}")

    def count(self) -> int:
        """Return the number of rows that the footer promises."""
        with self._open() as file, self._explained():
            return min(sys.maxsize, sum(_group_rows(file)))

    def holds_text(self, column: str) -> bool:
        """Return whether the cells of a column are strings."""
        import pyarrow as pa

        with self._open() as file, self._explained():
            kind = file.schema_arrow.field(column).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))

    def _open(self) -> Any:  # noqa: ANN401  (pyarrow's stubs do not type its context manager)
        from pyarrow import parquet

        with self._explained():
            return parquet.ParquetFile(
                self.path,
                buffer_size=READ_BYTES,
                pre_buffer=False,
                page_checksum_verification=True,
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a damaged footer raises into an InputError."""
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, OSError, UnicodeDecodeError) as error:
            raise InputError(f"{self.path}: not a parquet file: {error}") from error


def _group_rows(file: Any) -> list[int]:  # noqa: ANN401  (see above)
    """Return how many rows each row group promises."""
    metadata = file.metadata
    groups = (metadata.row_group(group) for group in range(metadata.num_row_groups))
    return [max(0, int(group.num_rows)) for group in groups]


def _group_records(
    file: Any,  # noqa: ANN401  (see above)
    group: int,
    columns: Sequence[str],
    rows: tuple[int, int],
) -> Iterator[Record]:
    """Yield the rows of one row group, which are those from ``rows[0]`` to ``rows[1]``."""
    from pyarrow import ArrowException

    row, end = rows
    try:
        size = _batch_rows(file.metadata.row_group(group))
        batches = file.iter_batches(batch_size=size, row_groups=[group], columns=columns)
        for batch in batches:
            for values in _batch_values(batch):
                row += 1
                yield _record(row, values)
        if row < end:
            message = f"ends after {row - rows[0]} of {end - rows[0]} rows"
            raise OSError(message)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        # One problem however many rows are lost: a damaged footer may promise 2**60 of them.
        lost = f"rows {row + 1} to {end}" if row + 1 < end else f"row {row + 1}"
        yield Record(row + 1, problem=f"{lost}: row group {group + 1} is damaged: {found}")


def _batch_rows(group: Any) -> int:  # noqa: ANN401  (see above)
    """Return how many rows of a row group are decoded at once: fewer where they hold much.

    The sizes of its columns are not asked for: where they are damaged, Arrow ends the process.
    """
    row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
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
