"""Embeddings that lie in memory, in the place of an embedding set."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MemorySet:
    """Embeddings as training, scoring, adapting and inspecting read them.

    Attributes
    ----------
    X : ndarray of float32, shape (N, D)
    y : ndarray of object, shape (N,)
    """

    X: NDArray[np.float32]
    y: NDArray[np.object_]
    fingerprint: str = "bench"
    space: str = "bench"
    model: str = "identity"
    modality: str = "array"

    @property
    def dim(self) -> int:
        return int(self.X.shape[1])

    @property
    def items(self) -> pa.Table:
        none = pa.nulls(len(self.X), pa.string())
        return pa.table({"split": none, "digest": none})
