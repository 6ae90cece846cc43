"""Downloads in the cache: what is not yet whole, or belongs to no backbone yet."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.data.cache import DOWNLOADS
from featx.data.cachefolder import cache_folder
from featx.data.claim import lock
from featx.data.files import explained
from featx.errors import StoreError


def kept(name: str) -> Path:
    """Return where a download lies that is known by `name`: a file or a folder."""
    return cache_folder() / DOWNLOADS / name


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Keep other processes from writing to the same download.

    Raises
    ------
    StoreError
        If another one does now, or the cache cannot be written.
    """
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
    path = place.with_name(f"{place.name}.lock")
    descriptor = lock(path)
    while not _lies_at(path, descriptor):  # it was deleted by `drop` before it was locked here
        os.close(descriptor)
        descriptor = lock(path)
    try:
        yield
    finally:
        os.close(descriptor)


def drop(place: Path) -> None:
    """Delete a download; one that another process has taken up is left to that.

    Raises
    ------
    StoreError
        If the cache cannot be written.
    """
    try:
        with alone(place), explained(place):
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
            place.with_name(f"{place.name}.lock").unlink()
    except StoreError as error:
        if not isinstance(error.__cause__, BlockingIOError):
            raise


def _lies_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one of this name."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
