"""Backbones that see some columns of the items, and items that only some columns tell apart."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.zoo.manifest import Manifest
from featx.zoo.writing import write_manifest
from tiny_graphs import model_of, node, tiny_manifest

WIDTH, CLASSES = 24, 3
"""Columns 0 to 7 tell the classes apart, the others are noise."""


def items(n: int, *, seed: int = 0, spread: float = 1.0) -> tuple[NDArray[np.float32], list[str]]:
    """Return rows, and which of three means their first eight columns lie near."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % CLASSES
    X = rng.normal(size=(n, WIDTH)).astype(np.float32)
    means = np.random.default_rng(99).normal(size=(CLASSES, 8))
    X[:, :8] = means[y] + spread * X[:, :8]
    return X, [f"class {code}" for code in y]


def save_items(path: Path, n: int, *, seed: int = 0, spread: float = 1.0) -> Path:
    """Write such rows as a source."""
    X, y = items(n, seed=seed, spread=spread)
    np.savez(path, X=X, y=np.array(y))
    return path


def seeing(folder: Path, name: str, columns: Sequence[int], *, seed: int = 0) -> Path:
    """Write a backbone that mixes some columns at random, and return its manifest's path."""
    W = np.zeros((WIDTH, len(columns)), np.float32)
    W[list(columns)] = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(columns),) * 2))[0]
    model = model_of([node("MatMul", "x W", "y")], {"W": W}, shape=("n", WIDTH))
    manifest = tiny_manifest(folder, model, dim=len(columns), shape=(WIDTH,), name=name)
    write_manifest(folder / f"{name}.toml", manifest)
    return folder / f"{name}.toml"


def backbone(manifest: Path) -> Backbone:
    """Open one on the CPU."""
    return Backbone(Manifest.read(manifest), Settings(device="cpu", threads=1))
