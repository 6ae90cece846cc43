"""Pooling and scaling to unit length inside the graph, so that a device returns (N, D)."""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from featx.backbone.graphs.graph import Graph
from featx.zoo.manifest import Pooling

EMBEDDING = "featx/embedding"

TINY = np.float32(1e-30)
"""Zero vectors are divided by this and stay zero."""


def append_embedding(
    graph: Graph, output: str, *, pooling: Pooling, mask: str, normalize: bool
) -> None:
    """Make `EMBEDDING`, (B, D) in float32, the only output.

    Parameters
    ----------
    graph : Graph
        Changed in place.
    output : str
        The present output: (B, T, D), or (B, D) if `pooling` is ``"none"``.
    pooling : {"none", "mean", "cls", "last_token"}
    mask : str
        Name of the input that is 1 for tokens and 0 for padding on the right.
    normalize : bool
        Whether to scale the rows to unit length.
    """
    tokens = f"{EMBEDDING}/tokens"
    pooled = tokens if pooling == "none" else f"{EMBEDDING}/pooled"
    nodes = [_cast(output, tokens, TensorProto.FLOAT)]
    if pooling == "cls":
        first = graph.add_constant(f"{EMBEDDING}/first", np.array(0, dtype=np.int64))
        nodes.append(helper.make_node("Gather", [tokens, first], [pooled], axis=1))
    elif pooling == "mean":
        nodes += _mean(graph, tokens, mask, pooled)
    elif pooling == "last_token":
        nodes += _last(graph, tokens, mask, pooled)
    if normalize:
        nodes += _unit(graph, pooled)
    nodes.append(helper.make_node("Identity", [nodes[-1].output[0]], [EMBEDDING]))
    graph.set_nodes([*graph.nodes, *nodes])
    del graph.model.graph.output[:]
    graph.model.graph.output.append(
        helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["rows", "columns"])
    )


def _unit(graph: Graph, pooled: str) -> list[NodeProto]:
    length, safe, unit = (f"{EMBEDDING}/{name}" for name in ("length", "safe", "unit"))
    axis = graph.add_constant(f"{EMBEDDING}/axis", np.array([1], dtype=np.int64))
    tiny = graph.add_constant(f"{EMBEDDING}/tiny", np.array(TINY))
    if graph.opset >= 18:
        norm = helper.make_node("ReduceL2", [pooled, axis], [length], keepdims=1)
    else:
        norm = helper.make_node("ReduceL2", [pooled], [length], keepdims=1, axes=[1])
    return [
        norm,
        helper.make_node("Max", [length, tiny], [safe]),
        helper.make_node("Div", [pooled, safe], [unit]),
    ]


def _mean(graph: Graph, tokens: str, mask: str, pooled: str) -> list[NodeProto]:
    """Weigh the tokens by the mask in one product, (B, 1, T) x (B, T, D)."""
    weights, row, total, count, safe = (
        f"{EMBEDDING}/{name}" for name in ("weights", "row", "total", "count", "safe_count")
    )
    axis = graph.add_constant(f"{EMBEDDING}/axis", np.array([1], dtype=np.int64))
    one = graph.add_constant(f"{EMBEDDING}/one", np.array(1, dtype=np.float32))
    return [
        _cast(mask, weights, TensorProto.FLOAT),
        helper.make_node("Unsqueeze", [weights, axis], [row]),
        helper.make_node("MatMul", [row, tokens], [f"{total}/row"]),
        helper.make_node("Squeeze", [f"{total}/row", axis], [total]),
        helper.make_node("ReduceSum", [weights, axis], [count], keepdims=1),
        helper.make_node("Max", [count, one], [safe]),
        helper.make_node("Div", [total, safe], [pooled]),
    ]


def _last(graph: Graph, tokens: str, mask: str, pooled: str) -> list[NodeProto]:
    whole, count, last, safe = (
        f"{EMBEDDING}/{name}" for name in ("whole", "count", "last", "safe_last")
    )
    axis = graph.add_constant(f"{EMBEDDING}/axis", np.array([1], dtype=np.int64))
    one = graph.add_constant(f"{EMBEDDING}/one", np.array(1, dtype=np.int64))
    zero = graph.add_constant(f"{EMBEDDING}/zero", np.array(0, dtype=np.int64))
    return [
        _cast(mask, whole, TensorProto.INT64),
        helper.make_node("ReduceSum", [whole, axis], [count], keepdims=1),
        helper.make_node("Sub", [count, one], [last]),
        helper.make_node("Max", [last, zero], [safe]),
        helper.make_node("GatherND", [tokens, safe], [pooled], batch_dims=1),
    ]


def _cast(source: str, target: str, kind: int) -> NodeProto:
    return helper.make_node("Cast", [source], [target], to=kind)
