"""A small backbone that can be tuned, and items that only a tuned one tells apart."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.fingerprint import file_sha256
from featx.zoo.manifest import ArrayOptions, FileEntry, Manifest
from featx.zoo.writing import write_manifest

WIDTHS = (4, 32, 32, 6)
"""Of the layers: what they take, and what the last one gives."""


def layers() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return weights and biases drawn at random."""
    rng = np.random.default_rng(0)
    return [
        (
            rng.normal(0, np.sqrt(2 / wide), (wide, narrow)).astype(np.float32),
            rng.normal(0, 0.1, narrow).astype(np.float32),
        )
        for wide, narrow in pairwise(WIDTHS)
    ]


def before_last(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the last layer takes, by NumPy."""
    for W, b in layers()[:2]:
        X = np.maximum(X @ W + b, 0)
    return X


def forward(X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the backbone gives, by NumPy."""
    W, b = layers()[2]
    return np.asarray(before_last(X) @ W + b)


def save_graph(path: Path) -> None:
    """Write three layers, the first two with a ReLU."""
    nodes, weights, value = [], [], "x"
    for number, (W, b) in enumerate(layers(), start=1):
        names = f"W{number}", f"b{number}"
        weights += [numpy_helper.from_array(W, names[0]), numpy_helper.from_array(b, names[1])]
        nodes.append(helper.make_node("Gemm", [value, *names], [f"sum{number}"]))
        value = f"sum{number}"
        if number < 3:
            nodes.append(helper.make_node("Relu", [value], [f"layer{number}"]))
            value = f"layer{number}"
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", WIDTHS[0]])
    y = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", WIDTHS[-1]])
    graph = helper.make_graph(nodes, "three-layers", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)


def tunable(folder: Path, *, normalize: bool = False) -> Path:
    """Write the backbone and return its manifest's path."""
    save_graph(folder / "layers.onnx")
    return describe(folder, normalize=normalize)


def describe(folder: Path, *, normalize: bool = False) -> Path:
    """Write the manifest of the graph that is there."""
    graph = folder / "layers.onnx"
    entry = FileEntry(path=graph.name, sha256=file_sha256(graph), size_bytes=graph.stat().st_size)
    manifest = Manifest(
        schema=1,
        name="layers",
        modality="array",
        summary="three layers",
        license="CC0-1.0",
        source="a test",
        weights="test/layers",
        dim=WIDTHS[-1],
        pooling="none",
        normalize=normalize,
        files={"graph": entry},
        inputs={"array": "x"},
        outputs={"embedding": "sum3"},
        array=ArrayOptions(shape=(WIDTHS[0],)),
    )
    write_manifest(folder / "layers.toml", manifest)
    return folder / "layers.toml"


def backbone(manifest: Path) -> Backbone:
    """Open it on the CPU."""
    return Backbone(Manifest.read(manifest), Settings(device="cpu", threads=1))


def items(n: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Return points, and whether the first two of their numbers have the same sign."""
    X = np.random.default_rng(seed).normal(size=(n, WIDTHS[0])).astype(np.float32)
    return X, np.where(X[:, 0] * X[:, 1] > 0, "same", "other")


def save_items(path: Path, n: int, seed: int = 0) -> Path:
    """Write such points as a source."""
    X, y = items(n, seed)
    np.savez(path, X=X, y=y)
    return path
