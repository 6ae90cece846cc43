"""A graph in two parts: the body up to a cut, and the tail that is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from featx.backbone.graphs.graph import Graph, reads
from featx.finetune.graph.cuts import Cut
from featx.finetune.graph.parameters import weights
from featx.finetune.graph.shapes import UNKNOWN, Shape
from featx.finetune.graph.tail import nodes_before, tail_of


@dataclass(frozen=True)
class Split:
    """Two graphs that make one, one after the other.

    Attributes
    ----------
    body : ModelProto
        Inputs of the whole graph → the cut's value.
    tail : ModelProto
        The cut's value, then the cut's `extra_inputs` → the output of the whole graph.
    cut : Cut
    """

    body: ModelProto
    tail: ModelProto
    cut: Cut


def split(graph: Graph, cut: Cut) -> Split:
    """Return the graph in two parts, neither of which has a fixed number of rows or tokens.

    Parameters
    ----------
    graph : Graph
        Changed in place: a weight that several nodes read gets a copy for each reader in the
        tail, named ``<weight>/untied/<what the reader makes>``.  So each initializer of the tail
        has a name of its own in the graph, and what it is trained to can be written there.
    cut : Cut
        One that `find_cuts` found in this graph.
    """
    _untie(graph, cut)
    tail = tail_of(graph, cut.tensor, cut.shape, cut.input_shapes)
    shapes = {cut.tensor: cut.shape} | {name: cut.input_shapes[name] for name in tail.inputs}
    body = nodes_before(graph, cut.tensor)
    used = {name for node in body for name in reads(node)}
    value = _info(cut.tensor, TensorProto.FLOAT, cut.shape)
    output = graph.model.graph.output[0]
    return Split(
        body=_model(
            graph, body, [graph.inputs[name] for name in graph.inputs if name in used], value
        ),
        tail=_model(
            graph,
            tail.nodes,
            [value, *(_input(graph, name, shapes[name]) for name in tail.inputs)],
            output,
        ),
        cut=cut,
    )


def _untie(graph: Graph, cut: Cut) -> None:
    tensors = {each.name: each for each in graph.model.graph.initializer}
    tail = nodes_before(graph, graph.model.graph.output[0].name, behind=cut.tensor)
    for weight in list(weights(tail, tensors, cut.tensor)):
        if len(graph.readers(weight.name)) > 1:
            array = graph.constant(weight.name)
            assert array is not None
            copy = graph.add_constant(f"{weight.name}/untied/{weight.node.output[0]}", array)
            graph.redirect(weight.name, copy, nodes=[weight.node])


def _input(graph: Graph, name: str, shape: Shape) -> ValueInfoProto:
    return _info(name, graph.inputs[name].type.tensor_type.elem_type, shape)


def _info(name: str, kind: int, shape: Shape) -> ValueInfoProto:
    sizes = [None if size == UNKNOWN else size for size in shape]
    made: ValueInfoProto = helper.make_tensor_value_info(name, kind, sizes)
    return made


def _model(
    graph: Graph,
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    output: ValueInfoProto,
) -> ModelProto:
    """Return a model of some nodes, with the initializers that they read."""
    used = {name for node in nodes for name in reads(node)}
    tensors = [each for each in graph.model.graph.initializer if each.name in used]
    made: ModelProto = helper.make_model(
        helper.make_graph(nodes, "part", inputs, [output], tensors),
        opset_imports=graph.model.opset_import,
        ir_version=graph.model.ir_version,
    )
    return made
