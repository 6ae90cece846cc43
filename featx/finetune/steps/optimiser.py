"""AdamW as nodes of a graph, with few passes over the parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

STEP, FLOOR, KEPT = "featx/step", "featx/floor", "featx/kept"
"""Inputs of one number each: see `Optimiser.numbers`."""

FIRST, SECOND, START = "featx/first/", "featx/second/", "featx/start/"
"""What is put before a parameter's name for its moments and its start.

In front, names cannot clash: a model may have parameters "W" and "W/first".
"""

NEW = "featx/new/"
"""What is put before the name of a parameter or a moment for what replaces it."""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) with a pull toward the start.

    Attributes
    ----------
    beta1, beta2 : float
        Decay of the moments of the gradient and of its square.
    epsilon : float
        Added to the square root of the second moment.
    weight_decay : float
        Share of each matrix, times the learning rate, that a step takes away.  Parameters with
        one axis, biases and norms, keep theirs.
    l2_sp : float
        Times the distance to the start, added to the gradient (L2-SP: Li, Grandvalet & Davoine
        2018, arXiv:1802.01483).
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    l2_sp: float = 0.0

    def numbers(self, step: int, rate: float) -> dict[str, NDArray[np.float32]]:
        """Return the inputs `STEP`, `FLOOR` and `KEPT` for step 1, 2, ...

        The moments are kept as plain sums, m / (1 - beta1) and v / (1 - beta2), which saves a
        pass for each; with their bias corrections, this makes of ::

            p - rate * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)

        the update ``p - STEP * first / (sqrt(second) + FLOOR)``.
        """
        scale = sqrt((1 - self.beta2**step) / (1 - self.beta2))
        values = {
            STEP: rate * scale * (1 - self.beta1) / (1 - self.beta1**step),
            FLOOR: self.epsilon * scale,
            KEPT: 1 - rate * self.weight_decay,
        }
        return {name: np.array(value, dtype=np.float32) for name, value in values.items()}


def append_updates(
    graph: GraphProto,
    gradients: Mapping[str, str],
    shapes: Mapping[str, Sequence[int]],
    *,
    optimiser: Optimiser,
    pulled: frozenset[str],
) -> None:
    """Make new values of parameters and moments, as outputs that begin with `NEW`.

    Parameters
    ----------
    graph : GraphProto
        Changed in place.  Parameters are inputs of it already; their moments become inputs, and
        the starts of those that are `pulled`.
    gradients : mapping of str to str
        Parameter → name of its gradient.
    shapes : mapping of str to tuple of int
        Of the parameters.
    optimiser : Optimiser
    pulled : frozenset of str
        Parameters that are pulled toward their start.
    """
    constants = {
        "beta1": optimiser.beta1,
        "beta2": optimiser.beta2,
        "pull": optimiser.l2_sp,
    }
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, dtype=np.float32), _constant(name))
        for name, value in constants.items()
    )
    graph.input.extend(_info(name, ()) for name in (STEP, FLOOR, KEPT))
    for name, gradient in gradients.items():
        is_pulled = name in pulled and optimiser.l2_sp > 0
        decays = optimiser.weight_decay > 0 and len(shapes[name]) > 1
        states = [FIRST + name, SECOND + name]
        starts = [START + name] if is_pulled else []
        graph.input.extend(_info(each, shapes[name]) for each in states + starts)
        graph.node.extend(_update(name, gradient, is_pulled=is_pulled, decays=decays))
        graph.output.extend(_info(NEW + each, shapes[name]) for each in [name, *states])


def _update(name: str, gradient: str, *, is_pulled: bool, decays: bool) -> list[NodeProto]:
    nodes: list[NodeProto] = []

    def node(operator: str, inputs: list[str], made: str) -> str:
        output = made + name
        nodes.append(helper.make_node(operator, inputs, [output]))
        return output

    if is_pulled:
        away = node("Sub", [name, START + name], "featx/away/")
        pull = node("Mul", [away, _constant("pull")], "featx/pull/")
        gradient = node("Add", [gradient, pull], "featx/pulled/")
    old = node("Mul", [FIRST + name, _constant("beta1")], "featx/old_first/")
    first = node("Add", [old, gradient], NEW + FIRST)
    square = node("Mul", [gradient, gradient], "featx/square/")
    old = node("Mul", [SECOND + name, _constant("beta2")], "featx/old_second/")
    second = node("Add", [old, square], NEW + SECOND)
    root = node("Sqrt", [second], "featx/root/")
    safe = node("Add", [root, FLOOR], "featx/safe/")
    share = node("Div", [first, safe], "featx/share/")
    change = node("Mul", [share, STEP], "featx/change/")
    kept = node("Mul", [name, KEPT], "featx/kept/") if decays else name
    node("Sub", [kept, change], NEW)
    return nodes


def _constant(name: str) -> str:
    return f"featx/optimiser/{name}"


def _info(name: str, shape: Sequence[int]) -> object:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
