"""Folders for what a process makes on its own disk; those of processes that were killed go."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from featx.data.files import explained

PREFIX = f"featx-unit-{socket.gethostname()}-"
"""Only folders of this machine are swept: a lock may not be seen by others that share the disk."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder on this disk, and delete it at the end.

    Raises
    ------
    StoreError
        If there is no room for one.
    """
    with explained(Path(gettempdir())):
        path, descriptor = _made()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def sweep() -> None:
    """Delete the folders of this user's processes that were killed.

    A folder is locked as long as its process lives.
    """
    for path in Path(gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):  # it went meanwhile, or is another user's
            descriptor = _locked(path)
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _made() -> tuple[Path, int]:
    """Return a new folder, and the descriptor that keeps it locked."""
    while True:
        path = Path(mkdtemp(prefix=PREFIX))
        try:
            descriptor = _locked(path)
        except (BlockingIOError, FileNotFoundError):  # swept before it was locked
            continue
        except OSError:  # a file system without locks, where none is swept either
            return path, os.open(path, os.O_RDONLY)
        if path.exists():
            return path, descriptor
        os.close(descriptor)


def _locked(path: Path) -> int:
    """Open a folder that no living process holds, and lock it.

    Raises
    ------
    OSError
        If one does, or it is no folder.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
