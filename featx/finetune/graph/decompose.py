"""Operators that ONNX Runtime fuses, written as the standard ones that they stand for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import pi, sqrt
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from featx.backbone.graphs.graph import MICROSOFT, Graph

Shapes = Mapping[str, Sequence[int]]

CUBE = 0.044715
"""Of the tanh form of Gelu; Hendrycks & Gimpel 2016, arXiv:1606.08415."""


@dataclass(frozen=True)
class _Call:
    """One fused node, and the standard nodes that take its place so far."""

    graph: Graph
    node: NodeProto
    shapes: Shapes
    made: list[NodeProto]

    def attribute(self, name: str, otherwise: Any) -> Any:  # noqa: ANN401 - ONNX has many types
        """Return an attribute, or what it is if the node has none."""
        for each in self.node.attribute:
            if each.name == name:
                return helper.get_attribute_value(each)
        return otherwise

    def input(self, place: int) -> str:
        """Return the name of an input; empty if there is none."""
        return str(self.node.input[place]) if place < len(self.node.input) else ""

    def output(self, place: int = 0) -> str:
        """Return the name of an output; empty if there is none, or nothing reads it."""
        return str(self.node.output[place]) if place < len(self.node.output) else ""

    def number(self, value: float) -> str:
        """Return the name of a constant."""
        return self.graph.add_constant(f"featx/{value!r}", np.array(value, dtype=np.float32))

    def add(self, operator: str, *inputs: str, to: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Add a node and return the name of its output."""
        name = to or f"{self.output()}/{operator}{len(self.made)}"
        self.made.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name


def decompose(graph: Graph, shapes: Shapes) -> int:
    """Replace fused operators of ONNX Runtime by standard ones and return how many there were.

    Parameters
    ----------
    graph : Graph
        Of opset 17 or later; changed in place.
    shapes : mapping of str to sequence of int
        Of the values that a FusedMatMul transposes; see `needs_shapes`.
    """
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.nodes:
        rule = FUSED.get(node.op_type) if node.domain == MICROSOFT else None
        call = _Call(graph, node, shapes, [])
        if rule is not None and rule(call):
            nodes += call.made
            count += 1
        else:
            nodes.append(node)
    graph.set_nodes(nodes)
    graph.prune()
    return count


def needs_shapes(graph: Graph) -> bool:
    """Return whether the rank of a value must be known."""
    return any(node.op_type in {"FusedMatMul", "TransposeMatMul"} for node in graph.nodes)


def _gelu(call: _Call) -> bool:
    x = call.input(0)
    if call.input(1):
        x = call.add("Add", x, call.input(1))
    part = call.add("Erf", call.add("Div", x, call.number(sqrt(2))))
    share = call.add("Mul", call.add("Add", part, call.number(1)), call.number(0.5))
    call.add("Mul", x, share, to=call.output())
    return True


def _fast_gelu(call: _Call) -> bool:
    x = call.input(0)
    if call.input(1):
        x = call.add("Add", x, call.input(1))
    square = call.add("Mul", x, x)
    bent = call.add("Add", call.add("Mul", square, call.number(CUBE)), call.number(1))
    inner = call.add("Mul", call.add("Mul", x, bent), call.number(sqrt(2 / pi)))
    share = call.add("Add", call.add("Tanh", inner), call.number(1))
    call.add("Mul", x, call.add("Mul", share, call.number(0.5)), to=call.output())
    return True


def _quick_gelu(call: _Call) -> bool:
    scaled = call.add("Mul", call.input(0), call.number(call.attribute("alpha", 1.702)))
    call.add("Mul", call.input(0), call.add("Sigmoid", scaled), to=call.output())
    return True


def _skip_norm(call: _Call) -> bool:
    """Decompose the norm of a sum; mean and variance are not given out at inference."""
    if any(call.graph.readers(call.output(place)) for place in (1, 2)):
        return False
    x, skip, scale, shift, bias = (call.input(place) for place in range(5))
    if bias:
        x = call.add("Add", x, bias)
    total = call.add("Add", x, skip, to=call.output(3))
    inputs = [total, scale, shift] if shift else [total, scale]
    epsilon = call.attribute("epsilon", 1e-12)
    call.add("LayerNormalization", *inputs, to=call.output(), axis=-1, epsilon=epsilon)
    return True


def _matmul(call: _Call) -> bool:
    if call.attribute("transBatchA", 0) or call.attribute("transBatchB", 0):
        return False
    factors = []
    for place, name in enumerate(("transA", "transB")):
        factor = call.input(place)
        rank = len(call.shapes[factor])
        if call.attribute(name, 0) and rank > 1:
            perm = [*range(rank - 2), rank - 1, rank - 2]
            factor = call.add("Transpose", factor, perm=perm)
        factors.append(factor)
    alpha = call.attribute("alpha", 1.0)
    if alpha == 1:
        call.add("MatMul", *factors, to=call.output())
    else:
        product = call.add("MatMul", *factors)
        call.add("Mul", product, call.number(alpha), to=call.output())
    return True


def _conv(call: _Call) -> bool:
    x, weights, bias, skip = (call.input(place) for place in range(4))
    kept = {
        each.name: helper.get_attribute_value(each)
        for each in call.node.attribute
        if not each.name.startswith("activation")
    }
    product = call.add("Conv", *([x, weights, bias] if bias else [x, weights]), **kept)
    if skip:
        product = call.add("Add", product, skip)
    return _activate(call, product, call.attribute("activation_params", []))


def _gemm(call: _Call) -> bool:
    kept = {
        each.name: helper.get_attribute_value(each)
        for each in call.node.attribute
        if not each.name.startswith("activation")
    }
    product = call.add("Gemm", *[name for name in call.node.input if name], **kept)
    names = ("activation_alpha", "activation_beta", "activation_gamma")
    given = [call.attribute(name, None) for name in names]
    return _activate(call, product, [number for number in given if number is not None])


def _activate(call: _Call, product: str, numbers: Sequence[float]) -> bool:
    """Add the activation that was fused in; return whether it is a known one."""
    operator = call.attribute("activation", b"").decode()
    if operator == "Clip":
        limits = [call.number(float(number)) for number in numbers]
        call.add("Clip", product, *limits, to=call.output())
    elif operator in ACTIVATIONS:
        names = ACTIVATIONS[operator]
        attributes = {name: float(n) for name, n in zip(names, numbers, strict=False)}
        call.add(operator, product, to=call.output(), **attributes)
    elif operator:
        return False
    else:
        call.add("Identity", product, to=call.output())
    return True


ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "Relu": (),
    "Sigmoid": (),
    "Tanh": (),
    "LeakyRelu": ("alpha",),
    "HardSigmoid": ("alpha", "beta"),
}
"""Activations that are fused into another operator, and what their numbers are called."""

FUSED: dict[str, Callable[[_Call], bool]] = {
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "Gelu": _gelu,
    "QuickGelu": _quick_gelu,
    "SkipLayerNormalization": _skip_norm,
    "TransposeMatMul": _matmul,
}
"""Operator of ONNX Runtime → how it is replaced; False means that this form is not known."""
