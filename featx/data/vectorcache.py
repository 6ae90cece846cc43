"""Vectors of one fingerprint by digest, for all sets of a user."""

import json
import sqlite3
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec
import numpy as np

from featx.data.database import Database, connect_read_only
from featx.types import Vectors

BATCH = 500
"""Digests a query."""

TRIM_ROWS = 10_000
TRIM_PAGES = 1000
"""Deleted and given back at a time: other processes wait meanwhile."""

FLOAT = np.dtype("<f4")

_TABLES = (
    "CREATE TABLE vectors (number INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, "
    "row BLOB NOT NULL, facts BLOB NOT NULL, checksum INTEGER NOT NULL)",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
)
_INSERT = "INSERT OR REPLACE INTO vectors (digest, row, facts, checksum) VALUES (?, ?, ?, ?)"
_NAME = (
    "INSERT INTO meta VALUES ('name', ?) "
    "ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value != excluded.value"
)


class VectorCache:
    """Vectors of one fingerprint, by digest.  Several threads and processes may use it at once.

    What cannot be read is a miss, and what cannot be written is forgotten: no call raises for
    what the disk or another process does.

    Parameters
    ----------
    folder : Path
        The user-wide cache; this store is the file ``vectors-<fingerprint>.sqlite`` in it, opened
        by the first call.
    fingerprint : str
    dim : int
        Vectors of another width are not given.
    name : str
        Of the backbone, for people who look into the cache.
    """

    def __init__(self, folder: Path, *, fingerprint: str, dim: int, name: str = "") -> None:
        self._row_bytes = dim * FLOAT.itemsize
        self._name = name
        path = folder / f"vectors-{fingerprint[:32]}.sqlite"
        self._database = Database(path, tables=_TABLES)

    @property
    def problem(self) -> str:
        """Why the cache is not written, or not even read, in one line; empty if all is well."""
        return self._database.problem

    def get_many(self, digests: Sequence[bytes]) -> dict[bytes, tuple[Vectors, dict[str, Any]]]:
        """Return what `put` was told of the items that are there.

        Returns
        -------
        dict of digest to (vector, facts)
            Each vector of shape (D,), not writable.  A row that was damaged on the disk is not
            given: its checksum is wrong.
        """
        found: dict[bytes, tuple[Vectors, dict[str, Any]]] = {}
        for start in range(0, len(digests), BATCH):
            part = digests[start : start + BATCH]
            for digest, row, facts, checksum in self._database.read(_select(len(part)), part):
                is_whole = crc32(facts, crc32(row, crc32(digest))) == checksum
                if is_whole and len(row) == self._row_bytes:
                    found[digest] = np.frombuffer(row, dtype=FLOAT), _decoded(facts)
        return found

    def put(
        self, digests: Sequence[bytes], X: Vectors, facts: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Remember vectors, and JSON facts of each item, in one transaction.

        Parameters
        ----------
        digests : sequence of bytes
        X : ndarray of float32, shape (N, D)
        facts : sequence of dict
            One an item, or none at all.
        """
        told = [_encoded(fact) for fact in facts] or [b"{}"] * len(digests)
        raw = [row.tobytes() for row in np.asarray(X, dtype=FLOAT)]
        rows = [
            (digest, row, fact, crc32(fact, crc32(row, crc32(digest))))
            for digest, row, fact in zip(digests, raw, told, strict=True)
        ]
        names = [(self._name,)] if self._name else []
        if rows:
            self._database.write([(_INSERT, rows), (_NAME, names)])

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def inside(path: Path) -> tuple[str, int]:
    """Return the backbone's name, empty if unknown, and the number of vectors of a store."""
    try:
        database = connect_read_only(path)
    except (sqlite3.Error, OSError):
        return "", 0
    try:
        name = database.execute("SELECT value FROM meta WHERE key = 'name'").fetchone()
        (vectors,) = database.execute("SELECT COUNT(*) FROM vectors").fetchone()
    except sqlite3.Error:
        return "", 0
    finally:
        database.close()
    return (str(name[0]) if name else ""), int(vectors)


def trim(path: Path, *, limit_bytes: int) -> bool:
    """Delete the oldest rows of a store until its file is within a limit.

    Returns
    -------
    bool
        Whether it stays: False if none of its rows would be left.
    """
    database = Database(path, tables=_TABLES)
    try:
        while (size_bytes := _used_bytes(database)) > limit_bytes:
            counted = database.read("SELECT MIN(number), COUNT(*) FROM vectors")
            if database.problem or not counted:
                return True
            first, rows = counted[0]
            if not rows:
                return False
            until = first + min(int(rows * (1 - limit_bytes / size_bytes)), TRIM_ROWS)
            database.write([("DELETE FROM vectors WHERE number <= ?", [(until,)])])
        while database.read("PRAGMA freelist_count") not in ([], [(0,)]) and not database.problem:
            database.run(f"PRAGMA incremental_vacuum({TRIM_PAGES})")
        database.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return True
    finally:
        database.close()


def _used_bytes(database: Database) -> int:
    query = "SELECT (page_count - freelist_count) * page_size FROM "
    query += "pragma_page_count, pragma_freelist_count, pragma_page_size"
    found = database.read(query)
    return int(found[0][0]) if found else 0


@lru_cache(maxsize=2)
def _select(count: int) -> str:
    marks = ",".join("?" * count)
    return f"SELECT digest, row, facts, checksum FROM vectors WHERE digest IN ({marks})"  # noqa: S608


def _encoded(fact: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(fact)
    except UnicodeEncodeError:  # half a character, such as of a file's name
        return json.dumps(fact).encode()


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        facts = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        facts = json.loads(raw)
    return facts if isinstance(facts, dict) else {}
