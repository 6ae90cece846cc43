"""Embedding sets that lie in memory, for tests of what is trained on them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from featx.fingerprint import digest


@dataclass(frozen=True)
class MemorySet:
    """An embedding set that lies in memory."""

    X: NDArray[np.float32]
    y: NDArray[np.object_]
    splits: Sequence[str | None] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    fingerprint: str = "f1"
    space: str = "s1"
    model: str = "relu"
    modality: str = "text"

    @property
    def dim(self) -> int:
        return int(self.X.shape[1])

    @property
    def items(self) -> pa.Table:
        splits = list(self.splits) or [None] * len(self.X)
        digests = self.digests or [digest(row.tobytes()).hex() for row in self.X]
        return pa.table({"split": pa.array(splits, pa.string()), "digest": digests})


def digits(n: int = 400, d: int = 48, seed: int = 0) -> MemorySet:
    pixels, numbers = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(pixels))[:n]
    features = np.maximum(pixels[rows] / 16 @ rng.normal(size=(64, d)), 0)
    return MemorySet(
        features.astype(np.float32), np.array([f"digit {i}" for i in numbers[rows]], dtype=object)
    )


def noise(n: int = 60, d: int = 30, seed: int = 0) -> MemorySet:
    rng = np.random.default_rng(seed)
    labels = np.array(["a", "b"], dtype=object)[np.arange(n) % 2]
    return MemorySet(rng.normal(size=(n, d)).astype(np.float32), labels)
