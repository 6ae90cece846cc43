"""Copies of what lies at URLs, in the user-wide cache: where they are, and that they stay.

Each lies in a folder of its own below ``places/``, which is locked by every process that uses it
until that ends, so that the cache is not kept small at their cost.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from blake3 import blake3

from featx.data.cachefolder import cache_folder
from featx.data.files import explained
from featx.data.places.address import Address
from featx.data.places.trouble import endpoint

FOLDER = "places"
"""Folder of the copies in the cache."""

LOCK = ".lock"
"""Held, shared, by all who use what lies in a folder."""

FILLING = ".filling"
"""Held by the one who copies."""

KEY_BYTES = 12

_held: dict[Path, int] = {}
"""Folder → descriptor of its lock, until this process ends."""

_chosen: list[Path | None] = []
"""What `using` was called with, the last one last."""

_nowhere: list["tempfile.TemporaryDirectory[str]"] = []
"""Where copies lie without a cache; gone when the process ends."""


@contextmanager
def using(cache: Path | None) -> Iterator[None]:
    """Keep copies in another cache, or without one (None) only until the process ends."""
    _chosen.append(cache)
    try:
        yield
    finally:
        _chosen.pop()


def copies() -> Path:
    """Return the folder that copies lie in."""
    if not _chosen:
        return cache_folder() / FOLDER
    if (cache := _chosen[-1]) is not None:
        return cache / FOLDER
    if not _nowhere:
        _nowhere.append(tempfile.TemporaryDirectory(prefix="featx-"))
    return Path(_nowhere[0].name) / FOLDER


def folder_of(address: Address, tag: str = "") -> Path:
    """Return the folder for a copy of what a URL names, as the environment has it now."""
    account = os.environ.get("AZURE_STORAGE_ACCOUNT_NAME", "") if address.scheme == "az" else ""
    facts = "\0".join((endpoint(address.scheme), account, str(address), tag))
    return copies() / blake3(facts.encode(errors="surrogateescape")).hexdigest(length=KEY_BYTES)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Make a folder, fill it alone, and keep it from being deleted until this process ends.

    Yields
    ------
    bool
        Whether nobody used what lies there before: then some of it may go.
    """
    with explained(folder):
        use = _use(folder)
        fill = os.open(folder / FILLING, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _lock(fill, fcntl.LOCK_EX)
        is_alone = _lock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _lock(use, fcntl.LOCK_SH)
        yield is_alone
    finally:
        os.close(fill)
        old = _held.pop(folder, -1)
        _held[folder] = use
        if old >= 0:
            os.close(old)


def release() -> None:
    """Let go of all copies that this process holds."""
    while _held:
        os.close(_held.popitem()[1])


def drop(folder: Path) -> bool:
    """Delete a folder with what lies there, unless a process uses it; return whether it went."""
    with ExitStack() as stack:
        for name in (FILLING, LOCK):
            descriptor = os.open(folder / name, os.O_RDWR | os.O_CREAT, 0o644)
            stack.callback(os.close, descriptor)
            if not _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
                return False
        shutil.rmtree(folder)
    return True


def _use(folder: Path) -> int:
    """Return the descriptor of a folder's lock, which is shared and not that of a deleted one."""
    path = folder / LOCK
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the folder is deleted at this moment
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            _lock(descriptor, fcntl.LOCK_SH)
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                os.utime(descriptor)  # when it was used last
                return descriptor
            os.close(descriptor)


def _lock(descriptor: int, how: int) -> bool:
    """Lock, or return False if another holds it; a file system without locks has none."""
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
