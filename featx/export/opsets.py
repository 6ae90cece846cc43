"""Versions of operators: a graph is raised to the one that what is joined to it needs."""

from onnx import ModelProto, helper

from featx.backbone.graphs.graph import Graph
from featx.errors import InputError
from featx.modality.content import first_line

LEAST = 13
"""What is put behind a backbone needs operators of this version."""

OWN = 18
"""Of a graph that is made from nothing."""

LEAST_IR = 8

MOST_BYTES = 2**31 - 1
"""The converter takes a whole model as one message."""


def require_opset(graph: Graph, domain: str, version: int) -> None:
    """Have a graph know operators of a domain in this version or, of ONNX's own, a later one.

    Raises
    ------
    InputError
        If its own operators cannot be raised to it.
    """
    if domain in {"", "ai.onnx"}:
        if graph.opset < version:
            _raise(graph, version)
        return
    known = {item.domain: item for item in graph.model.opset_import}
    if domain not in known:
        graph.model.opset_import.append(helper.make_opsetid(domain, version))
    elif known[domain].version < version:
        known[domain].version = version


def _raise(graph: Graph, version: int) -> None:
    from onnx.version_converter import convert_version

    try:
        converted: ModelProto = convert_version(graph.model, version)
    except Exception as cause:  # the converter is C++ and raises what it likes
        reason = first_line(cause)[:200]
        message = f"backbone: opset {graph.opset} cannot be raised to {version}: {reason}"
        raise InputError(message) from cause
    graph.model.CopyFrom(converted)
    graph.set_nodes(graph.nodes)
