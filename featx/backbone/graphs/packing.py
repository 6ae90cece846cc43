"""Packed batches: padding is removed after the embeddings and put back at the end.

What lies between works on (tokens, hidden) instead of (batch, longest, hidden), so a short text
beside a long one costs nothing.  The nodes exist on CUDA only.
"""

import numpy as np
from onnx import NodeProto, helper

from featx.backbone.graphs.attention import MASK
from featx.backbone.graphs.graph import MICROSOFT, Graph

BY_TOKEN = frozenset(
    {"MatMul", "Add", "Sub", "Mul", "Div", "Erf", "Tanh", "Sqrt", "Pow", "Sigmoid", "Relu", "Gelu"}
    | {"BiasGelu", "Cast", "Identity", "LayerNormalization", "MultiHeadAttention"}
    | {"SkipLayerNormalization"}
)
"""Operators that treat each token by itself, and attention, which has a packed form."""

PACKED = "featx/packed"


def pack(graph: Graph, output: str) -> bool:
    """Pack a graph whose attention is fused; return whether its form allows it.

    Parameters
    ----------
    graph : Graph
        Changed in place if True is returned.
    output : str
        The (B, T, D) output.
    """
    attentions = [node for node in graph.nodes if node.op_type == "MultiHeadAttention"]
    if not attentions or any(list(node.input[3:]) != ["", MASK] for node in attentions):
        return False
    tokens = _source(graph, attentions[0].input[0])
    inside = _between(graph, tokens, output)
    if not inside or not all(_is_by_token(node) for node in inside):
        return False
    _rewire(graph, tokens, output, inside)
    return True


def _is_by_token(node: NodeProto) -> bool:
    """Return whether a node treats each token by itself; layers may be joined side by side."""
    joins = [each.i for each in node.attribute if each.name == "axis"] == [-1]
    return node.op_type in BY_TOKEN or (node.op_type == "Concat" and joins)


def _source(graph: Graph, name: str) -> str:
    """Return what the linear layer that made `name` was given."""
    node = graph.maker(name)
    while node is not None and node.op_type in {"Add", "Cast"}:
        inputs = [item for item in node.input if graph.constant(item) is None]
        name = inputs[0]
        node = graph.maker(name)
    return str(node.input[0]) if node is not None and node.op_type == "MatMul" else name


def _between(graph: Graph, start: str, end: str) -> list[NodeProto]:
    """Return the nodes on the ways from `start` to `end`; none if a way goes round `start`."""
    dependent = {start}
    nodes = []
    for node in graph.nodes:
        if any(item in dependent for item in node.input):
            nodes.append(node)
            dependent.update(name for name in node.output if name)
    strangers = [
        item
        for node in nodes
        for item in node.input
        if item not in dependent and item not in {"", MASK} and graph.constant(item) is None
    ]
    return nodes if end in dependent and not strangers else []


def _rewire(graph: Graph, tokens: str, output: str, inside: list[NodeProto]) -> None:
    names = {name: f"{PACKED}/{name}" for node in inside for name in node.output if name}
    names[tokens] = f"{PACKED}/{tokens}"
    offset, starts = f"{PACKED}/offset", f"{PACKED}/starts"
    rewired = [_packed(node, names, offset, starts) for node in inside]
    inner = {id(node) for node in inside}
    before = [node for node in graph.nodes if id(node) not in inner]
    restore = helper.make_node(
        "RestorePadding", [names[output], offset], [output], domain=MICROSOFT
    )
    graph.set_nodes([*before, *_remove(graph, tokens, names, offset, starts), *rewired, restore])
    graph.use_microsoft()
    graph.prune()


def _remove(
    graph: Graph, tokens: str, names: dict[str, str], offset: str, starts: str
) -> list[NodeProto]:
    axis = graph.add_constant(f"{PACKED}/axis", np.array([1], dtype=np.int64))
    count = f"{PACKED}/count"
    outputs = [names[tokens], offset, starts, f"{PACKED}/longest"]
    return [
        helper.make_node("ReduceSum", [MASK, axis], [count], keepdims=0),
        helper.make_node("RemovePadding", [tokens, count], outputs, domain=MICROSOFT),
    ]


def _packed(node: NodeProto, names: dict[str, str], offset: str, starts: str) -> NodeProto:
    inputs = [names.get(item, item) for item in node.input]
    outputs = [names.get(item, item) for item in node.output]
    operator, domain = node.op_type, node.domain
    if operator == "MultiHeadAttention":
        operator, inputs = "PackedMultiHeadAttention", [*inputs[:3], "", offset, starts]
    made = helper.make_node(operator, inputs, outputs, name=f"{PACKED}/{node.name}", domain=domain)
    made.attribute.extend(node.attribute)
    return made
