"""Loading a graph that is new: what ONNX Runtime refuses is told with what can be done."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbone.backbone import Backbone
from featx.backbone.runtime import Session, runtime_version
from featx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto, NodeProto

STANDARD = {"", "ai.onnx", "ai.onnx.ml"}
"""Domains of operators that every runtime of ONNX has."""

OWN = "com.microsoft"
"""The domain of operators that ONNX Runtime adds."""

OPSET = re.compile(r"Opset (\d+) is under development.*?domain \S+ is till opset (\d+)", re.DOTALL)
VERSION = re.compile(r"IR version: (\d+), max supported IR version: (\d+)")
SHORT = re.compile(r"offset: (\d+) size to read: (\d+) given file_length: (\d+)")
OPERATOR = re.compile(r"Fatal error: ([^\s(]+)\(|No Op registered for (\w+)")


def load(backbone: Backbone) -> Session:
    """Return the backbone's session.

    Raises
    ------
    InputError
        If ONNX Runtime cannot load the graph: it is too new, or needs an operator that ONNX
        Runtime has not.
    """
    try:
        session = backbone.session
    except InputError as cause:
        graph = backbone.manifest.file("graph")
        message = f"{backbone.manifest.name}: {graph.name}: {_reason(cause, graph)}"
        raise InputError(message) from cause
    if session is None:
        message = f"{backbone.manifest.name}: has no graph to check"
        raise InputError(message)
    return session


def additional_operators(path: Path) -> list[str]:
    """Return operators that are no standard ones, as ``domain:Name``, sorted.

    Those that the file itself defines do not count.
    """
    import onnx

    model = onnx.load(path, load_external_data=False)
    inside = {(function.domain, function.name) for function in model.functions}
    nodes = list(_nodes(model.graph))
    nodes += [node for function in model.functions for node in function.node]
    return sorted(
        {
            f"{node.domain}:{node.op_type}"
            for node in nodes
            if node.domain not in STANDARD and (node.domain, node.op_type) not in inside
        }
    )


def _nodes(graph: "GraphProto") -> "Iterator[NodeProto]":
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _reason(error: InputError, path: Path) -> str:
    """Return what is wrong and what to do, of what ONNX Runtime said if it said something."""
    told = str(error.__cause__ or "")
    runtime = f"ONNX Runtime {runtime_version()}"
    if found := OPSET.search(told):
        older = "export it with an older one, or upgrade onnxruntime"
        return f"has opset {found[1]}; {runtime} runs up to {found[2]}; {older}"
    if found := VERSION.search(told):
        older = "export it with an older onnx, or upgrade onnxruntime"
        return f"has IR version {found[1]}; {runtime} runs up to {found[2]}; {older}"
    if found := OPERATOR.search(told):
        return (
            f"needs the operator {found[1] or found[2]}, which {runtime} has not; code of "
            "operators is not loaded; export it with standard ones"
        )
    if found := SHORT.search(told):
        return (
            f"a file of its weights ends at {int(found[3]):,} bytes, and "
            f"{int(found[1]) + int(found[2]):,} are needed; fetch or export it again"
        )
    return str(error).removeprefix(f"{path}: ")
