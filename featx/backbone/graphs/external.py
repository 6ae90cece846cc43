"""What a graph file holds, read without its weights, and what it may refer to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbone.graphs.whole import parts
from featx.errors import InputError

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto


def read_safely(path: Path) -> "GraphProto":
    """Return a graph without its external weights, none of which lies outside its folder.

    Raises
    ------
    InputError
        If the file is no ONNX graph, or names such a place.
    """
    return _read(path).graph


def weight_files(path: Path) -> list[str]:
    """Return the files beside a graph that hold weights of it, relative to its folder.

    Raises
    ------
    InputError
        As `read_safely` does.
    """
    return sorted(set(_locations(_read(path))))


def _read(path: Path) -> "ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except (OSError, DecodeError) as cause:
        message = f"{path}: not an ONNX graph: {cause}"
        raise InputError(message) from cause
    folder = path.parent.resolve()
    for location in _locations(model):
        if Path(location).is_absolute():
            message = f"{path}: weights at {location!r}, an absolute path; refused"
            raise InputError(message)
        if not (folder / location).resolve().is_relative_to(folder):
            message = f"{path}: weights at {location!r}, outside its folder; refused"
            raise InputError(message)
    return model


def holds_half(graph: "GraphProto") -> bool:
    """Return whether a graph has float16 weights."""
    from onnx import TensorProto

    return any(tensor.data_type == TensorProto.FLOAT16 for tensor in graph.initializer)


def _locations(model: "ModelProto") -> Iterator[str]:
    """Yield where tensors lie, those of subgraphs and functions included."""
    from onnx import TensorProto

    for part in parts(model):
        if isinstance(part, TensorProto):
            yield from (entry.value for entry in part.external_data if entry.key == "location")
