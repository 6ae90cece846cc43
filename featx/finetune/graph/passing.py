"""Nodes that only hand on what they read: Identity, and Dropout at rest."""

from collections.abc import Mapping

import numpy as np
from onnx import AttributeProto, NodeProto

from featx.backbone.graphs.graph import Graph


def drop_passing(graph: Graph) -> None:
    """Have readers of an Identity read what it read; the name of the output stays.

    Parameters
    ----------
    graph : Graph
        With one output; changed in place.
    """
    output = graph.model.graph.output[0].name
    origins: dict[str, str] = {}
    for node in graph.nodes:
        if _passes(graph, node):
            origins[node.output[0]] = origins.get(node.input[0], node.input[0])
    names = dict(origins)
    source = names.pop(output, output)
    is_kept = source != output and graph.maker(source) is None
    if source != output and not is_kept:
        names = {alias: output if origin == source else origin for alias, origin in names.items()}
        names[source] = output
    gone = origins.keys() - ({output} if is_kept else set())
    kept = [node for node in graph.nodes if node.output[0] not in gone]
    for node in kept:
        _rename(node, names)
    graph.set_nodes(kept)
    graph.prune()


def _passes(graph: Graph, node: NodeProto) -> bool:
    if node.domain not in {"", "ai.onnx"}:
        return False
    if node.op_type == "Identity":
        return True
    if node.op_type != "Dropout" or any(graph.readers(name) for name in node.output[1:]):
        return False
    training = graph.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    is_fixed = len(node.input) <= 2 or not node.input[2] or training is not None
    return is_fixed and not np.any(training)


def _rename(node: NodeProto, names: Mapping[str, str]) -> None:
    """Rename what a node reads and makes, in its subgraphs too."""
    for fields in (node.input, node.output):
        for place, name in enumerate(fields):
            fields[place] = names.get(name, name)
    for attribute in node.attribute:
        graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
        for inner in (each for graph in graphs for each in graph.node):
            _rename(inner, names)
