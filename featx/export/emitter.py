"""Emitter: nodes that are put behind those of a graph, under names that nothing else has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from featx.backbone.graphs.graph import Graph

AXES_AS_INPUT = {"ReduceSum": 13}
"""Reduction → opset from which on it takes its axes as an input; 18 of all others."""

TINY = 1e-30
"""Zero vectors are divided by this and stay zero."""


class Emitter:
    """Collects nodes for a graph, which `finish` puts there.

    Parameters
    ----------
    graph : Graph
        Of opset 13 or more.
    prefix : str
        Begins the names of what is made.
    """

    def __init__(self, graph: Graph, prefix: str) -> None:
        self.graph = graph
        self._prefix = prefix
        self._nodes: list[NodeProto] = []
        self._made = 0

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:  # noqa: ANN401
        """Add an array, of its own dtype unless one is given, and return its name."""
        return self.graph.add_constant(f"{self._prefix}/{name}", np.asarray(value, dtype=dtype))

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node of one output and return the output's name: its own, unless one is given."""
        name = output or self._name(operator)
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def pair(self, operator: str, *inputs: str, **attributes: Any) -> tuple[str, str]:  # noqa: ANN401
        """Add a node of two outputs and return their names."""
        names = self._name(operator), self._name(operator)
        self._nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def take(self, nodes: Sequence[NodeProto]) -> None:
        """Add nodes that were made elsewhere."""
        self._nodes += nodes

    def cast(self, value: str, kind: int = TensorProto.FLOAT, *, output: str = "") -> str:
        """Add a Cast, to float32 unless told otherwise."""
        return self.node("Cast", value, output=output, to=kind)

    def reduced(self, operator: str, value: str, axis: int, *, keep: bool = True) -> str:
        """Add a reduction along one axis."""
        if self.graph.opset < AXES_AS_INPUT.get(operator, 18):
            return self.node(operator, value, axes=[axis], keepdims=int(keep))
        axes = self.constant(f"along_{axis}", [axis], np.int64)
        return self.node(operator, value, axes, keepdims=int(keep))

    def unit(self, value: str, *, output: str = "") -> str:
        """Scale rows (N, D) to unit length; zero rows stay zero."""
        length = self.reduced("ReduceL2", value, 1)
        safe = self.node("Max", length, self.constant("tiny", TINY, np.float32))
        return self.node("Div", value, safe, output=output)

    def finish(self) -> None:
        """Put the nodes behind those of the graph."""
        self.graph.set_nodes([*self.graph.nodes, *self._nodes])
        self._nodes = []

    def _name(self, operator: str) -> str:
        self._made += 1
        return f"{self._prefix}/{operator.lower()}_{self._made}"


def value(
    name: str, *sizes: int, rows: str = "batch", kind: int = TensorProto.FLOAT
) -> ValueInfoProto:
    """Return what is said of an input or output: any number of rows of these sizes."""
    return helper.make_tensor_value_info(name, kind, [rows, *sizes])
