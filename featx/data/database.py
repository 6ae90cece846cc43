"""A SQLite file of the cache: used while it can be, and what fails is a miss, never an error.

Any thread and any number of processes may use it at once, and it may be deleted at any moment.
"""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")

VERSION = 2
"""Of the databases' format, kept as SQLite's ``user_version``."""

PAGE_BYTES = 16384
"""Holds several rows of 4 · D bytes; with pages of 4096 a third is lost and writing takes twice."""

BUSY_S = 30.0
"""How long another process may hold the file before a write is given up."""

TRIES = 4
"""An error is tried again, since another process may just have deleted or replaced the file."""

LASTING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_FULL}
"""Errors that another try at once does not mend."""

LOG = "-wal"
SUFFIXES = ("", LOG, "-shm", "-journal")


class Database:
    """One connection for all threads: SQLite runs one statement at a time for each anyway.

    Connections of their own made reading and writing threads no faster in total.

    Parameters
    ----------
    path : Path
        Opened by the first call; nothing is done before.
    tables : sequence of str
        ``CREATE TABLE`` statements.  A file of an older format is dropped and begun anew, as is
        one that is damaged.

    Attributes
    ----------
    problem : str
        Why the file is not written, or not even read; empty if all is well.
    """

    def __init__(self, path: Path, *, tables: Sequence[str]) -> None:
        self.path = path
        self.problem = ""
        self._tables = tables
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, ...] = ()
        self._is_writable = True
        self._is_off = False

    def read(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """Return the rows that are found; none if the file cannot be read."""

        def find(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
            return database.execute(query, values).fetchall()

        return self._run(find) or []

    def write(self, changes: Sequence[tuple[str, Sequence[Sequence[object]]]]) -> None:
        """Run each statement once for each of its rows, all in one transaction, if that works."""

        def change(database: sqlite3.Connection) -> None:
            with database:
                database.execute("BEGIN IMMEDIATE")
                for statement, rows in changes:
                    database.executemany(statement, rows)

        self._run(change, is_write=True)

    def run(self, statement: str) -> None:
        """Run a statement that makes its own transaction, such as a pragma, if that works."""
        self._run(lambda database: database.execute(statement).fetchall(), is_write=True)

    def close(self) -> None:
        """Close the file; later calls find nothing."""
        with self._lock:
            if self._connection is not None and self._is_writable:
                self._mark_used()
            self._release()
            self._is_off = True

    def _run(
        self, action: Callable[[sqlite3.Connection], T], *, is_write: bool = False
    ) -> T | None:
        failures = 0
        with self._lock:
            while not self._is_off and (self._is_writable or not is_write):
                try:
                    return action(self._opened())
                except (sqlite3.Error, OSError) as cause:
                    self._recover(cause)
                    failures += 1
                    if failures % TRIES == 0 or _code(cause) in LASTING:
                        self._retreat(cause)
        return None

    def _opened(self) -> sqlite3.Connection:
        suffixes = ("", LOG) if self._is_writable else ("",)
        if self._connection is not None and _identity(self.path, suffixes) == self._identity:
            return self._connection
        self._leave()
        if self._is_writable:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with alone(self.path.parent):
                self._connection = _connect(self.path, self._tables)
                self._identity = _identity(self.path, suffixes)
            self._mark_used()
        else:
            self._connection = connect_read_only(self.path)
            self._identity = _identity(self.path, suffixes)
        return self._connection

    def _leave(self) -> None:
        """Close a connection whose file was deleted; half a file that is left of it goes too.

        The end of a connection writes its log into the database: harmless once nobody else can
        open that any more.
        """
        if self._connection is None:
            return
        with suppress(OSError), alone(self.path.parent):
            if self._is_writable and _identity(self.path, ("",)) == self._identity[:1]:
                unlink(self.path)
        self._release()

    def _recover(self, cause: Exception) -> None:
        """Prepare another try: a damaged file, unless replaced meanwhile, is dropped."""
        if _is_damage(cause) and self._is_writable and self._connection is not None:
            with suppress(OSError), alone(self.path.parent):
                if _identity(self.path, ("",)) == self._identity[:1]:
                    unlink(self.path)
        self._release()

    def _retreat(self, cause: Exception) -> None:
        """From now on only read, or if that failed, do nothing."""
        self._is_off = not self._is_writable or self._cannot_be_read()
        self._is_writable = False
        if not self.problem:
            still = "is not used" if self._is_off else "is only read"
            advice = "choose another place with --cache-dir, or use --no-cache"
            self.problem = f"{self.path}: {_reason(cause)}; this cache {still}; {advice}"

    def _cannot_be_read(self) -> bool:
        try:
            connect_read_only(self.path).close()
        except (sqlite3.Error, OSError):
            return True
        return False

    def _release(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._connection, self._identity = None, ()

    def _mark_used(self) -> None:
        with suppress(OSError):
            os.utime(self.path)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes from opening or deleting databases of a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def unlink(path: Path) -> None:
    """Delete a database and what SQLite keeps beside it."""
    for suffix in SUFFIXES:
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open a database without changing anything; on a read-only disk as it was last merged.

    Raises
    ------
    sqlite3.Error or OSError
        If it cannot be read, or is of another version.
    """
    _require_file(path)
    has_log = path.with_name(path.name + LOG).exists()
    ways = ("mode=ro", "mode=ro&immutable=1") if has_log else ("mode=ro&immutable=1",)
    for way in ways:
        place = f"{path.absolute().as_uri()}?{way}"
        database = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
        try:
            _require_version(database)
        except sqlite3.Error:
            database.close()
            if way == ways[-1]:
                raise
        else:
            break
    return database


def _connect(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    """Open a database to read and write; one that is old or damaged is dropped and begun anew."""
    if path.exists():
        _require_file(path)
    try:
        return _open(path, tables)
    except sqlite3.Error as cause:
        if not (_is_damage(cause) or isinstance(cause, _OldVersionError)):
            raise
    unlink(path)
    return _open(path, tables)


def _open(path: Path, tables: Sequence[str]) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        is_new = not database.execute("PRAGMA schema_version").fetchone()[0]
        if is_new:
            database.execute(f"PRAGMA page_size={PAGE_BYTES}")
            database.execute("PRAGMA auto_vacuum=INCREMENTAL")
        else:
            _require_version(database)
        database.execute("PRAGMA synchronous=NORMAL")
        database.execute("PRAGMA journal_mode=WAL")
        if is_new:
            with database:
                for statement in ("BEGIN IMMEDIATE", *tables, f"PRAGMA user_version={VERSION}"):
                    database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


class _OldVersionError(sqlite3.DatabaseError):
    """The file has an older format."""


def _require_version(database: sqlite3.Connection) -> None:
    (found,) = database.execute("PRAGMA user_version").fetchone()
    if found > VERSION:
        message = f"featx-cache version {found} is newer than {VERSION}; upgrade featx"
        raise sqlite3.NotSupportedError(message)
    if found < VERSION:
        message = f"featx-cache version {found} is older than {VERSION}"
        raise _OldVersionError(message)


def _require_file(path: Path) -> None:
    """Raise if something else has this name: opening a pipe or a device may wait for ever."""
    if not path.is_file():
        message = "not a file" if path.exists() else "no such file"
        raise OSError(message)


def _identity(path: Path, suffixes: Sequence[str]) -> tuple[int, ...]:
    """Return the inodes of a database's files; 0 for one that is not there."""
    found = []
    for suffix in suffixes:
        try:
            found.append(os.stat(f"{path}{suffix}").st_ino)  # noqa: PTH116
        except OSError:
            found.append(0)
    return tuple(found)


def _code(cause: Exception) -> int:
    """Return SQLite's primary result code; 0 for another error."""
    return int(getattr(cause, "sqlite_errorcode", 0)) & 0xFF


def _is_damage(cause: Exception) -> bool:
    is_cut = getattr(cause, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHORT_READ
    return is_cut or _code(cause) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def _reason(cause: Exception) -> str:
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else str(cause)
