"""The commit log of an embedding set, in SQLite: which row holds an id, and the open segment.

A commit is: rows written to the segment, ``fdatasync``, then one transaction here that gives the
new committed length and the facts of the rows.  What the log does not count does not exist.
"""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.rows import BATCH_ROWS, SCHEMA, Row, to_batch
from featx.errors import InputError, StoreError
from featx.types import Rows

LAYOUT = 3
"""Raised when a table changes; `_TABLES` says what becomes of older ones."""

_TABLES = (
    "DROP TABLE IF EXISTS known",  # made anew from the sealed tables and the open segment
    "CREATE TABLE known (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, digest TEXT NOT NULL,"
    " truncated INTEGER NOT NULL, uri TEXT NOT NULL, label TEXT, split TEXT)",
    "CREATE TABLE opened (row INTEGER PRIMARY KEY, length INTEGER NOT NULL, facts BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "DELETE FROM state WHERE key = 'known'",
    f"PRAGMA user_version = {LAYOUT}",
)
"""A commit is one row of ``opened``: where it begins in the segment, and its facts, in Arrow."""

_OPEN = "INSERT INTO opened VALUES (?, ?, ?)"
_REMEMBER = "INSERT OR REPLACE INTO state VALUES (?, ?)"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

LOOKED_UP_TOGETHER = 500
HELD_TOGETHER = 140
"""Ids of one query, and rows of one insertion: older builds of SQLite take 999 values at most."""


class Known(NamedTuple):
    """What the log says of an id; `row` counts the sealed rows first, then the open segment's."""

    row: int
    id: str
    digest: str
    truncated: bool
    uri: str
    label: str | None
    split: str | None


KNOWN_COLUMNS = [name for name in Known._fields if name != "row"]
"""Columns of a sealed table that are known."""


class DamagedLogError(StoreError):
    """The log was no database any more; it has been dropped."""


class _DamagedFactsError(sqlite3.DatabaseError):
    """An Arrow batch cannot be read."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class CommitLog:
    """Which ids a set holds, and the facts of the rows that are not sealed yet.

    A log that is found damaged is dropped, with the open segment's rows, which only it knew of;
    what it said of the sealed rows is found in their tables again.

    Raises
    ------
    DamagedLogError
        If it was damaged; opened again, it is begun anew.
    StoreError
        If it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._named():
            self._database = sqlite3.connect(path, isolation_level=None)
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")
                self._make_tables()
            except BaseException:
                self._database.close()
                raise

    def _make_tables(self) -> None:
        layout = int(self._database.execute("PRAGMA user_version").fetchone()[0])
        if layout > LAYOUT:
            raise self._dropped(f"layout {layout} is newer than {LAYOUT}")
        if layout == LAYOUT:
            return
        with self._transaction() as database:
            for statement in _TABLES:
                database.execute(statement)
            self._take_over_old_rows(database)

    def _take_over_old_rows(self, database: sqlite3.Connection) -> None:
        """Keep the open segment of a layout before 3, which held each row as JSON."""
        is_there = "SELECT 1 FROM sqlite_master WHERE name = 'pending'"
        if database.execute(is_there).fetchone() is None:
            return
        found = database.execute("SELECT facts FROM pending ORDER BY row")
        rows, at = (Row(**json.loads(facts)) for (facts,) in found), 0
        while part := list(islice(rows, BATCH_ROWS)):
            database.execute(_OPEN, _opened(part, at=at))
            at += len(part)
        database.execute("DROP TABLE pending")

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Turn errors into one line that names the file or the id; drop it if it is damaged."""
        try:
            with explained(self.path):
                yield
        except UnicodeEncodeError as cause:
            message = f"{cause.object!r}: is no text that UTF-8 can hold; give the item another id"
            raise InputError(message) from cause
        except sqlite3.Error as cause:
            if getattr(cause, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                raise self._dropped(str(cause)) from cause
            message = f"{self.path}: {cause}; run the command again when this is mended"
            raise StoreError(message) from cause

    def _dropped(self, reason: str) -> "DamagedLogError":
        self.close()
        for ending in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        return DamagedLogError(
            f"{self.path}: damaged: {reason}; run the command again: it is made anew"
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._named(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database

    def state(self, key: str) -> str:
        """Return a remembered value, or an empty string."""
        query = "SELECT value FROM state WHERE key = ?"
        with self._named():
            found = self._database.execute(query, (key,)).fetchone()
        return "" if found is None else str(found[0])

    def find(self, ids: Sequence[str]) -> dict[str, Known]:
        """Return what is known of those of `ids` that a row holds.

        Ids that stand together in the source mostly do so in the set, and are read in one go:
        a third of the time that single look-ups take.
        """
        found: dict[str, Known] = {}
        with self._named():
            for start in range(0, len(ids), LOOKED_UP_TOGETHER):
                part = ids[start : start + LOOKED_UP_TOGETHER]
                found.update(self._near(part))
                if rest := [item_id for item_id in part if item_id not in found]:
                    found.update(self._listed(rest))
        return found

    def _near(self, ids: Sequence[str]) -> Iterator[tuple[str, Known]]:
        """Yield the rows from the first id's row on, as many as there are ids, that hold them."""
        query = (
            "SELECT * FROM known WHERE row >= (SELECT row FROM known WHERE id = ?)"
            " ORDER BY row LIMIT ?"
        )
        wanted = set(ids)
        for row in self._database.execute(query, (ids[0], len(ids))):
            if row[1] in wanted:
                yield row[1], Known._make(row)

    def _listed(self, ids: Sequence[str]) -> Iterator[tuple[str, Known]]:
        marks = ",".join("?" * len(ids))
        query = f"SELECT * FROM known WHERE id IN ({marks})"  # noqa: S608
        for row in self._database.execute(query, ids):
            yield row[1], Known._make(row)

    def live_rows(self) -> Rows:
        """Return the rows that hold an id, ascending; those that were replaced are left out."""
        with self._named():
            found = self._database.execute("SELECT row FROM known")
            rows = np.fromiter((row for (row,) in found), dtype=np.int64)
        rows.sort()
        return rows

    def committed(self) -> int:
        """Return the number of committed rows of the open segment."""
        query = "SELECT row + length FROM opened ORDER BY row DESC LIMIT 1"
        with self._named():
            found = self._database.execute(query).fetchone()
        return 0 if found is None else int(found[0])

    def pending(self) -> Iterator[pa.RecordBatch]:
        """Yield the facts of the open segment's rows, in order, in batches of any size.

        Raises
        ------
        DamagedLogError
            If they are damaged.
        """
        with self._named():
            yield from self._pending()

    def _pending(self) -> Iterator[pa.RecordBatch]:
        for (facts,) in self._database.execute("SELECT facts FROM opened ORDER BY row"):
            try:
                batch = pa.ipc.read_record_batch(pa.py_buffer(facts), SCHEMA)
                batch.validate(full=True)
            except (pa.ArrowException, OSError) as cause:
                raise _DamagedFactsError(str(cause)) from cause
            yield batch

    def commit(self, rows: Sequence[Row], *, at: int, sealed: int) -> list[Known]:
        """Record `rows` as the open segment's rows `at` and following, durably.

        `sealed` is the number of rows in the segments before.  Returns what is now known of
        each row.
        """
        known = [
            Known(number, row.id, row.digest, row.truncated, row.uri, row.label, row.split)
            for number, row in enumerate(rows, sealed + at)
        ]
        with self._transaction() as database:
            for start in range(0, len(rows), BATCH_ROWS):
                part = rows[start : start + BATCH_ROWS]
                database.execute(_OPEN, _opened(part, at=at + start))
            _hold(database, known)
        return known

    def seal(self, *, sealed: str, known: str) -> None:
        """Forget the open segment, whose rows are sealed now; what is known of them stays."""
        with self._transaction() as database:
            database.execute("DELETE FROM opened")
            database.execute(_REMEMBER, ("sealed", sealed))
            database.execute(_REMEMBER, ("known", known))

    def forget_open(self, *, sealed: str) -> None:
        """Forget the open segment; `rebuild` has to follow."""
        self.seal(sealed=sealed, known="")

    def rebuild(self, sealed_rows: Iterable[pa.RecordBatch], *, known: str) -> None:
        """Know exactly the sealed rows, given in order, and after them the open segment's."""
        with self._transaction() as database:
            database.execute("DELETE FROM known")
            row = 0
            for batch in chain(sealed_rows, self._pending()):
                _hold(database, list(_known(batch, at=row)))
                row += batch.num_rows
            database.execute(_REMEMBER, ("known", known))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _opened(rows: Sequence[Row], *, at: int) -> tuple[int, int, bytes]:
    """Return what ``opened`` holds of the rows of one commit."""
    return at, len(rows), to_batch(rows).serialize().to_pybytes()


def _hold(database: sqlite3.Connection, known: Sequence[tuple[object, ...]]) -> None:
    """Insert many rows a statement: each statement gives the GIL away, and has to get it back."""
    for start in range(0, len(known), HELD_TOGETHER):
        part = known[start : start + HELD_TOGETHER]
        marks = ",".join(["(?, ?, ?, ?, ?, ?, ?)"] * len(part))
        statement = f"INSERT OR REPLACE INTO known VALUES {marks}"  # noqa: S608
        database.execute(statement, list(chain.from_iterable(part)))


def _known(batch: pa.RecordBatch, *, at: int) -> Iterator[tuple[object, ...]]:
    columns = (batch.column(name).to_pylist() for name in KNOWN_COLUMNS)
    return zip(range(at, at + batch.num_rows), *columns, strict=True)
