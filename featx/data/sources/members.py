"""Members of a tar, found by reading its headers; nothing is ever extracted or followed.

A tar may come from anywhere, so every name, size and link in it is taken as a mere text.
"""

import bz2
import gzip
import lzma
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase, BufferedReader
from pathlib import Path

from featx.data.sources.headers import Header, read_headers
from featx.errors import InputError
from featx.types import Span

Predicate = Callable[[str], bool]

MAGICS: dict[bytes, Callable[[BufferedReader], BufferedIOBase]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
"""First bytes → what decompresses the rest."""

FACT_LIMIT_BYTES = 2**20
"""The most that is read of a member that says a label."""

PIECE_BYTES = 2**20
"""How much of a member is read at once."""

MEMBER_LIMIT_BYTES = 2**30
"""The most that is read into memory of a member of a compressed tar."""


@dataclass(slots=True)
class Member:
    """A file, link or device in a tar.

    Attributes
    ----------
    name : str
        As the tar has it; bytes that are not UTF-8 are surrogates.
    content : Span, bytes or None
        Bytes for what was read at once, None for what cannot be read or, in a compressed tar,
        is not wanted.
    problem : str
        Why it cannot be read, else empty.
    ends_tar : bool
        Whether the tar ends early, or is damaged, here; `name` is empty between two members.
    size_bytes : int
        Of its data, in a compressed tar, whether that was read or not.
    """

    name: str
    content: Span | bytes | None = None
    problem: str = ""
    ends_tar: bool = False
    size_bytes: int = 0


def read_members(path: Path, is_fact: Predicate, is_content: Predicate) -> Iterator[Member]:
    """Yield the members of a tar in its order, folders left out, in constant memory.

    Parameters
    ----------
    path : Path
        A tar; compressed by gzip, bzip2 or xz, whatever its suffix says.
    is_fact : callable
        Whether the member of a name is small and is to be read at once.
    is_content : callable
        Whether it is to be read at once if the tar is compressed.

    Raises
    ------
    InputError
        If it is no tar, or cannot be opened.
    """
    with _open(path) as raw:
        start = raw.read(6)
        raw.seek(0)
        opener = next((o for magic, o in MAGICS.items() if start.startswith(magic)), None)
        if opener is None:
            yield from _plain_members(path, raw, is_fact)
        else:
            with opener(raw) as file:
                yield from _compressed_members(
                    path, file, lambda name: is_fact(name) or is_content(name)
                )


def _open(path: Path) -> BufferedReader:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for a writer for ever
            return path.open("rb")
    except OSError as cause:
        raise InputError(f"{path}: {cause.strerror}; a readable tar is needed") from cause
    raise InputError(f"{path}: not a regular file; a tar is needed")


def _plain_members(path: Path, file: BufferedReader, is_fact: Predicate) -> Iterator[Member]:
    end = os.fstat(file.fileno()).st_size
    for header in read_headers(path, file):
        if isinstance(header, str):
            yield Member("", problem=header, ends_tar=True)
            return
        name, _, start, size, problem = header
        if problem:
            yield Member(name, None, problem)
        elif start + size > end:
            cut = f"ends early at byte {end:,}, inside {name!r}, which ends at {start + size:,}"
            yield Member(name, problem=cut, ends_tar=True)
            return
        elif size <= FACT_LIMIT_BYTES and is_fact(name):
            yield _fact(file, header)
        else:
            yield Member(name, Span(path, start, size))


def _fact(file: BufferedReader, header: Header) -> Member:
    try:
        return Member(header.name, _read(file, header))
    except (OSError, EOFError) as cause:  # the tar has changed since it was opened
        return Member(header.name, None, f"cannot be read: {cause}")


def _compressed_members(path: Path, file: BufferedIOBase, wants: Predicate) -> Iterator[Member]:
    for header in read_headers(path, file):
        if isinstance(header, str):
            yield Member("", problem=header, ends_tar=True)
            return
        name, problem = header.name, header.problem
        if not problem and header.size_bytes > MEMBER_LIMIT_BYTES:
            limit = f"a member of a compressed tar may have {MEMBER_LIMIT_BYTES:,}"
            problem = f"has {header.size_bytes:,} bytes; {limit}; decompress the tar"
        try:
            if problem or not wants(name):
                content = None
                _skip(file, header)
            else:
                content = _read(file, header)
        except Exception as cause:  # noqa: BLE001  (each decompressor has its own)
            cut = f"ends early, or is damaged, inside {name!r}: {cause}"
            yield Member(name, problem=cut, ends_tar=True)
            return
        yield Member(name, content, problem, size_bytes=0 if problem else header.size_bytes)


def _skip(file: BufferedIOBase, header: Header) -> None:
    """Decompress a member and let it go; a seek would find damage elsewhere than reading does."""
    if not header.problem:
        for _ in _pieces(file, header):
            pass


def _read(file: BufferedIOBase, header: Header) -> bytes:
    return b"".join(_pieces(file, header))


def _pieces(file: BufferedIOBase, header: Header) -> Iterator[bytes]:
    file.seek(header.data_offset)
    left_bytes = header.size_bytes
    while left_bytes:
        piece = file.read(min(left_bytes, PIECE_BYTES))
        if not piece:
            raise EOFError(f"{left_bytes:,} of {header.size_bytes:,} bytes are missing")
        yield piece
        left_bytes -= len(piece)
