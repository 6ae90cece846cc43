"""Weights as they are computed with: without the nodes that they are stored behind."""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from featx.backbone.graphs.graph import FOLDED, Graph
from featx.errors import InputError
from featx.modality.content import first_line

BROADCAST = frozenset({"Add", "Sub", "Mul", "Div"})

COMPUTED = FOLDED | BROADCAST | {"Constant", "Identity", "Unsqueeze", "Squeeze", "Neg", "Concat"}
"""Operators whose result is no larger than what they read, unless `_grows` says so."""

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def store_constants(graph: Graph) -> None:
    """Store each value that never changes under its own name, without the nodes that make it.

    Parameters
    ----------
    graph : Graph
        Changed in place.

    Raises
    ------
    InputError
        If such a value cannot be computed, naming the node.
    """
    kept: list[NodeProto] = []
    for node in graph.nodes:
        arrays = [graph.constant(name) for name in node.input if name]
        known = [array for array in arrays if array is not None]
        if _is_computed(node) and len(known) == len(arrays) and not _grows(node, known):
            graph.add_constant(node.output[0], _value(graph, node, known))
        else:
            kept.append(node)
    graph.set_nodes(kept)
    graph.prune()


def widen(model: ModelProto) -> bool:
    """Have a graph compute in float32 where it computed in half precision; return whether it did.

    Parameters
    ----------
    model : ModelProto
        Changed in place; what never changes is stored already.
    """
    halves: list[TensorProto] = [*model.graph.initializer]
    found = False
    for node in model.graph.node:
        for attribute in node.attribute:
            halves += [attribute.t] if attribute.HasField("t") else []
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i in HALVES:
                attribute.i, found = TensorProto.FLOAT, True
    for tensor in halves:
        if tensor.data_type in HALVES:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
            found = True
    for item in model.graph.output:
        if item.type.tensor_type.elem_type in HALVES:
            item.type.tensor_type.elem_type = TensorProto.FLOAT
    return found


def label(node: NodeProto) -> str:
    """Return what a message calls a node: its name, or else what it makes.

    Examples
    --------
    >>> from onnx import helper
    >>> label(helper.make_node("Relu", ["x"], ["y"]))
    "'y' (Relu)"
    """
    operator = f"{node.domain}:{node.op_type}" if node.domain else node.op_type
    return f"{(node.name or node.output[0])!r} ({operator})"


def _is_computed(node: NodeProto) -> bool:
    is_ours = node.domain in {"", "ai.onnx"} or node.op_type == "DequantizeLinear"
    return is_ours and node.op_type in COMPUTED and len(node.output) == 1


def _grows(node: NodeProto, arrays: Sequence[NDArray[Any]]) -> bool:
    """Return whether a small file could hold a value that fills the memory."""
    if node.op_type not in BROADCAST:
        return False
    size = prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    return size > max(array.size for array in arrays)


def _value(graph: Graph, node: NodeProto, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    from onnx.reference import ReferenceEvaluator

    plain = NodeProto()
    plain.CopyFrom(node)
    plain.domain = ""
    opsets = {"": graph.opset}
    names = [name for name in node.input if name]
    try:
        evaluator: Any = ReferenceEvaluator(plain, opsets=opsets)
        (found,) = evaluator.run(None, dict(zip(names, arrays, strict=True)))
    except Exception as cause:  # of any operator's own reference
        message = f"node {label(node)} cannot be computed: {first_line(cause)}"
        raise InputError(message) from cause
    return np.asarray(found)
