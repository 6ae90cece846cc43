"""Where the user-wide cache lies."""

import os
from pathlib import Path


def cache_folder(chosen: str | Path | None = None) -> Path:
    """Return the cache's folder: `chosen`, ``FEATX_CACHE_DIR``, or the user's cache folder."""
    if place := chosen or os.environ.get("FEATX_CACHE_DIR"):
        return Path(place)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featx"
