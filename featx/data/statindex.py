"""Digests of files by their stat, so that an unchanged file is not opened again."""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from featx.data.database import Database
from featx.types import Span, Stored

Key = Path | Span | Stored
"""A file, some bytes of one, or a file of an object store."""

NAME = "files.sqlite"

SETTLED_NS = 2 * 10**9
"""A file modified later than this before a look may change again within its time stamp."""

BATCH = 500
"""Keys a query."""

_TABLES = (
    "CREATE TABLE files (path BLOB PRIMARY KEY, stat TEXT NOT NULL, digest BLOB NOT NULL) "
    "WITHOUT ROWID",
)
_SELECT = "SELECT path, stat, digest FROM files WHERE"
_RANGE = f"{_SELECT} path BETWEEN ? AND ? LIMIT ?"
_INSERT = "INSERT OR REPLACE INTO files VALUES (?, ?, ?)"

_UNKNOWN: tuple[str, bytes | None] = ("", None)


class Seen(NamedTuple):
    """What a look at a file told.

    Attributes
    ----------
    stat : str
        To be handed to `StatIndex.remember` with the digest of what was read after the look;
        empty if nothing may be remembered.
    digest : bytes or None
        The digest, if it is known and the file is unchanged since.
    """

    stat: str
    digest: bytes | None


class StatIndex:
    """Digests of files by path, size, times of modification and of change, and inode.

    The time of change (``ctime``) tells of an edit whose modification time was set back.  Safe
    to use from several threads and processes; what cannot be read or written is forgotten.

    Parameters
    ----------
    folder : Path
        The user-wide cache; the index is the file ``files.sqlite`` in it.
    """

    def __init__(self, folder: Path) -> None:
        self._database = Database(folder / NAME, tables=_TABLES)

    @property
    def problem(self) -> str:
        """Why nothing is remembered, in one line; empty if all is well."""
        return self._database.problem

    def look(self, keys: Sequence[Key]) -> list[Seen]:
        """Return what is known of each key, in order; call it before reading the files.

        Each distinct file is asked for its stat once: 100,000 files take about 0.6 s of CPU, half
        of it the operating system's.

        Returns
        -------
        list of Seen
            With neither stat nor digest where there is no file, or where it was modified within
            two seconds before now.
        """
        latest_ns = time.time_ns() - SETTLED_NS
        stats: dict[str, str] = {}
        seen: list[Seen] = []
        for start in range(0, len(keys), BATCH):
            part = keys[start : start + BATCH]
            paths = [_path(key) for key in part]
            for key, path in zip(part, paths, strict=True):
                if path not in stats:
                    stats[path] = (
                        _stored_stat(key) if isinstance(key, Stored) else _stat(path, latest_ns)
                    )
            names = [_name(key, path) for key, path in zip(part, paths, strict=True)]
            known = self._known(names)
            for name, path in zip(names, paths, strict=True):
                stat = stats[path]
                then, digest = known.get(name, _UNKNOWN)
                seen.append(Seen(stat, digest if stat and stat == then else None))
        return seen

    def _known(self, names: Sequence[bytes]) -> dict[bytes, tuple[str, bytes | None]]:
        """Return what is remembered of some names, and perhaps of others.

        Files of a folder mostly come in order: reading on from the first to the last takes half
        the time of looking up each.
        """
        most = 2 * len(names)
        rows = self._database.read(_RANGE, (min(names), max(names), most))
        if len(rows) == most:
            marks = ",".join("?" * len(names))
            rows = self._database.read(f"{_SELECT} path IN ({marks})", names)
        return {name: (stat, digest) for name, stat, digest in rows}

    def remember(self, entries: Sequence[tuple[Key, str, bytes]]) -> None:
        """Remember digests of what was read after a look: (key, the look's stat, digest).

        A file that changed since the look has another stat by then, and is not known.
        """
        rows = [(_name(key, _path(key)), stat, digest) for key, stat, digest in entries if stat]
        if rows:
            self._database.write([(_INSERT, rows)])

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _stat(path: str, latest_ns: int) -> str:
    """Return what changes with a file; empty without one, or if it was modified after a time."""
    try:
        stat = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):  # a name may hold a null character
        return ""
    if stat.st_mtime_ns > latest_ns:
        return ""
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}"


def _stored_stat(stored: Stored) -> str:
    """Return what changes with a file of an object store; empty if that is not known."""
    return f"{stored.size_bytes} {stored.tag}" if stored.tag else ""


def _path(key: Key) -> str:
    """Return the path of a key, or its name in an object store."""
    if isinstance(key, Stored):
        return key.name
    return os.fspath(key.path if isinstance(key, Span) else key)


def _name(key: Key, path: str) -> bytes:
    """Return ``<absolute path>``, ``<absolute path>#<offset>+<size>``, or a name in a store."""
    is_whole = path.startswith("/") or isinstance(key, Stored)
    name = path if is_whole else os.path.abspath(path)  # noqa: PTH100
    if isinstance(key, Span):
        name = f"{name}#{key.offset}+{key.size_bytes}"
    return name.encode(errors="surrogateescape")
