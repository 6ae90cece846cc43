"""The log of a gallery, in SQLite: items added and removed that are not in its parts yet.

A change is acknowledged once its transaction is on the disk (WAL, ``synchronous=FULL``).  Numbers
of changes rise by one and are never used again; those up to ``folded`` of ``gallery.json`` are in
the parts already, and are deleted when the log is told so.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from featx.data.files import explained
from featx.errors import StoreError
from featx.gallery.items import ItemFacts
from featx.types import Vectors

LAYOUT = 2
"""Kept as SQLite's ``user_version``."""

BUSY_S = 10.0
"""How long a reader that is just reading may hold up a change of the tables."""

_TABLES = (
    "DROP TABLE IF EXISTS log",
    "CREATE TABLE log (seq INTEGER PRIMARY KEY, action TEXT NOT NULL, id TEXT NOT NULL, "
    "facts TEXT, thumbnail BLOB, vector BLOB)",
    "CREATE TABLE IF NOT EXISTS state (generation INTEGER NOT NULL)",
    "DELETE FROM state",
    "INSERT INTO state VALUES (0)",
    f"PRAGMA user_version={LAYOUT}",
)
_ADVICE = {
    sqlite3.SQLITE_FULL: "free some space and do it again",
    sqlite3.SQLITE_IOERR: "free some space or mend the disk, and do it again",
    sqlite3.SQLITE_BUSY: "another program holds it; end that and do it again",
    sqlite3.SQLITE_READONLY: "choose a place that you may write to",
    sqlite3.SQLITE_CANTOPEN: "choose a place that you may read and write",
}


Action = Literal["add", "replace", "remove"]

_NO_FACTS = ItemFacts()
_to_text = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Change:
    """An item that was added, put in the place of another, or removed.

    Attributes
    ----------
    action : "add", "replace" or "remove"
        ``"add"`` promises that no item of the id is there.
    id : str
    vector : ndarray of float32, shape (D,), or None
        None where it is removed.
    facts : ItemFacts
    """

    action: Action
    id: str
    vector: Vectors | None = None
    facts: ItemFacts = _NO_FACTS


class DamagedLogError(StoreError):
    """The log is missing, of another layout or no database; only a new build mends that."""


class ChangeLog:
    """The log, opened by `writing` or `reading`; one thread at a time.

    Attributes
    ----------
    path : Path
    is_frozen : bool
        Whether it is read as if nobody could write to it: changes are not seen.
    """

    def __init__(
        self, path: Path, database: sqlite3.Connection, *, is_frozen: bool = False
    ) -> None:
        self.path = path
        self.is_frozen = is_frozen
        self._database = database

    @classmethod
    def writing(cls, path: Path, *, make: bool = False) -> Self:
        """Open the log to read and write.

        Parameters
        ----------
        path : Path
        make : bool, default False
            Whether a log that is missing, or of an older layout, is begun anew.

        Raises
        ------
        StoreError
            If it cannot be opened, or is missing.
        """
        if not make:
            _require_file(path)
        with _named(path):
            database = _connect(f"{path.absolute().as_uri()}?mode={'rwc' if make else 'rw'}")
        log = cls(path, database)
        with log._closing_on_error():
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            if make and log._layout() < LAYOUT:
                with database:
                    for statement in ("BEGIN IMMEDIATE", *_TABLES):
                        database.execute(statement)
            log._require_layout()
        return log

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Open the log to read it; on a read-only disk too.

        Raises
        ------
        StoreError
            If it cannot be opened, or is missing.
        """
        _require_file(path)
        place = f"{path.absolute().as_uri()}?mode=ro"
        try:
            return cls._opened(path, place)
        except StoreError:
            wal = path.with_name(path.name + "-wal")
            # Without the log of SQLite, which cannot be merged here, changes would be missed.
            if wal.is_file() and wal.stat().st_size:
                raise
            return cls._opened(path, f"{place}&immutable=1", is_frozen=True)

    @classmethod
    def _opened(cls, path: Path, place: str, *, is_frozen: bool = False) -> Self:
        with _named(path):
            log = cls(path, _connect(place), is_frozen=is_frozen)
        with log._closing_on_error():
            log._require_layout()
        return log

    def append(self, first: int, changes: Sequence[Change]) -> None:
        """Write changes numbered from `first` on, all or none; they are on the disk on return."""
        statement = "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)"
        if len(changes) == 1:  # a statement is a transaction by itself
            try:
                self._database.execute(statement, _row(first, changes[0]))
            except (sqlite3.Error, OSError):
                with _named(self.path):
                    raise
            return
        rows = (_row(seq, change) for seq, change in enumerate(changes, first))
        with self._transaction():
            self._database.executemany(statement, rows)

    def read(self, after: int) -> tuple[int, list[Change]]:
        """Return the generation that the log belongs to, and its changes after a number."""
        query = "SELECT action, id, facts, thumbnail, vector FROM log WHERE seq > ? ORDER BY seq"
        with _named(self.path):
            self._database.execute("BEGIN")
            try:
                generation = self._generation()
                changes = [_change(*row) for row in self._database.execute(query, (after,))]
            except (ValueError, TypeError) as cause:  # of its facts or its vector
                raise DamagedLogError(f"{self.path}: holds a change that is none") from cause
            finally:
                self._database.execute("COMMIT")
        return generation, changes

    def last(self) -> int:
        """Return the number of the last change, 0 if there is none."""
        with _named(self.path):
            found = self._database.execute("SELECT MAX(seq) FROM log").fetchone()[0]
        return int(found or 0)

    def count(self, after: int) -> int:
        """Return how many changes have a number after this."""
        with _named(self.path):
            query = "SELECT COUNT(*) FROM log WHERE seq > ?"
            return int(self._database.execute(query, (after,)).fetchone()[0])

    def generation(self) -> int:
        """Return the generation that the log belongs to."""
        with _named(self.path):
            return self._generation()

    def trim(self, folded: int, generation: int) -> None:
        """Delete the changes up to `folded`, which are in the parts of `generation`."""
        with self._transaction():
            self._database.execute("DELETE FROM log WHERE seq <= ?", (folded,))
            self._database.execute("UPDATE state SET generation = ?", (generation,))

    def wipe(self) -> None:
        """Give back the space of changes that were deleted, and with it what they held.

        SQLite leaves deleted rows in its files until it needs the space.
        """
        with _named(self.path):
            self._database.execute("VACUUM")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def version(self) -> int:
        """Return a number that differs once another process has changed the log."""
        with _named(self.path):
            return int(self._database.execute("PRAGMA data_version").fetchone()[0])

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the database."""
        with suppress(sqlite3.Error):
            self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _named(self.path):
            try:
                self._database.execute("BEGIN IMMEDIATE")
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            with _named(self.path):
                yield
        except BaseException:
            self.close()
            raise

    def _generation(self) -> int:
        return int(self._database.execute("SELECT generation FROM state").fetchone()[0])

    def _layout(self) -> int:
        return int(self._database.execute("PRAGMA user_version").fetchone()[0])

    def _require_layout(self) -> None:
        if (found := self._layout()) != LAYOUT:
            raise DamagedLogError(f"{self.path}: layout {found} instead of {LAYOUT}")


def _connect(place: str) -> sqlite3.Connection:
    return sqlite3.connect(
        place, uri=True, isolation_level=None, timeout=BUSY_S, check_same_thread=False
    )


def _require_file(path: Path) -> None:
    """Raise if something else has this name: opening a pipe or a device may wait for ever."""
    if not path.is_file():
        raise DamagedLogError(f"{path} is missing")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that names the file and what to do."""
    try:
        with explained(path):
            yield
    except sqlite3.Error as cause:
        code = int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF
        if code in _ADVICE:
            raise StoreError(f"{path}: {cause}; {_ADVICE[code]}") from cause
        raise DamagedLogError(f"{path}: {cause}") from cause


def _row(seq: int, change: Change) -> tuple[Any, ...]:
    if change.vector is None:
        return seq, change.action, change.id, None, None, None
    facts = {
        name: value
        for name in ("label", "split", "uri", "preview")
        if (value := getattr(change.facts, name))
    }
    vector = change.vector.astype("<f4", copy=False).tobytes()
    return seq, change.action, change.id, _to_text(facts), change.facts.thumbnail, vector


def _change(
    action: Action, item_id: str, facts: str | None, thumbnail: bytes | None, vector: bytes | None
) -> Change:
    if vector is None:
        return Change(action, item_id)
    values: dict[str, Any] = json.loads(facts or "{}")
    kept = ItemFacts(thumbnail=thumbnail, **values)
    return Change(action, item_id, np.frombuffer(vector, "<f4"), kept)
