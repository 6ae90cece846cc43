"""Downloads in the cache: what is not yet whole, or belongs to no backbone yet."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from featx.data.cache import DOWNLOADS, cache_folder
from featx.data.claim import lock
from featx.data.files import explained


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
    descriptor = lock(_lock_file(place))
    try:
        yield
    finally:
        os.close(descriptor)


def drop(place: Path) -> None:
    """Delete a download; it may be gone already."""
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    for path in (place, _lock_file(place)):
        path.unlink(missing_ok=True)


def _lock_file(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")
