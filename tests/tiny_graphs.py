"""Small ONNX graphs, and backbones made of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from featx.fingerprint import file_sha256
from featx.zoo.manifest import ArrayOptions, FileEntry, Manifest

Sizes = Sequence[int | str | None]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> NodeProto:  # noqa: ANN401
    """Return a node; names are separated by spaces, and ``com.microsoft`` is written ``ms.``."""
    name = operator.removeprefix("ms.")
    domain = "com.microsoft" if name != operator else ""
    read, made = ([each.strip("-") for each in names.split()] for names in (inputs, outputs))
    return helper.make_node(name, read, made, name=made[0], domain=domain, **attributes)


def model_of(
    nodes: Sequence[NodeProto],
    weights: Mapping[str, NDArray[Any]],
    *,
    shape: Sizes = ("n", 4),
    output: str = "y",
    opset: int = 17,
) -> ModelProto:
    """Return a model that reads `x`."""
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def tiny_manifest(
    folder: Path, model: ModelProto, *, dim: int, shape: tuple[int, ...] = (4,), name: str = "tiny"
) -> Manifest:
    """Save a model and return the manifest of a backbone of arrays."""
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return manifest_of(path, dim=dim, shape=shape)


def manifest_of(path: Path, *, dim: int, shape: tuple[int, ...] = (4,)) -> Manifest:
    """Return the manifest of a backbone of arrays whose graph lies there."""
    size = path.stat().st_size
    return Manifest(
        schema=1,
        name=path.stem,
        modality="array",
        summary="a small graph",
        license="none",
        source="a test",
        weights="test/tiny",
        dim=dim,
        pooling="none",
        normalize=False,
        files={"graph": FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=size)},
        inputs={"array": "x"},
        outputs={"embedding": "y"},
        array=ArrayOptions(shape=shape),
        folder=path.parent,
    )
