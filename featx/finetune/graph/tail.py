"""The nodes between a value and the output of a graph, and what else they read."""

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import NodeProto

from featx.backbone.graphs.graph import Graph, reads
from featx.finetune.graph.flow import OF_SHAPE
from featx.finetune.graph.shapes import Shape, size_nodes, wanted_sizes


@dataclass(frozen=True)
class Tail:
    """Nodes in an order in which they run, and the inputs of the graph that they read."""

    nodes: list[NodeProto]
    inputs: tuple[str, ...]


def nodes_before(graph: Graph, value: str, *, behind: str = "") -> list[NodeProto]:
    """Return the nodes that a value needs, in order; not those before `behind`, if that is given.

    Parameters
    ----------
    graph : Graph
        Whose nodes can run in their order.
    value : str
    behind : str
    """
    needed = {value}
    found: list[NodeProto] = []
    for node in reversed(graph.nodes):
        made = [name for name in node.output if name in needed and name != behind]
        if made:
            found.append(node)
            needed.update(reads(node))
    return found[::-1]


def tail_of(graph: Graph, value: str, shape: Shape, input_shapes: Mapping[str, Shape]) -> Tail:
    """Return the nodes from a value to the output, which ask it for sizes, not the inputs.

    Parameters
    ----------
    graph : Graph
        Gets constants that the nodes read.
    value : str
        Where the tail starts.
    shape : Shape
        Of `value`.
    input_shapes : mapping of str to Shape
        Of the graph's inputs.
    """
    inner = nodes_before(graph, graph.model.graph.output[0].name, behind=value)
    read = {name for node in inner if node.op_type not in OF_SHAPE for name in reads(node)}
    sources = {value: shape} | {name: input_shapes[name] for name in graph.inputs if name in read}
    nodes: dict[tuple[str, ...], NodeProto] = {}
    for node in inner:
        made = None
        if node.op_type == "Shape" and node.input[0] in graph.inputs:
            made = size_nodes(graph, node, wanted_sizes(node, input_shapes), sources)
        nodes.update({tuple(each.output): each for each in made or [node]})
    found = list(nodes.values())
    used = {name for node in found for name in reads(node)}
    return Tail(found, tuple(name for name in graph.inputs if name in used))
