"""Whether a graph quantises with one scale for a whole batch."""

from functools import lru_cache
from pathlib import Path

import onnx

from featx.errors import InputError

BATCH_SCALED = frozenset(
    {"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "QAttention"}
)
"""Operators that take a scale from all rows that they are given."""


def depends_on_neighbours(path: Path) -> bool:
    """Return whether a row of a batch depends on the others; the weights are not read.

    Raises
    ------
    InputError
        If the file is no ONNX graph.
    """
    from google.protobuf.message import DecodeError

    try:
        return _depends(path, path.stat().st_mtime_ns, path.stat().st_size)
    except (OSError, DecodeError) as cause:
        message = f"{path}: not an ONNX graph: {cause}"
        raise InputError(message) from cause


@lru_cache(maxsize=64)
def _depends(path: Path, mtime_ns: int, size_bytes: int) -> bool:
    del mtime_ns, size_bytes  # of the key, so that a file that changed is read again
    model = onnx.load(path, load_external_data=False)
    return _holds(model.graph) or any(
        node.op_type in BATCH_SCALED for function in model.functions for node in function.node
    )


def _holds(graph: onnx.GraphProto) -> bool:
    for node in graph.node:
        if node.op_type in BATCH_SCALED:
            return True
        for attribute in node.attribute:
            if any(_holds(inner) for inner in (attribute.g, *attribute.graphs)):
                return True
    return False
