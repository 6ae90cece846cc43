"""Weights rounded to 16-bit floats, and computed with in 32 bits."""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from featx.backbone.graphs.graph import FOLDED, Graph

LEAST_SIZE = 1024
"""Smaller arrays stay as they are."""

LARGEST = float(np.finfo(np.float16).max)


def store_half(graph: Graph) -> int:
    """Store large float arrays as float16 with a Cast behind, and return how many.

    The runtime folds the Cast when it loads the graph: half the file, the speed of float32.
    """
    casts: list[NodeProto] = []
    for node in list(graph.nodes):
        if node.op_type in FOLDED and graph.constant(node.output[0]) is not None:
            continue
        for place, name in enumerate(node.input):
            if _is_large(graph, name):
                casts += _half(graph, name)
                node.input[place] = f"{name}/rounded"
    graph.set_nodes([*casts, *graph.nodes])
    graph.prune()
    return len(casts)


def _is_large(graph: Graph, name: str) -> bool:
    array = graph.constant(name)
    return (
        array is not None
        and array.dtype == np.float32
        and array.size >= LEAST_SIZE
        and float(np.abs(array).max()) <= LARGEST
    )


def _half(graph: Graph, name: str) -> list[NodeProto]:
    """Return the Cast, or nothing if it was made before."""
    half, rounded = f"{name}/half", f"{name}/rounded"
    if half in {tensor.name for tensor in graph.model.graph.initializer}:
        return []
    array = graph.constant(name)
    assert array is not None
    graph.add_constant(half, array.astype(np.float16))
    return [helper.make_node("Cast", [half], [rounded], to=TensorProto.FLOAT)]
