"""Parts of files of an object store as the content of items, such as the members of a tar."""

from dataclasses import dataclass, field
from functools import lru_cache
from threading import Lock

from featx.data.places.stored import opened
from featx.types import Stored

BLOCK_BYTES = 4 << 20
"""How much is asked for at once: members of a tar are mostly small, and read in about its order."""

HELD_BLOCKS = 8
"""Blocks that are held on to."""


@dataclass(frozen=True, slots=True)
class StoredSpan(Stored):
    """Some bytes of a file of an object store; those of several parts may be one request.

    Attributes
    ----------
    tag : str
        Of the file; see `Stored`.
    offset : int
    file_bytes : int
        Size of the whole file.
    """

    offset: int
    file_bytes: int

    @property
    def name(self) -> str:
        """URL, offset and size."""
        return f"{self.url}#{self.offset}+{self.size_bytes}"

    def read(self) -> bytes:
        """Return the content; see `Stored`."""
        if self.size_bytes > BLOCK_BYTES:
            return _range(self.url, self.tag, self.offset, self.size_bytes)
        end = self.offset + self.size_bytes
        first = self.offset // BLOCK_BYTES
        blocks = range(first, -(-end // BLOCK_BYTES))
        raw = b"".join(_block(self.url, self.tag, self.file_bytes, n).read() for n in blocks)
        start = self.offset - first * BLOCK_BYTES
        return raw[start : start + self.size_bytes]


@dataclass
class _Block:
    """Some bytes of a file, asked for once however many threads want them."""

    url: str
    tag: str
    offset: int
    size_bytes: int
    raw: bytes | None = None
    lock: Lock = field(default_factory=Lock)

    def read(self) -> bytes:
        with self.lock:
            if self.raw is None:
                self.raw = _range(self.url, self.tag, self.offset, self.size_bytes)
            return self.raw


@lru_cache(maxsize=HELD_BLOCKS)
def _block(url: str, tag: str, file_bytes: int, number: int) -> _Block:
    offset = number * BLOCK_BYTES
    return _Block(url, tag, offset, min(BLOCK_BYTES, file_bytes - offset))


def _range(url: str, tag: str, offset: int, size_bytes: int) -> bytes:
    with opened(url) as (place, name):
        return place.read_range(name, offset, size_bytes, tag=tag)
