"""Rows of a table file, read one after the other: csv, tsv, jsonl and parquet."""

import csv
import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Protocol, TextIO

from featx.data.sources.columns import is_unicode
from featx.data.sources.parquet import ParquetRecords
from featx.data.sources.record import Record, readable
from featx.errors import InputError

__all__ = ["READERS", "SNIFFED_ROWS", "Record", "Records", "open_records"]

SNIFFED_ROWS = 100
"""Rows that are looked at to learn the columns and what they hold."""

FIELD_LIMIT_BYTES = 2**31 - 1
"""The csv module refuses fields above 128 KiB unless told otherwise."""

SNIFFED_HEADER = 2**16
"""Characters of a header that are looked at for its delimiter."""


class Records(Protocol):
    """The rows of one file."""

    path: Path

    @property
    def names(self) -> Sequence[str]:
        """Names of the columns, in the order of the file."""
        ...

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield every row; where it saves time, only `columns` of it."""
        ...

    def count(self) -> int:
        """Return the number of rows."""
        ...


class CsvRecords:
    """A csv or tsv file with a header, quoted as spreadsheets and pandas do.

    The fields of a csv file whose header holds no comma may be parted by semicolons or tabs.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def delimiter(self) -> str:
        """What parts the fields: a comma, semicolon or tab."""
        if self.path.suffix.lower() == ".tsv":
            return "\t"
        with readable(self.path), self._open() as file:
            header = file.readline(SNIFFED_HEADER)
        return "," if "," in header else max(",;\t", key=header.count)

    @cached_property
    def names(self) -> list[str]:
        """Names of the columns, in the order of the file."""
        header = next(self._rows(), None)
        if not isinstance(header, list):
            found = "empty" if header is None else str(header)
            raise InputError(f"{self.path}: {found}; the first line must name the columns")
        if not is_unicode("".join(header)):
            raise InputError(f"{self.path}: the header is not UTF-8; save the file as UTF-8")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise InputError(f"{self.path}: column {repeated[0]!r} appears twice; rename one")
        return header

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield every row, all columns."""
        names = self.names
        for row, fields in enumerate(islice(self._rows(), 1, None), start=1):
            if isinstance(fields, csv.Error):
                yield Record(row, problem=f"row {row}: {fields}; check its quotes")
            elif len(fields) != len(names):
                found = f"{len(fields)} field{'s' * (len(fields) != 1)}"
                yield Record(row, problem=f"row {row}: {found}; the header has {len(names)}")
            elif not is_unicode("".join(fields)):
                yield Record(row, problem=f"row {row}: not UTF-8")
            else:
                yield Record(row, dict(zip(names, fields, strict=True)))

    def count(self) -> int:
        """Return the number of rows."""
        return sum(1 for _ in islice(self._rows(), 1, None))

    def _rows(self) -> Iterator[list[str] | csv.Error]:
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT_BYTES))
        with readable(self.path), self._open() as file:
            # A strict reader reports a quote that is never closed instead of swallowing rows.
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            while True:
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield error
                else:
                    if fields:
                        yield fields

    def _open(self) -> TextIO:
        return self.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


class JsonRecords:
    """A file with one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def names(self) -> list[str]:
        """Keys of the first rows, in the order they appear."""
        return list({name: None for r in islice(self.read(), SNIFFED_ROWS) for name in r.values})

    def read(self, columns: Sequence[str] | None = None) -> Iterator[Record]:
        """Yield every row, all columns."""
        for row, line in enumerate(self._lines(), start=1):
            try:
                value = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                yield Record(row, problem=f"row {row}: not UTF-8")
            except (ValueError, RecursionError) as error:
                yield Record(row, problem=f"row {row}: not JSON: {error}")
            else:
                if isinstance(value, dict):
                    yield Record(row, value)
                else:
                    found = type(value).__name__
                    yield Record(row, problem=f"row {row}: a {found}; each line must be an object")

    def count(self) -> int:
        """Return the number of rows."""
        return sum(1 for _ in self._lines())

    def _lines(self) -> Iterator[bytes]:
        with readable(self.path), self.path.open("rb") as file:
            for number, line in enumerate(file):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line
                if text.strip():
                    yield text


READERS: dict[str, type[CsvRecords] | type[JsonRecords] | type[ParquetRecords]] = {
    ".csv": CsvRecords,
    ".tsv": CsvRecords,
    ".jsonl": JsonRecords,
    ".ndjson": JsonRecords,
    ".parquet": ParquetRecords,
}
"""Suffix → reader."""


def open_records(path: Path) -> Records:
    """Return the reader for a table file, chosen by its suffix.

    Raises
    ------
    InputError
        If no table has this suffix.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: not a table; allowed: {', '.join(READERS)}")
    return reader(path)
