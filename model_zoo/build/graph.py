"""What every exported graph goes through before it is written."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

MATRIX_MIN_ELEMENTS = 4096  # smaller tensors (biases, norms) stay float32: they save nothing
INT16_LARGEST = 32767


def tidy(model: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what is not computed with: source paths, versions and inferred shapes."""
    for holder in (model, model.graph, *model.graph.node, *model.graph.initializer):
        holder.doc_string = ""
        holder.ClearField("metadata_props")
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = ""
        value.ClearField("metadata_props")
    model.graph.ClearField("value_info")
    model.graph.name = "backbone"
    model.producer_name = "featx"
    model.producer_version = ""
    return model


def scales(tensor: onnx.TensorProto, model: onnx.ModelProto, largest: int) -> np.ndarray:
    """Return a factor for each row of a lookup table, or each output column of a matrix."""
    looked_up = any(
        node.op_type == "Gather" and node.input[0] == tensor.name for node in model.graph.node
    )
    peak = np.abs(numpy_helper.to_array(tensor)).max(axis=int(looked_up), keepdims=True)
    return np.where(peak > 0, peak / largest, 1).astype(np.float32)


def matrices(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return the weights that are worth storing in fewer bits."""
    return [
        tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and np.prod(tensor.dims) >= MATRIX_MIN_ELEMENTS
    ]


def replace(
    model: onnx.ModelProto, tensor: onnx.TensorProto, parts: dict[str, np.ndarray]
) -> list[str]:
    """Replace a weight by its stored parts, and return their names."""
    model.graph.initializer.remove(tensor)
    names = {key: f"{tensor.name}.{key}" for key in parts}
    model.graph.initializer.extend(
        numpy_helper.from_array(value, names[key]) for key, value in parts.items()
    )
    return list(names.values())


def prepend(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    """Put nodes before all others."""
    nodes = [*nodes, *model.graph.node]
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return model


def store_int16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store matrices as int16 with float32 scales; a runtime folds Cast and Mul while loading."""
    nodes = []
    for tensor in matrices(model):
        scale = scales(tensor, model, INT16_LARGEST)
        whole = np.rint(numpy_helper.to_array(tensor) / scale).astype(np.int16)
        name = tensor.name
        stored = replace(model, tensor, {"int16": whole, "scale": scale})
        nodes += [
            helper.make_node("Cast", stored[:1], [f"{name}.whole"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.whole", stored[1]], [name]),
        ]
    return prepend(model, nodes)


def write(model: onnx.ModelProto, path: Path) -> Path:
    """Check the graph and write it in a stable order of bytes."""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString(deterministic=True))
    return path
