"""Graphs that cannot be trained, and what to use instead."""

from collections.abc import Iterator, Sequence

from onnx import AttributeProto, NodeProto, defs

from featx.backbone.graphs.graph import Graph
from featx.errors import FeatxError, InputError
from featx.finetune.graph.constants import label
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

QUANTISED = ("Quant", "Integer", "QLinear", "NBits", "Bnb4", "QAttention", "QGemm", "QMoE")
"""What names of operators hold that compute in few bits."""


def refuse_others(manifest: Manifest, graph: Graph) -> None:
    """Raise if a node is none of ONNX's own operators of float32, saying what to do.

    Raises
    ------
    InputError
    """
    for node in _all_nodes(graph.nodes):
        is_quantised = any(part in node.op_type for part in QUANTISED)
        is_known = node.domain in {"", "ai.onnx"} and defs.has(node.op_type, graph.opset, "")
        if is_known and not is_quantised:
            continue
        what = "computes in few bits" if is_quantised else "is none of ONNX's own operators"
        message = (
            f"{manifest.name}: node {label(node)} {what}; only plain float32 graphs can be"
            f" trained; {_instead(manifest)}"
        )
        raise InputError(message)


def _instead(manifest: Manifest) -> str:
    """Return what to do: use another backbone of the same weights, or export one."""
    for name in catalog.names():
        try:
            other = catalog.find(name)
        except FeatxError:
            continue  # `featx models list` tells of it; it is nothing to recommend
        is_same = other.weights == manifest.weights and other.name != manifest.name
        if is_same and other.precision == "fp32" and "graph" in other.files:
            return f"use {name}, which has the same weights"
    return (
        "export the model in float32, neither quantised nor optimised, and add it: featx models add"
    )


def _all_nodes(nodes: Sequence[NodeProto]) -> Iterator[NodeProto]:
    """Yield nodes with those of their subgraphs."""
    for node in nodes:
        yield node
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.type == AttributeProto.GRAPH else attribute.graphs
            for graph in graphs:
                yield from _all_nodes(graph.node)
