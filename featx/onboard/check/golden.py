"""Golden vectors of a backbone that is being added, as `featx.backbone.golden` reads them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featx.modality.content import npy_bytes
from featx.types import Content, Vectors


def write_golden(path: Path, items: Sequence[Content], vectors: Vectors) -> None:
    """Write items and vectors, shape (N, D): texts as ``items``, others as bytes ``item_<i>``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) == len(items):
        np.savez_compressed(path, vectors=vectors, items=np.array(texts))
        return
    raws = {f"item_{i}": np.frombuffer(_raw(item), np.uint8) for i, item in enumerate(items)}
    np.savez_compressed(path, allow_pickle=False, vectors=vectors, **raws)


def _raw(item: Content) -> bytes:
    if isinstance(item, np.ndarray):
        return npy_bytes(item)
    assert isinstance(item, bytes)
    return item
