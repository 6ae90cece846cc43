"""The items of a gallery, as an inspection reads a set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.gallery.held import BLOCK_ROWS, Held
from featx.gallery.items import ItemFacts
from featx.types import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class GallerySet:
    """The items that can be found in a gallery, as a labelled set.

    Attributes
    ----------
    path : Path
        Of the gallery.
    X : ndarray of float32, shape (N, D)
        A copy.
    y : ndarray of object, shape (N,)
    items : Table
        ``id``, ``uri``, ``label``, ``split``, ``digest`` (null) and ``preview``.
    fingerprint, space, model, modality : str
    """

    path: Path
    X: Vectors
    y: NDArray[np.object_]
    items: pa.Table
    fingerprint: str
    space: str
    model: str
    modality: str

    @property
    def dim(self) -> int:
        """Width of a vector."""
        return int(self.X.shape[1])

    @classmethod
    def of(cls, held: Held) -> Self:
        """Copy what a gallery holds."""
        facts, items = held.facts, list[tuple[str, ItemFacts]]()
        X = np.empty((len(held), held.dim), np.float32)
        for block in held.blocks(BLOCK_ROWS):
            rows = slice(len(items), len(items) + len(block.rows))
            if rows.stop > len(X):  # others have inserted rows in SQL
                X = np.concatenate((X[: rows.start], np.empty_like(block.X)))
            X[rows] = block.X
            items += block.items
        columns = {
            "id": [item_id for item_id, _ in items],
            **{
                name: [getattr(each, name) for _, each in items]
                for name in ("uri", "label", "split", "preview")
            },
            "digest": [None] * len(items),
        }
        table = pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})
        return cls(
            path=held.path,
            X=X[: len(items)],
            y=np.array(columns["label"], dtype=object),
            items=table,
            fingerprint=facts["fingerprint"],
            space=facts["space"],
            model=facts["model"],
            modality=facts["modality"],
        )
