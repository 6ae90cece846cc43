"""A unit of work: items of a source that stand next to each other, and what identifies them."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3

from featx.data.places.spans import StoredSpan
from featx.data.sources.cells import Cell
from featx.types import Content, Item, Span, Stored

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Unit:
    """Items that one worker embeds, and that are done all together or not at all.

    Attributes
    ----------
    number : int
        Which of the units of its source, from 0.
    key : str
        Hash of the ids, of what their contents are, and of what makes the vectors.
    facts : str
        Hash of the labels, splits and uris.
    items : sequence of Item
    file : Path or None
        One that could be read; whoever embeds the unit has to be able to, or read another one.
    basis : mapping or None
        The segment that holds the other items of the unit: `items` are those that failed.
    """

    number: int
    key: str
    facts: str
    items: Sequence[Item]
    file: Path | None = None
    basis: Mapping[str, Any] | None = None


class References:
    """Says what a content is, without reading the files; a file is looked at once in a row."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._stat: tuple[int, ...] = ()

    def of(self, content: Content) -> object:
        """Return a value that is another one if the content may be another."""
        if isinstance(content, Path):
            return str(content), self._look(content)
        if isinstance(content, Span):
            # A copy is another file on each machine; what it is a copy of is the same.
            look = () if content.origin else self._look(content.path)
            where = content.origin or str(content.path)
            return where, look, content.offset, content.size_bytes
        if isinstance(content, StoredSpan):  # as if it were a part of a copy
            return f"{content.url} {content.tag}", (), content.offset, content.size_bytes
        if isinstance(content, Stored):
            return content.url, content.tag, content.size_bytes
        if isinstance(content, np.ndarray):
            array = np.ascontiguousarray(content)
            return array.dtype.str, array.shape, hashed(array.tobytes())
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        return type(content).__name__, hashed(raw)

    def _look(self, path: Path) -> tuple[int, ...]:
        """Return size and time of a file; nothing if it cannot be looked at."""
        if path != self._path:
            self._path = path
            try:
                found = os.stat(path)  # noqa: PTH116  (a third of the time)
            except OSError:
                self._stat = ()
            else:
                self._stat = found.st_size, found.st_mtime_ns
        return self._stat


def key_of(items: Iterable[Item], references: References, seed: str) -> str:
    """Return the key of a unit; `seed` is what else makes the vectors."""
    hasher = blake3(seed.encode())
    for item in items:
        line = repr((item.id, item.problem, references.of(item.content)))
        hasher.update(line.encode("utf-8", "backslashreplace"))
    return hasher.hexdigest(length=KEY_BYTES)


def facts_of(items: Iterable[Item]) -> str:
    """Return the hash of what the source says of the items beside their content."""
    hasher = blake3()
    for item in items:
        line = repr((item.label, item.split, item.uri))
        hasher.update(line.encode("utf-8", "backslashreplace"))
    return hasher.hexdigest(length=KEY_BYTES)


def facts_mark(items: str, facts: str) -> str:
    """Return what an entry records of its table `items`: of another table it is no longer true."""
    return f"{items} {facts}"


def hashed(raw: bytes) -> str:
    """Return a hash in hex."""
    return blake3(raw).hexdigest(length=KEY_BYTES)


def file_of(items: Iterable[Item]) -> Path | None:
    """Return the first file that can be read here."""
    paths = (_path_of(item.content) for item in items)
    return next((path for path in paths if path is not None and is_readable(path)), None)


def is_readable(path: Path) -> bool:
    """Return whether a file is there, and this user may read it."""
    try:
        return os.access(path, os.R_OK)
    except ValueError:  # a null character in its name
        return False


def _path_of(content: Content) -> Path | None:
    """Return the file on a disk that holds a content, or a part of which does."""
    if isinstance(content, Span):
        return content.path
    if isinstance(content, Cell):
        return Path(content.url)
    return content if isinstance(content, Path) else None


def id_hash(item_id: str) -> int:
    """Return 63 bits that are the same in every process."""
    raw = blake3(item_id.encode("utf-8", "backslashreplace")).digest(length=8)
    return int.from_bytes(raw, "little") >> 1
