"""Where made graphs lie: in the cache, or in a folder that ends with the process."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from uuid import uuid4

FOLDER = "graphs"


def made_once(key: str, folder: Path | None, make: Callable[[Path], None]) -> Path:
    """Return ``<folder>/graphs/<key>.onnx``, written whole or not at all by `make` if missing.

    Two processes may make it at once: each writes its own file, and the last one stays.  A folder
    that cannot be written counts as None, which is a temporary one.
    """
    if folder is not None:
        try:
            return _made(folder / FOLDER / f"{key}.onnx", make)
        except OSError:
            pass
    return _made(_own_folder() / f"{key}.onnx", make)


def _made(place: Path, make: Callable[[Path], None]) -> Path:
    if place.is_file():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.stem}.{uuid4().hex[:8]}.tmp")
    try:
        make(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return place


@cache
def _own_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="featx-graphs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
