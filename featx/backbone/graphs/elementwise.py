"""Chains of nodes that each read and write a whole value, which takes most of the time on a GPU.

GELU written with the error function becomes one node, with the bias before it; so does a sum that
a LayerNormalization reads, with the bias of one of its terms.
"""

from dataclasses import dataclass
from math import isclose, prod, sqrt

from onnx import NodeProto, helper

from featx.backbone.graphs.graph import MICROSOFT, Graph
from featx.backbone.graphs.patterns import attribute, only_reader, unscaled


@dataclass(frozen=True, slots=True)
class Biased:
    """A value and the constant row that is added to it; no name where there is none."""

    source: str
    bias: str = ""


def fuse_elementwise(graph: Graph) -> int:
    """Replace every known chain by one node and return how many there were.

    Parameters
    ----------
    graph : Graph
        Changed in place.
    """
    found = 0
    for operator, find in (("Erf", _gelu), ("LayerNormalization", _normalized_sum)):
        for node in [node for node in graph.nodes if node.op_type == operator]:
            if (made := find(graph, node)) is not None:
                old = [graph.maker(name) for name in made.output if name]
                gone = [node for node in old if node is not None]
                graph.replace(gone, [made], at=gone[0])
                found += 1
    if found:
        graph.use_microsoft()
        graph.prune()
    return found


def _gelu(graph: Graph, erf: NodeProto) -> NodeProto | None:
    """Return ``x / 2 * (1 + erf(x / sqrt 2))`` around an Erf as one node, if it is that."""
    source, scale = unscaled(graph, erf.input[0])
    node = only_reader(graph, erf, "Add")
    if node is None or not isclose(scale, sqrt(0.5), rel_tol=1e-5) or not _adds_one(graph, node):
        return None
    factors, sources = list[float](), list[str]()
    while (reader := only_reader(graph, node, "Mul")) is not None:
        other = next((name for name in reader.input if name != node.output[0]), "")
        name, factor = unscaled(graph, other)
        factors.append(factor)
        sources += [name] if name else []
        node = reader
        if sources == [source] and isclose(prod(factors), 0.5, rel_tol=1e-5):
            return _gelu_node(graph, source, node.output[0])
    return None


def _adds_one(graph: Graph, node: NodeProto) -> bool:
    constants = [graph.constant(name) for name in node.input]
    return any(each is not None and each.size == 1 and each.item() == 1 for each in constants)


def _gelu_node(graph: Graph, source: str, output: str) -> NodeProto:
    before = _biased(graph, source)
    operator, inputs = ("BiasGelu", [before.source, before.bias]) if before.bias else ("Gelu", [])
    name = f"{output}/gelu"
    return helper.make_node(operator, inputs or [source], [output], name=name, domain=MICROSOFT)


def _normalized_sum(graph: Graph, norm: NodeProto) -> NodeProto | None:
    """Return a LayerNormalization and the sum that it reads as one node, if it reads one."""
    total = graph.maker(norm.input[0])
    if total is None or total.op_type != "Add" or attribute(norm, "axis", -1) not in {-1, 2}:
        return None
    if any(graph.constant(name) is not None for name in total.input):
        return None
    if len(norm.input) < 3 or len(norm.output) > 1:
        return None
    if not any(_is_linear(graph, name) for name in total.input):  # a row for all, like positions
        return None
    left, right = (_biased(graph, name) for name in total.input)
    source, skip = (left, total.input[1]) if left.bias else (right, total.input[0])
    inputs = [source.source, skip, norm.input[1], norm.input[2], source.bias]
    is_read = len(graph.readers(total.output[0])) > 1
    return helper.make_node(
        "SkipLayerNormalization",
        inputs if source.bias else inputs[:4],
        [norm.output[0], "", "", total.output[0]] if is_read else [norm.output[0]],
        name=f"{norm.output[0]}/sum",
        domain=MICROSOFT,
        epsilon=attribute(norm, "epsilon", 1e-5),
    )


def _is_linear(graph: Graph, name: str) -> bool:
    """Return whether a value is what a linear layer made, a row for each token of each item."""
    node = graph.maker(_biased(graph, name).source)
    if node is not None and node.op_type == "Mul":  # each column scaled
        column = next((n for n in node.input if graph.constant(n) is None), "")
        node = graph.maker(_biased(graph, column).source)
    return node is not None and graph.weights(node) is not None


def _biased(graph: Graph, name: str) -> Biased:
    """Return what a constant row was added to, if that is how a value came to be."""
    node = graph.maker(name)
    if node is None or node.op_type != "Add":
        return Biased(name)
    for place in (0, 1):
        bias = graph.constant(node.input[place])
        if bias is not None and bias.ndim == 1:
            return Biased(node.input[1 - place], node.input[place])
    return Biased(name)
