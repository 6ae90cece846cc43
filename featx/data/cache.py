"""The user-wide cache's folder: where it lies, what it holds, and how it is kept small.

It saves computing and never holds the only copy: deleting it at any moment harms no set.
"""

import os
import re
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from featx.data import statindex
from featx.data.database import SUFFIXES, alone, unlink
from featx.data.files import explained
from featx.data.places.keeping import FOLDER as PLACES
from featx.data.places.keeping import drop
from featx.data.vectorcache import trim
from featx.errors import InputError, StoreError

DEFAULT_LIMIT_BYTES = 10 * 2**30

GRAPHS = "graphs"
"""Folder of graphs that were made for a precision or device."""

ACTIVATIONS = "activations"
"""Folder of what graphs make of items halfway, a folder for each graph and cut."""

DOWNLOADS = "downloads"
"""Folder of backbones on their way to the zoo."""

_OURS = re.compile(
    r"(vectors-\w+|files)\.sqlite(-wal|-shm|-journal)?"
    r"|\.?(verified|tuned)\.json(\.\w+\.tmp)?"
    rf"|{GRAPHS}|{ACTIVATIONS}|{DOWNLOADS}|{PLACES}"
)

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def cache_limit() -> int:
    """Return the largest size of the cache in bytes: ``FEATX_CACHE_LIMIT``, or 10 GiB.

    Raises
    ------
    InputError
        If the variable holds no size.
    """
    text = os.environ.get("FEATX_CACHE_LIMIT")
    if not text:
        return DEFAULT_LIMIT_BYTES
    try:
        return size_in_bytes(text)
    except InputError as cause:
        message = f"FEATX_CACHE_LIMIT={cause}"
        raise InputError(message) from cause


def size_in_bytes(text: str) -> int:
    """Return a number of bytes written for people.

    Examples
    --------
    >>> size_in_bytes("500MB"), size_in_bytes("10 GiB"), size_in_bytes("1.5k")
    (500000000, 10737418240, 1500)

    Raises
    ------
    InputError
        If it is no size.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if match is None or (match[3] and not match[2]):
        message = f"{text!r}: expected a size such as 500MB or 10GiB"
        raise InputError(message)
    base = 1024 if match[3] else 1000
    return int(float(match[1]) * base ** _POWERS[match[2]])


@dataclass(frozen=True, slots=True)
class CacheFile:
    """One thing that the cache holds.

    Attributes
    ----------
    name : str
        Below the cache's folder.
    kind : str
        ``"vectors"``, ``"files"`` (digests of files by their stat), ``"graph"``,
        ``"activations"``, ``"download"`` or ``"copy"`` (of what lies at a URL).
    size_bytes : int
        With the files that belong to it, such as a database's log.
    used_s : float
        When it was last used, in seconds since the epoch.
    """

    name: str
    kind: Literal["vectors", "files", "graph", "activations", "download", "copy"]
    size_bytes: int
    used_s: float


def contents(folder: Path) -> list[CacheFile]:
    """Return what the cache holds, least recently used first."""
    found = []
    for path in sorted(folder.glob("*.sqlite")):
        if _OURS.fullmatch(path.name) and path.is_file():
            kind: Literal["vectors", "files"]
            kind = "files" if path.name == statindex.NAME else "vectors"
            parts = [path.with_name(path.name + suffix) for suffix in SUFFIXES]
            size_bytes, used_s = _size_and_use(parts)
            found.append(CacheFile(path.name, kind, size_bytes, used_s))
    for name, parts in _graphs(folder).items():
        found.append(CacheFile(f"{GRAPHS}/{name}", "graph", *_size_and_use(parts)))
    found += [
        CacheFile(f"{ACTIVATIONS}/{part.name}", "activations", *_size_and_use([part]))
        for part in _inside(folder / ACTIVATIONS)
    ]
    found += [
        CacheFile(f"{DOWNLOADS}/{part.name}", "download", *_size_and_use([part]))
        for part in _inside(folder / DOWNLOADS)
    ]
    found += [
        CacheFile(f"{PLACES}/{part.name}", "copy", *_size_and_use([part]))
        for part in _inside(folder / PLACES)
    ]
    return sorted(found, key=lambda file: file.used_s)


def keep_within(folder: Path, limit_bytes: int | None = None) -> int:
    """Delete what was used least recently until the cache is within its limit.

    Whole stores and graphs go first; of a store that alone exceeds the limit, the oldest rows go.
    The index of files goes last: it is small, and serves every store.  Other processes may use
    the cache meanwhile.

    Parameters
    ----------
    folder : Path
    limit_bytes : int or None
        None for `cache_limit`.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    InputError
        If ``FEATX_CACHE_LIMIT`` holds no size and is needed.
    """
    limit_bytes = cache_limit() if limit_bytes is None else limit_bytes
    before = left = _size(folder)
    for file in sorted(contents(folder), key=lambda file: file.kind == "files"):
        if left <= limit_bytes:
            break
        rest = left - file.size_bytes
        is_large = file.kind == "vectors" and file.size_bytes > limit_bytes > rest
        if is_large and trim(folder / file.name, limit_bytes=limit_bytes - rest):
            break  # within the limit once those who read it let go of its log
        _delete(folder, file)
        left = _size(folder)
    return max(0, before - _size(folder))


def _size(folder: Path) -> int:
    return sum(file.size_bytes for file in contents(folder))


def clear(folder: Path) -> None:
    """Delete the whole cache.

    Raises
    ------
    StoreError
        If the folder holds something else, or cannot be deleted.
    """
    if not folder.is_dir():
        return
    foreign = [path.name for path in folder.iterdir() if not _OURS.fullmatch(path.name)]
    if foreign:
        message = f"{folder}: holds {foreign[0]!r}, which is not featx's; nothing was deleted"
        raise StoreError(message)
    with explained(folder), alone(folder):
        shutil.rmtree(folder)


def _delete(folder: Path, file: CacheFile) -> None:
    """Delete one thing, as far as that can be done."""
    with suppress(OSError), alone(folder):
        if file.kind in {"vectors", "files"}:
            unlink(folder / file.name)
            return
        if file.kind == "copy":
            drop(folder / file.name)
            return
        parts = _graphs(folder).get(file.name.removeprefix(f"{GRAPHS}/"), [folder / file.name])
        for path in parts:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)


def _graphs(folder: Path) -> dict[str, list[Path]]:
    """Return the files of each graph: ``x.onnx.data`` belongs to ``x.onnx``."""
    found: dict[str, list[Path]] = {}
    for path in _inside(folder / GRAPHS):
        stem, onnx, _ = path.name.partition(".onnx")
        found.setdefault(stem + onnx, []).append(path)
    return found


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _size_and_use(paths: Iterable[Path]) -> tuple[int, float]:
    size_bytes, used_s = 0, 0.0
    for path in paths:
        with suppress(OSError):  # it may go at any moment
            stat = path.stat()
            parts = _size_and_use(path.iterdir()) if path.is_dir() else (0, 0.0)
            size_bytes += stat.st_size + parts[0]
            used_s = max(used_s, stat.st_mtime, parts[1])
    return size_bytes, used_s
