"""The user-wide cache: vectors by (fingerprint, digest), and digests of files by their stat.

It saves computing and never holds the only copy: deleting it at any moment harms no set.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from featx.data.files import explained
from featx.errors import StoreError
from featx.types import Vectors

DEFAULT_LIMIT_BYTES = 10 * 2**30

VERSION = 1
"""Of the databases' format, kept as SQLite's ``user_version``."""


def cache_folder(chosen: str | Path | None = None) -> Path:
    """Return the cache's folder: `chosen`, ``FEATX_CACHE_DIR``, or the user's cache folder."""
    if place := chosen or os.environ.get("FEATX_CACHE_DIR"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featx"


class VectorCache:
    """Vectors of one fingerprint, by digest.  Several processes may use it at once.

    Parameters
    ----------
    folder : Path
        The user-wide cache; this store is the file ``vectors-<fingerprint>.sqlite`` in it.
    fingerprint : str
    dim : int
    """

    def __init__(self, folder: Path, *, fingerprint: str, dim: int) -> None:
        self._dim = dim
        self._path = folder / f"vectors-{fingerprint[:32]}.sqlite"
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._database = _connect(
            self._path,
            "CREATE TABLE IF NOT EXISTS vectors "
            "(digest BLOB PRIMARY KEY, row BLOB, facts TEXT) WITHOUT ROWID",
        )

    def get(self, digests: Sequence[bytes]) -> dict[bytes, Vectors]:
        """Return the vectors that are there and can be read, each of shape (D,)."""
        return {key: np.frombuffer(row, dtype="<f4") for key, row, _ in self._rows(digests)}

    def facts(self, digests: Sequence[bytes]) -> dict[bytes, dict[str, Any]]:
        """Return what `put` was told of the items whose vectors are there."""
        return {key: json.loads(facts) for key, _, facts in self._rows(digests)}

    def _rows(self, digests: Sequence[bytes]) -> Iterator[tuple[bytes, bytes, str]]:
        for start in range(0, len(digests), 500):
            part = list(digests[start : start + 500])
            marks = ",".join("?" * len(part))
            query = f"SELECT digest, row, facts FROM vectors WHERE digest IN ({marks})"  # noqa: S608
            for key, row, facts in _try_read(self._database, query, part):
                if len(row) == 4 * self._dim:
                    yield bytes(key), bytes(row), str(facts)

    def put(
        self, digests: Sequence[bytes], X: Vectors, facts: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Remember vectors, and JSON facts of each item; a full or read-only disk is no error."""
        told = [json.dumps(fact) for fact in facts] or ["{}"] * len(digests)
        raw = [row.astype("<f4").tobytes() for row in X]
        rows = list(zip(digests, raw, told, strict=True))
        _try_write(self._database, "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class StatIndex:
    """Digests of files by path, size, modification time and inode.

    A file is looked up again if any of them changed; a file modified within two seconds before
    it was read is never remembered, since it may change again within its time stamp.
    """

    def __init__(self, folder: Path) -> None:
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._database = _connect(
            folder / "files.sqlite",
            "CREATE TABLE IF NOT EXISTS files "
            "(path TEXT PRIMARY KEY, stat TEXT, digest BLOB) WITHOUT ROWID",
        )

    def get(self, path: Path) -> bytes | None:
        """Return the digest of an unchanged file, or None."""
        try:
            stat = _stat(path)
        except OSError:
            return None
        query = "SELECT digest FROM files WHERE path = ? AND stat = ?"
        found = _try_read(self._database, query, (os.path.abspath(path), stat))  # noqa: PTH100
        return bytes(found[0][0]) if found else None

    def put(self, entries: Sequence[tuple[Path, bytes]], *, now_s: float) -> None:
        """Remember the digests of files that were read at `now_s` (seconds since the epoch)."""
        rows = []
        for path, digest in entries:
            try:
                if now_s - path.stat().st_mtime > 2:
                    rows.append((os.path.abspath(path), _stat(path), digest))  # noqa: PTH100
            except OSError:
                continue
        _try_write(self._database, "INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One file of the cache: its name, size in bytes, and when it was last written."""

    name: str
    size_bytes: int
    modified_s: float


def contents(folder: Path) -> list[CacheFile]:
    """Return the cache's databases, least recently written first."""
    files = [(path, path.stat()) for path in folder.glob("*.sqlite")]
    entries = [CacheFile(path.name, stat.st_size, stat.st_mtime) for path, stat in files]
    return sorted(entries, key=lambda entry: entry.modified_s)


def shrink(folder: Path, *, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> int:
    """Delete least recently written stores until the cache is within its limit.

    Returns
    -------
    int
        Bytes freed.
    """
    files = contents(folder)
    total, freed = sum(file.size_bytes for file in files), 0
    for file in files:
        if total - freed <= limit_bytes:
            break
        for suffix in ("", "-wal", "-shm"):
            (folder / f"{file.name}{suffix}").unlink(missing_ok=True)
        freed += file.size_bytes
    return freed


def clear(folder: Path) -> None:
    """Delete the whole cache."""
    if not folder.is_dir():
        return
    foreign = [p.name for p in folder.iterdir() if not _is_ours(p)]
    if foreign:
        message = f"{folder}: holds {foreign[0]!r}, which is not featx's; nothing was deleted"
        raise StoreError(message)
    with explained(folder):
        shutil.rmtree(folder)


def _is_ours(path: Path) -> bool:
    return ".sqlite" in path.name or path.name == "verified.json"


def _connect(path: Path, table: str) -> sqlite3.Connection:
    """Open a database; a damaged one is dropped and begun anew."""
    try:
        try:
            return _open(path, table)
        except sqlite3.DatabaseError as cause:
            if not any(sign in str(cause) for sign in ("not a database", "malformed")):
                raise
            for suffix in ("", "-wal", "-shm"):
                path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)
            return _open(path, table)
    except sqlite3.DatabaseError as cause:
        message = f"{path}: {cause}; choose another place with --cache-dir, or use --no-cache"
        raise StoreError(message) from cause


def _open(path: Path, table: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=30)
    try:
        (found,) = database.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            message = f"featx-cache version {found} is newer than {VERSION}; upgrade featx"
            raise sqlite3.DatabaseError(message)
        version = f"PRAGMA user_version={VERSION}"
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=NORMAL", table, version):
            database.execute(statement)
    except BaseException:
        database.close()
        raise
    return database


def _try_read(
    database: sqlite3.Connection, query: str, values: Sequence[object]
) -> list[tuple[Any, ...]]:
    """Return what is found; a damaged database finds nothing."""
    try:
        return database.execute(query, tuple(values)).fetchall()
    except sqlite3.DatabaseError:
        return []


def _try_write(
    database: sqlite3.Connection, query: str, rows: Sequence[tuple[object, ...]]
) -> None:
    try:
        with database:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(query, rows)
    except sqlite3.DatabaseError:
        return


def _stat(path: Path) -> str:
    stat = path.stat()
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ino}"
