"""Attention written as MatMul, Softmax, MatMul becomes one MultiHeadAttention node."""

from dataclasses import dataclass, replace

import numpy as np
from onnx import NodeProto, TensorProto, helper

from featx.backbone.graphs.graph import MICROSOFT, Graph
from featx.backbone.graphs.patterns import attribute, only_reader, unscaled

SPLIT_HEADS = [0, 2, 1, 3]
SPLIT_HEADS_TURNED = [0, 2, 3, 1]
TURNED = [0, 1, 3, 2]
SPLIT_PARTS = [2, 0, 3, 1, 4]
"""Of (B, T, 3, heads, width): queries, keys and values that one linear layer made."""

MASK = "featx/mask"


@dataclass(frozen=True, slots=True)
class Heads:
    """A value of shape (B, T, heads x width) before it is split into heads.

    Attributes
    ----------
    source : str
    width : int
        Of one head.
    scale : float
        What it is multiplied by.
    part : int or None
        Which third of `source` it is, if queries, keys and values lie side by side.
    """

    source: str
    width: int
    scale: float
    part: int | None = None

    @property
    def name(self) -> str:
        """Name of the value itself."""
        return self.source if self.part is None else f"{self.source}/part{self.part}"


@dataclass(frozen=True, slots=True)
class Attention:
    """One attention that was found: nodes that end in `result`, and what they read."""

    query: Heads
    key: Heads
    value: Heads
    bias: str
    heads: int
    scale: float
    last: NodeProto


def fuse_attention(graph: Graph, *, mask: str = "") -> int:
    """Replace every attention by one node and return how many there were.

    Parameters
    ----------
    graph : Graph
        Changed in place.
    mask : str
        Name of the (B, T) input that is 1 for tokens and 0 for padding.  It then takes the place
        of whatever was added to the similarities; whether that is the same must be checked on
        numbers.  Empty: what was added stays.
    """
    found = [match for node in list(graph.nodes) if (match := find_attention(graph, node))]
    masked = any(match.bias for match in found) and bool(mask)
    before = [_cast(mask)] if masked else []
    for match in found:
        made = [*before, *_thirds(graph, match), _fused(match, MASK if masked else "")]
        before = []
        graph.replace([_maker(graph, match)], made, at=_maker(graph, match))
    if found:
        graph.use_microsoft()
        graph.prune()
    return len(found)


def find_attention(graph: Graph, softmax: NodeProto) -> Attention | None:
    """Return the attention around a Softmax, or None if there is none of the known form."""
    if softmax.op_type != "Softmax" or attribute(softmax, "axis", -1) not in {-1, 3}:
        return None
    mixed = only_reader(graph, softmax, "MatMul")
    joined = only_reader(graph, mixed, "Transpose")
    last = only_reader(graph, joined, "Reshape")
    if mixed is None or last is None or not _is_transpose(joined, SPLIT_HEADS):
        return None
    value = _split(graph, mixed.input[1], turned=False)
    product, bias, scale = _similarities(graph, softmax.input[0])
    if product is None or value is None:
        return None
    query = _split(graph, product.input[0], turned=False)
    key = _split(graph, product.input[1], turned=True)
    if query is None or key is None or value.scale != 1:
        return None
    heads = _head_count(graph, query, key, value)
    total = scale * query.scale * key.scale
    return Attention(query, key, value, bias, heads, total, last) if heads else None


def _head_count(graph: Graph, query: Heads, key: Heads, value: Heads) -> int:
    """Return the number of heads, or 0 if the three do not fit together."""
    if len({each.part is None for each in (query, key, value)}) > 1:
        return 0
    width = _value_width(graph, query.source) // (1 if query.part is None else 3)
    return 0 if width % query.width else width // query.width


def _thirds(graph: Graph, match: Attention) -> list[NodeProto]:
    """Return the node that cuts queries, keys and values apart, if they lie side by side."""
    query = match.query
    if query.part is None:
        return []
    names = [replace(query, part=part).name for part in range(3)]
    widths = np.full(3, match.heads * query.width, dtype=np.int64)
    sizes = graph.add_constant(f"{query.source}/thirds", widths)
    return [helper.make_node("Split", [query.source, sizes], names, axis=2)]


def _fused(match: Attention, mask: str) -> NodeProto:
    inputs = [match.query.name, match.key.name, match.value.name]
    if mask and match.bias:
        inputs += ["", mask]
    elif match.bias:
        inputs += ["", "", match.bias]
    return helper.make_node(
        "MultiHeadAttention",
        inputs,
        [match.last.output[0]],
        name=f"{match.last.output[0]}/attention",
        domain=MICROSOFT,
        num_heads=match.heads,
        scale=match.scale,
    )


def _maker(graph: Graph, match: Attention) -> NodeProto:
    node = graph.maker(match.last.output[0])
    assert node is not None
    return node


def _cast(mask: str) -> NodeProto:
    return helper.make_node("Cast", [mask], [MASK], name=MASK, to=TensorProto.INT32)


def _similarities(graph: Graph, name: str) -> tuple[NodeProto | None, str, float]:
    """Return the product of queries and keys, what is added to it, and its scale."""
    node = graph.maker(name)
    if node is not None and node.op_type == "Add":
        for place in (0, 1):
            product, scale = _made(graph, node.input[place])
            if _is_product(graph, product):
                return product, node.input[1 - place], scale
    product, scale = _made(graph, name)
    return (product, "", scale) if _is_product(graph, product) else (None, "", 1.0)


def _made(graph: Graph, name: str) -> tuple[NodeProto | None, float]:
    """Return what made a value, before it was multiplied by so much."""
    source, scale = unscaled(graph, name)
    return graph.maker(source), scale


def _is_product(graph: Graph, node: NodeProto | None) -> bool:
    return node is not None and node.op_type == "MatMul" and graph.weights(node) is None


def _split(graph: Graph, name: str, *, turned: bool) -> Heads | None:
    """Return what was split into heads, and for keys (`turned`) transposed as well."""
    node, scale = _made(graph, name)
    perms = [SPLIT_HEADS_TURNED] if turned else [SPLIT_HEADS]
    if turned and node is not None and _is_transpose(node, TURNED):
        node, inner = _made(graph, node.input[0])
        scale, perms = scale * inner, [SPLIT_HEADS]
    if node is not None and perms == [SPLIT_HEADS] and node.op_type in {"Gather", "Squeeze"}:
        return _third(graph, node, scale)
    if node is None or not any(_is_transpose(node, perm) for perm in perms):
        return None
    return _reshaped(graph, node, scale, rank=4)


def _third(graph: Graph, node: NodeProto, scale: float) -> Heads | None:
    """Return one of queries, keys and values that were split off the first axis."""
    split = graph.maker(node.input[0]) if node.op_type == "Squeeze" else node
    if split is None or split.op_type not in {"Gather", "Split"} or attribute(split, "axis", 0):
        return None
    if split.op_type == "Split":
        part = list(split.output).index(node.input[0])
    else:
        number = graph.constant(split.input[1])
        part = -1 if number is None or number.size != 1 else int(number.item())
    turned = graph.maker(split.input[0])
    if turned is None or part not in range(3) or not _is_transpose(turned, SPLIT_PARTS):
        return None
    whole = _reshaped(graph, turned, scale, rank=5)
    return None if whole is None else replace(whole, part=part)


def _reshaped(graph: Graph, node: NodeProto, scale: float, *, rank: int) -> Heads | None:
    """Return what was reshaped to heads before `node` moved their axes."""
    reshape = graph.maker(node.input[0])
    if reshape is None or reshape.op_type != "Reshape":
        return None
    width = _last_size(graph, reshape.input[1], rank)
    return Heads(reshape.input[0], width, scale) if width > 0 else None


def _is_transpose(node: NodeProto | None, perm: list[int]) -> bool:
    return node is not None and node.op_type == "Transpose" and attribute(node, "perm", []) == perm


def _last_size(graph: Graph, shape: str, rank: int) -> int:
    """Return the last number of a shape of so many, or 0 if it is not constant."""
    sizes = graph.constant(shape)
    if sizes is not None:
        return int(sizes[-1]) if sizes.size == rank else 0
    node = graph.maker(shape)
    if node is None or node.op_type != "Concat":
        return 0
    end = graph.constant(node.input[-1])
    return int(np.ravel(end)[-1]) if end is not None else 0


def _value_width(graph: Graph, name: str) -> int:
    """Return the size of the last axis of a linear layer's output, or 0 if it is none."""
    node = graph.maker(name)
    while node is not None and node.op_type == "Add":
        constants = [graph.constant(item) for item in node.input]
        if (constants[0] is None) == (constants[1] is None):
            return 0
        node = graph.maker(node.input[0 if constants[0] is None else 1])
    weights = None if node is None else graph.weights(node)
    return 0 if weights is None else weights.shape[1]
