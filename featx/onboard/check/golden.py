"""Golden vectors of a backbone that is being added, as `featx.backbone.golden` reads them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.data.files import explained
from featx.modality.content import npy_bytes
from featx.types import Content, Vectors

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_golden(path: Path, items: Sequence[Content], vectors: Vectors) -> None:
    """Write items and vectors, shape (N, D): texts as ``items``, others as bytes ``item_<i>``.

    Raises
    ------
    StoreError
        If the place cannot be written, or the disk is full.
    """
    texts = [item for item in items if isinstance(item, str)]
    held: dict[str, NDArray[Any]] = {"items": np.array(texts)}
    if len(texts) < len(items):
        held = {f"item_{i}": np.frombuffer(_raw(item), np.uint8) for i, item in enumerate(items)}
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, allow_pickle=False, vectors=vectors, **held)


def _raw(item: Content) -> bytes:
    if isinstance(item, np.ndarray):
        return npy_bytes(item)
    assert isinstance(item, bytes)
    return item
