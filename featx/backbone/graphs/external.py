"""What a graph file holds, read without its weights, and what it may refer to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from featx.errors import InputError

if TYPE_CHECKING:
    from onnx import GraphProto


def read_safely(path: Path) -> "GraphProto":
    """Return a graph without its external weights, none of which lies outside its folder.

    Raises
    ------
    InputError
        If the file is no ONNX graph, or names such a place.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except (OSError, DecodeError) as cause:
        message = f"{path}: not an ONNX graph: {cause}"
        raise InputError(message) from cause
    folder = path.parent.resolve()
    for location in _locations(graph):
        if not (folder / location).resolve().is_relative_to(folder):
            message = f"{path}: weights at {location!r}, outside its folder; refused"
            raise InputError(message)
    return graph


def holds_half(graph: "GraphProto") -> bool:
    """Return whether a graph has float16 weights."""
    from onnx import TensorProto

    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)


def _locations(graph: "GraphProto") -> Iterator[str]:
    """Yield where tensors lie, those of constants and of subgraphs included."""
    tensors = [*graph.initializer]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for inner in (attribute.g, *attribute.graphs):
                yield from _locations(inner)
    for tensor in tensors:
        for entry in tensor.external_data:
            if entry.key == "location":
                yield entry.value
