"""Arrays of a gallery: ``.npy`` files that are mapped, and checked before they are believed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from featx.errors import StoreError


def map_array(path: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a ``.npy`` file, read-only.

    Raises
    ------
    StoreError
        If it is missing or damaged, or of another type or shape.
    """
    try:
        found = np.load(path, mmap_mode="r" if all(shape) else None)
    # A header is a Python expression; one that is damaged raises whatever the parser does.
    except Exception as cause:
        raise StoreError(f"{path.name} is missing or damaged") from cause
    if not isinstance(found, np.ndarray) or found.shape != shape:
        shape_found = getattr(found, "shape", "none")
        raise StoreError(f"{path.name} is damaged: shape {shape_found} instead of {shape}")
    if found.dtype != np.dtype(dtype):
        raise StoreError(f"{path.name} is damaged: {found.dtype} instead of {np.dtype(dtype)}")
    return found.view(np.ndarray)  # its elements are found in half the time of a memmap's
