"""Files written whole or not at all, and JSON documents that carry a format and a version."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from featx.data.places.address import is_url, url_of
from featx.errors import StoreError


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is fsynced and takes its name.

    A device or a pipe, such as ``/dev/null``, is written to as it is.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written; `path` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
    with explained(path):
        if path.exists() and not path.is_file() and not path.is_dir():
            yield path
            return
        try:
            yield temporary
            sync_file(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an operating-system error into a `StoreError` that says what to do."""
    if is_url(path):  # as a path it would be a folder named "s3:"
        message = f"{url_of(path)}: is a URL; a path of this machine is needed here"
        raise StoreError(message)
    try:
        yield
    except StoreError:
        raise
    except OSError as cause:
        reasons = {
            errno.ENOSPC: "the disk is full; free some space and run the command again",
            errno.EDQUOT: "the disk quota is used up; free some space and run the command again",
            errno.EACCES: "permission denied; choose a folder that you may write to",
            errno.EPERM: "permission denied; choose a folder that you may write to",
            errno.ENOTDIR: "a file is in the way; choose another place",
            errno.EEXIST: "a file is in the way; choose another place",
            errno.EISDIR: "a folder is in the way; choose another place",
            errno.EROFS: "the file system is read-only; choose another place",
        }
        reason = reasons.get(cause.errno or 0, cause.strerror or str(cause))
        message = f"{path}: {reason}"
        raise StoreError(message) from cause


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write `document` whole or not at all."""
    with writing(path) as temporary:
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        # Half of a surrogate pair, as in a file name that is not UTF-8, becomes a JSON escape.
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: Path, *, format_name: str, version: int) -> dict[str, Any]:
    """Read a JSON document, checking its ``format`` and ``version``.

    Raises
    ------
    StoreError
        If it is missing, damaged, of another format or of a newer version.
    """
    with explained(path):
        raw = path.read_bytes()
    return parse_json(raw, str(path), format_name=format_name, version=version)


def parse_json(raw: bytes, where: str, *, format_name: str, version: int) -> dict[str, Any]:
    """Return what `read_json` does of a document that was read from `where`.

    Raises
    ------
    StoreError
        If it is damaged, of another format or of a newer version.
    """
    try:
        document = json.loads(raw)
    except ValueError as cause:
        message = f"{where}: damaged: {cause}"
        raise StoreError(message) from cause
    if not isinstance(document, dict) or document.get("format") != format_name:
        message = f"{where}: not a {format_name} file"
        raise StoreError(message)
    found = document.get("version")
    if not isinstance(found, int) or found > version:
        message = f"{where}: {format_name} version {found} is newer than {version}; upgrade featx"
        raise StoreError(message)
    return document


def sync_file(path: Path) -> None:
    """Flush a file's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Flush a folder's entries to the disk."""
    sync_file(path)
