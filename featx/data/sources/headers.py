"""Headers of a tar, one after the other, however damaged or hostile the tar is."""

import os
import tarfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase, BufferedReader
from pathlib import Path
from typing import NamedTuple, cast

from featx.errors import InputError

KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
"""What a member may be that is neither a file nor a folder."""

BLOCK_BYTES = tarfile.BLOCKSIZE
FOLDER = "is a folder"

PADDING_BYTES = 20 * BLOCK_BYTES
"""A tar is padded with empty blocks to a multiple of this."""

HEADER_LIMIT_BYTES = 2**24
"""The most that is read for one header, with its long names; a hostile one claims more."""


class Header(NamedTuple):
    """What is used of a header: where the member starts, where its data does, and its length."""

    name: str
    offset: int
    data_offset: int
    size_bytes: int
    problem: str = ""


class _Blocks:
    """What tarfile reads blocks from; remembers the last block, and limits one header's length."""

    def __init__(self, file: BufferedIOBase) -> None:
        self.file = file
        self.last = b""
        self.peeked = b""
        self.left_bytes = HEADER_LIMIT_BYTES

    def peek(self) -> bytes:
        """Return the next block; the next `read` returns it again."""
        self.last = self.peeked = self.file.read(BLOCK_BYTES)
        return self.last

    def read(self, size: int) -> bytes:
        if self.peeked:
            self.peeked = b""
            return self.last
        self.left_bytes -= size
        if size < 0 or self.left_bytes < 0:
            message = f"a header claims more than {HEADER_LIMIT_BYTES:,} bytes"
            raise tarfile.ReadError(message)
        self.last = self.file.read(size)
        return self.last

    def seek(self, position: int) -> int:
        self.peeked = b""
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell() - len(self.peeked)


def read_headers(path: Path, file: BufferedIOBase) -> Iterator[Header | str]:
    """Yield each header that is no folder's; then, if the tar ends too early, why.

    Raises
    ------
    InputError
        If it is no tar.
    """
    blocks = _Blocks(file)
    try:
        fileobj = cast("BufferedIOBase", blocks)  # it has all that reading takes
        tar = tarfile.TarFile(fileobj=fileobj, encoding="utf-8", errors="surrogateescape")
    except Exception as cause:
        raise InputError(f"{path}: not a tar: {cause}") from cause
    tar.firstmember = None  # type: ignore[attr-defined]  # it is read again, as all others are
    tar.offset = 0
    last = -1
    while True:
        blocks.left_bytes = HEADER_LIMIT_BYTES
        try:
            header = _next(tar, blocks)
        except Exception as cause:  # noqa: BLE001  (a hostile header may raise anything)
            yield f"ends early, or is damaged, at byte {tar.offset:,}: {cause}"
            return
        if header is None:
            if problem := _why_it_ends(tar.offset, blocks):
                yield problem
            return
        if header.size_bytes < 0 or header.offset <= last:
            found = f"a member of {header.size_bytes} bytes"
            yield f"is damaged at byte {header.offset:,}: {found}"
            return
        last = header.offset
        if header.problem != FOLDER:
            yield header


def _next(tar: tarfile.TarFile, blocks: _Blocks) -> Header | None:
    """Return the next header; a plain one, as most are, several times as fast as tarfile does."""
    start = tar.offset
    blocks.seek(start)
    plain = _plain(blocks.peek())
    if plain is not None and not tar.pax_headers:
        name, size = plain
        tar.offset += BLOCK_BYTES * (1 + -(-size // BLOCK_BYTES))
        return Header(name, start, start + BLOCK_BYTES, size)
    header = tar.next()
    if header is None:
        return None
    tar.members = []  # type: ignore[attr-defined]  # else it keeps every header
    problem = FOLDER if header.isdir() else _problem(header)
    return Header(header.name, header.offset, header.offset_data, header.size, problem)


def _plain(block: bytes) -> tuple[str, int] | None:
    """Return name and size of a regular file whose header is one block in plain form, else None."""
    if len(block) < BLOCK_BYTES or block[156] not in b"0\0" or block[345]:
        return None
    try:
        size = int(block[124:136].rstrip(b" \0"), 8)
        checksum = int(block[148:156].rstrip(b" \0"), 8)
    except ValueError:
        return None
    # The sum of all bytes, with the checksum itself as spaces; half of Adler's is such a sum.
    total = zlib.adler32(block[:148] + b" " * 8 + block[156:]) & 0xFFFF
    name = block[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
    is_whole = total == (checksum + 1) % 65521
    return (name, size) if is_whole and size >= 0 and name and name[-1] != "/" else None


def _why_it_ends(offset: int, blocks: _Blocks) -> str:
    """Return what is wrong with the end of a tar, which tarfile does not tell; mostly nothing."""
    block, at = blocks.last, offset + len(blocks.last)
    if len(block) < BLOCK_BYTES:
        if isinstance(blocks.file, BufferedReader):
            at = os.fstat(blocks.file.fileno()).st_size
        return f"ends early at byte {at:,}, where its end mark or a header is due"
    if any(block):
        return f"is damaged at byte {offset:,}: not a header; what follows is not read"
    try:
        rest = blocks.file.read(PADDING_BYTES)
    except Exception as cause:  # noqa: BLE001  (each decompressor has its own)
        return f"ends early, or is damaged, after byte {offset:,}: {cause}"
    hint = "is it several tars in one, or damaged? what follows is not read"
    return f"has data after its end mark at byte {offset:,}; {hint}" if any(rest) else ""


def _problem(header: tarfile.TarInfo) -> str:
    """Return why a member cannot be read, by its kind; empty for a regular file."""
    if header.isreg() and not header.issparse():
        return ""
    kind = "a sparse file" if header.issparse() else KINDS.get(header.type, "of an unknown kind")
    target = f" to {header.linkname!r}" if header.islnk() or header.issym() else ""
    return f"is {kind}{target}; only regular files are read"
