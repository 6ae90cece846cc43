"""Graphs side by side in one, in which what they have in common is computed once.

A value is known by a digest of how it is computed: an input by its role, a constant by its
numbers, any other by its operator and what that reads.  Values of one digest are one value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING
from featx.fingerprint import digest

Named = TypeVar("Named", TensorProto, ValueInfoProto)


@dataclass(frozen=True)
class Traced:
    """A graph whose output is `EMBEDDING`, and how its values are computed.

    Attributes
    ----------
    graph : Graph
    names : dict of str to str
        Value → its name in a union: the role of an input, the digest of any other.
    nodes : dict of str to NodeProto
        Digest → node.
    """

    graph: Graph
    names: dict[str, str]
    nodes: dict[str, NodeProto]

    def shared(self, other: "Traced") -> float:
        """Return which part of the smaller graph's nodes the other one has too."""
        least = min(len(self.nodes), len(other.nodes))
        return len(self.nodes.keys() & other.nodes.keys()) / max(1, least)

    def fits(self, other: "Traced") -> bool:
        """Return whether both take the same inputs, and mean the same by their operators."""
        both = _opsets(self), _opsets(other)
        return _agree(*both) and _agree(_kinds(self), _kinds(other))


def trace(graph: Graph, inputs: Mapping[str, str]) -> Traced | None:
    """Return how the values of a graph are computed; None if parts of it are no plain nodes.

    Parameters
    ----------
    graph : Graph
    inputs : mapping of str to str
        Role → name of an input.
    """
    model = graph.model
    roles = {name: role for role, name in inputs.items()}
    has_more = model.functions or model.graph.sparse_initializer or graph.inputs.keys() - roles
    is_odd = any(tensor.data_type == TensorProto.STRING for tensor in model.graph.initializer)
    if has_more or is_odd or any(_has_graph(node) for node in graph.nodes):
        return None
    names = {"": ""} | {name: roles[name] for name in graph.inputs}
    names |= {tensor.name: _constant(tensor) for tensor in model.graph.initializer}
    nodes = {}
    for node in graph.nodes:
        made = _operator(node, names)
        nodes[made] = node
        names |= {name: f"{made}/{place}" for place, name in enumerate(node.output) if name}
    return Traced(graph, names, nodes)


def unite(parts: Sequence[Traced]) -> onnx.ModelProto:
    """Return one graph whose output `EMBEDDING` is those of all parts side by side.

    Parameters
    ----------
    parts : sequence of Traced
        That fit each other.

    Returns
    -------
    ModelProto
        Its inputs are named by their roles.
    """
    inputs: dict[str, ValueInfoProto] = {}
    tensors: dict[str, TensorProto] = {}
    nodes: dict[str, NodeProto] = {}
    for part in parts:
        inputs = _inputs(part) | inputs
        for tensor in part.graph.model.graph.initializer:
            name = part.names[tensor.name]
            if name not in tensors:
                tensors[name] = _renamed(tensor, name)
        for made, node in part.nodes.items():
            if made not in nodes:
                nodes[made] = _rewired(node, part.names)
    ends = [part.names[EMBEDDING] for part in parts]
    graph = helper.make_graph(
        [*nodes.values(), helper.make_node("Concat", ends, [EMBEDDING], axis=1)],
        "union",
        list(inputs.values()),
        [helper.make_tensor_value_info(EMBEDDING, TensorProto.FLOAT, ["rows", "columns"])],
        list(tensors.values()),
    )
    versions = {domain: version for part in parts for domain, version in _opsets(part).items()}
    model: onnx.ModelProto = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid(*each) for each in versions.items()],
        ir_version=max(part.graph.model.ir_version for part in parts),
    )
    return model


def _inputs(part: Traced) -> dict[str, ValueInfoProto]:
    """Return role → input of that name."""
    return {
        part.names[name]: _renamed(value, part.names[name])
        for name, value in part.graph.inputs.items()
    }


def _kinds(part: Traced) -> dict[str, tuple[int, list[int]]]:
    """Return role → type, and sizes, 0 where any will do."""
    tensors = {role: value.type.tensor_type for role, value in _inputs(part).items()}
    return {
        role: (tensor.elem_type, [size.dim_value for size in tensor.shape.dim])
        for role, tensor in tensors.items()
    }


def _opsets(part: Traced) -> dict[str, int]:
    """Return domain of operators → version."""
    opsets = part.graph.model.opset_import
    return {"" if each.domain == "ai.onnx" else each.domain: each.version for each in opsets}


def _agree(one: Mapping[str, object], two: Mapping[str, object]) -> bool:
    return all(one[key] == two[key] for key in one.keys() & two)


def _has_graph(node: NodeProto) -> bool:
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _constant(tensor: TensorProto) -> str:
    array = numpy_helper.to_array(tensor)
    told = f"{tensor.data_type} {array.shape} "
    return digest(told.encode() + array.tobytes()).hex()


def _operator(node: NodeProto, names: Mapping[str, str]) -> str:
    """Return a digest of what a node does, and with which values."""
    attributes = sorted(each.SerializeToString(deterministic=True) for each in node.attribute)
    read = [names[name] for name in node.input]
    wanted = [bool(name) for name in node.output]
    told = f"{node.domain} {node.op_type} {wanted} {read} {attributes}"
    return digest(told.encode()).hex()


def _rewired(node: NodeProto, names: Mapping[str, str]) -> NodeProto:
    copied = NodeProto()
    copied.CopyFrom(node)
    copied.name = ""
    copied.input[:] = [names[name] for name in node.input]
    copied.output[:] = [names.get(name, "") for name in node.output]
    return copied


def _renamed(named: Named, name: str) -> Named:
    copied = type(named)()
    copied.CopyFrom(named)
    copied.name = name
    copied.doc_string = ""
    return copied
