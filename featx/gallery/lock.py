"""The lock of a gallery: held by its one writer, which writes its process into it for others."""

import os
from contextlib import suppress
from pathlib import Path

from featx.data.claim import lock
from featx.errors import StoreError
from featx.gallery.folder import LOCK

_LONGEST = 20
"""Digits of the number of a process, at most."""


def lock_gallery(path: Path) -> int:
    """Lock a gallery for this process and return a descriptor; closing that unlocks it.

    Raises
    ------
    StoreError
        If another process holds the lock, naming it, and what to do where that is a service; or
        the disk knows no locks.
    """
    try:
        descriptor = lock(path / LOCK)
    except StoreError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise
        raise StoreError(f"{error}; {_if_served(path)}") from error.__cause__
    with suppress(OSError):  # a disk that is full: the lock holds all the same
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _if_served(path: Path) -> str:
    """Say how a gallery is changed that a service holds the lock of."""
    with suppress(OSError):
        written = (path / LOCK).read_bytes()[:_LONGEST].strip()
        if written.isdigit():
            return f"where that is featx serve (process {int(written)}), {_THROUGH_IT}"
    return f"where that is featx serve, {_THROUGH_IT}"


_THROUGH_IT = "change it through that: POST or DELETE /v1/examples, or featx.Client(URL).teach"
