"""What flows where in a graph: which layers a value depends on, and which depend on it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from featx.backbone.graphs.graph import Graph, reads

OF_SHAPE = frozenset({"Shape", "Size"})
"""Operators that read the shape of a value, not its numbers."""

WEIGHTED = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Einsum": (0, 1),
    "GRU": (1, 2),
    "Gather": (0,),
    "Gemm": (0, 1),
    "LSTM": (1, 2),
    "MatMul": (0, 1),
    "RNN": (1, 2),
}
"""Operator → inputs, of which one is a matrix of weights if the node is a layer."""


@dataclass(frozen=True)
class Flow:
    """Nodes in the order in which they run, with sets of layers as bits of whole numbers.

    Attributes
    ----------
    nodes : sequence of NodeProto
    layers : dict of int to int
        Position of each node with a matrix of weights that numbers of the inputs flow through
        → its bit.
    before : list of int
        Layers that each node needs, itself included.
    behind : list of int
        Layers that the numbers of each node flow into.
    within : list of int
        Layers all of whose ways to the output lead through each node: those it post-dominates.
    """

    nodes: Sequence[NodeProto]
    layers: dict[int, int]
    before: list[int]
    behind: list[int]
    within: list[int]

    @property
    def all(self) -> int:
        """Every layer."""
        return (1 << len(self.layers)) - 1

    def divides(self, position: int) -> bool:
        """Return whether every layer is either needed by a node, or fed by nothing else.

        A value that does is one that a graph can be cut at: no layer is needed on both sides.
        """
        before, behind = self.before[position], self.behind[position]
        has_both = bool(before) and bool(behind)
        return has_both and before | behind == self.all and self.within[position] == before


def flow_of(graph: Graph) -> Flow:
    """Return what flows where in a graph with one output, whose nodes can run in their order."""
    nodes = list(graph.nodes)
    makers = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    sources = [sorted({makers[name] for name in reads(node) if name in makers}) for node in nodes]
    fed = _fed(graph, nodes)
    weights = {each.name: each for each in graph.model.graph.initializer}
    weighted = [i for i, node in enumerate(nodes) if fed[i] and _is_layer(node, weights)]
    layers = {position: 1 << number for number, position in enumerate(weighted)}
    before: list[int] = []
    for i, read in enumerate(sources):
        bits = layers.get(i, 0)
        for source in read:
            bits |= before[source]
        before.append(bits)
    behind = [0] * len(nodes)
    for i in reversed(range(len(nodes))):
        if nodes[i].op_type not in OF_SHAPE:
            for source in sources[i]:
                behind[source] |= behind[i] | layers.get(i, 0)
    return Flow(nodes, layers, before, behind, _within(graph, sources, layers))


def _is_layer(node: NodeProto, weights: Mapping[str, TensorProto]) -> bool:
    """Return whether a node has a matrix of weights, or is a branch or a loop."""
    if any(each.HasField("g") or each.graphs for each in node.attribute):
        return True
    places = [place for place in WEIGHTED.get(node.op_type, ()) if place < len(node.input)]
    return any(_is_matrix(weights.get(node.input[place])) for place in places)


def _is_matrix(tensor: TensorProto | None) -> bool:
    """Return whether an initializer holds float32 numbers along two axes or more."""
    return tensor is not None and tensor.data_type == TensorProto.FLOAT and len(tensor.dims) > 1


def _fed(graph: Graph, nodes: Sequence[NodeProto]) -> list[bool]:
    """Return which nodes depend on the numbers of an input, not only on its shape."""
    values = set(graph.inputs)
    found = []
    for node in nodes:
        is_fed = node.op_type not in OF_SHAPE and any(name in values for name in reads(node))
        found.append(is_fed)
        values.update(node.output if is_fed else [])
    return found


def _within(graph: Graph, sources: Sequence[Sequence[int]], layers: dict[int, int]) -> list[int]:
    """Return the layers that each node post-dominates.

    Cooper, Harvey & Kennedy 2001, "A simple, fast dominance algorithm"; without loops one pass
    is enough.  The output's own node is the root, and every node leads to it.
    """
    count = len(sources)
    last = next(
        i for i in range(count) if graph.model.graph.output[0].name in graph.nodes[i].output
    )
    parent = [-1] * count
    for i in reversed(range(count)):
        for source in sources[i]:
            known = parent[source]
            parent[source] = i if known < 0 else _meet(parent, known, i)
    parent[last] = count
    found = [layers.get(i, 0) for i in range(count)]
    for i in range(count):
        if 0 <= parent[i] < count:
            found[parent[i]] |= found[i]
    return found


def _meet(parent: Sequence[int], left: int, right: int) -> int:
    """Return the first node that all ways from two nodes lead through."""
    while left != right:
        if left < right:
            left = parent[left]
        else:
            right = parent[right]
    return left
