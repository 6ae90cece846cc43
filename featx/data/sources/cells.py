"""Cells of a parquet file that are named when a source is listed, and read where it is embedded."""

import sys
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from featx.data.sources.columns import is_missing, is_unicode
from featx.data.sources.parquet import ParquetRecords
from featx.data.sources.record import Record
from featx.errors import InputError, ItemError
from featx.types import Stored

if TYPE_CHECKING:
    from collections.abc import Iterator

HELD_TEXTS, HELD_FILES = 4096, 256
"""Rows that a reader holds on to: loaders ask for them a little out of order."""


def held_content(value: object, name: str, *, is_text: bool) -> str | bytes:
    """Return the text or the file that a field of column `name` holds itself.

    Raises
    ------
    ItemError
        If it holds neither.
    """
    if is_text and isinstance(value, str) and is_unicode(value):
        return value
    if not is_text:
        raw = value.get("bytes") if isinstance(value, dict) else value
        if isinstance(raw, bytes):
            return raw
    if is_missing(value):
        raise ItemError(f"{name!r} is missing")
    found = "not UTF-8" if isinstance(value, str) else f"a {type(value).__name__}"
    raise ItemError(f"{name!r} is {found}; it must be a string")


def tag_of(path: Path) -> str:
    """Return size and time of a file: another value where its content may be another."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}"


@dataclass(frozen=True, slots=True)
class Cell(Stored):
    """One cell of a parquet file on a disk.

    Attributes
    ----------
    version : str
        See `tag_of`.
    column : str
    row : int
        Counted from 1.
    is_text : bool
        Whether it holds a text; else the bytes of a file, by themselves or in a struct.
    """

    version: str
    column: str
    row: int
    is_text: bool

    @classmethod
    def of(cls, path: Path, version: str, column: str, *, row: int, is_text: bool) -> "Cell":
        """Return a cell, as it was listed."""
        return cls(str(path), 0, f"{version} {column} {row}", version, column, row, is_text)

    @property
    def name(self) -> str:
        """File, column and row."""
        return f"{self.url}#{self.column}:{self.row}"

    def read(self) -> bytes:
        """Return the bytes of the text or of the file; see `Stored`."""
        record = _reader(self.url, self.version, self.column, self.is_text).record(self.row)
        if record.problem:
            raise ItemError(record.problem)
        try:
            value = record.values.get(self.column)
            found = held_content(value, self.column, is_text=self.is_text)
        except ItemError as cause:
            raise ItemError(f"row {self.row}: {cause}") from cause
        return found.encode() if isinstance(found, str) else found


@lru_cache(maxsize=4)
def _reader(url: str, version: str, column: str, is_text: bool) -> "_Reader":
    path = Path(url)
    try:
        is_same = tag_of(path) == version
    except OSError as cause:
        raise ItemError(f"cannot be read: {path}: {cause.strerror}") from cause
    if not is_same:
        raise ItemError(f"changed since it was listed: {path}; run the command again")
    return _Reader(path, column, HELD_TEXTS if is_text else HELD_FILES)


class _Reader:
    """Rows of one column, found fast where they are asked for in about their order."""

    def __init__(self, path: Path, column: str, most: int) -> None:
        self._records = ParquetRecords(path)
        self._column = column
        self._most = most
        self._held: OrderedDict[int, Record] = OrderedDict()
        self._rest: Iterator[Record] = iter(())
        self._next = sys.maxsize  # of rows to come; none do yet
        self._lock = Lock()

    def record(self, row: int) -> Record:
        """Return a row, or the problem that stands in its place."""
        with self._lock:
            if row not in self._held:
                self._advance(row)
            gone = Record(row, problem=f"row {row}: the file has no such row")
            return self._held.get(row, gone)

    def _advance(self, row: int) -> None:
        if not self._next <= row < self._next + self._most:
            self._rest = self._records.read([self._column], start=row)
        try:
            for record in self._rest:
                self._next = record.row + 1
                self._hold(record)
                if record.row >= row:
                    break
        except InputError as cause:
            raise ItemError(str(cause)) from cause

    def _hold(self, record: Record) -> None:
        self._held[record.row] = record
        if len(self._held) > self._most:
            self._held.popitem(last=False)
