"""Reverse-mode differentiation: nodes that compute gradients, added to a graph."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto

from featx.errors import InputError, UnknownNameError
from featx.finetune.gradients import GRADIENTS
from featx.finetune.gradients.call import Call
from featx.finetune.gradients.emitter import Emitter, opset_of
from featx.finetune.graph.trace import Traced
from featx.registry import resolve

OLDEST_OPSET = 13
"""Since then axes of a sum are an input, as they are in the nodes that are added."""


def add_gradients(
    model: ModelProto, traced: Traced, loss: str, wrt: Sequence[str]
) -> dict[str, str]:
    """Append nodes that compute the gradient of `loss` with respect to each name of `wrt`.

    The shapes of the trace are written into them, so that the graph fits this batch shape alone.

    Parameters
    ----------
    model : ModelProto
        Changed in place: nodes and initializers whose names start with ``gradient`` are appended,
        and nodes such as LayerNormalization may get outputs that they left out.  No output of the
        graph is added.
    traced : Traced
        Of this model.
    loss : str
        A value of one floating-point number, whatever its shape.
    wrt : sequence of str
        Initializers, inputs or any other floating-point values.

    Returns
    -------
    dict of str to str
        Name of `wrt` → name of the value that holds its gradient, of the same shape and type.

    Raises
    ------
    InputError
        If an operator between them has no gradient, a name is no floating-point value of this
        graph, the loss does not depend on it, or the graph's opset is too old.
    """
    _check(model, traced, loss, wrt)
    live = _live(model, traced, wrt)
    # What is tuned may be stored as a constant, and so may what follows from it.
    fixed = {name: array for name, array in traced.constants.items() if name not in live}
    emit = Emitter(model, replace(traced, constants=fixed))
    gradients: dict[str, list[str]] = defaultdict(list)
    gradients[loss].append(emit.constant(np.ones(emit.shape(loss)), like=loss))
    for node in reversed(list(model.graph.node)):
        if not live.isdisjoint(_reads(node)) and any(gradients.get(name) for name in node.output):
            call = Call(node, [_settled(emit, gradients, name) for name in node.output])
            for name, gradient in zip(node.input, _applied(emit, call, live), strict=False):
                if gradient is not None and name in live:
                    gradients[name].append(gradient)
    found = {name: _settled(emit, gradients, name) for name in wrt}
    result = {name: gradient for name, gradient in found.items() if gradient is not None}
    if unused := [name for name in wrt if name not in result]:
        message = f"{unused[0]!r}: the loss does not depend on it; leave it out of what is tuned"
        raise InputError(message)
    emit.finish(result.values())
    return result


def _check(model: ModelProto, traced: Traced, loss: str, wrt: Sequence[str]) -> None:
    opset = opset_of(model)
    if opset < OLDEST_OPSET:
        message = (
            f"graph: opset {opset}; gradients need {OLDEST_OPSET} or newer;"
            " raise it with onnx.version_converter"
        )
        raise InputError(message)
    for name in (loss, *wrt):
        if not traced.is_float(name):
            message = f"{name!r}: no floating-point value of this graph; gradients need one"
            raise InputError(message)
    if prod(traced.shapes[loss]) != 1:
        message = f"{loss!r}: shape {traced.shapes[loss]}; expected one number to differentiate"
        raise InputError(message)


def _live(model: ModelProto, traced: Traced, wrt: Sequence[str]) -> set[str]:
    """Return the values that the names of `wrt` may change smoothly."""
    live = set(wrt)
    for node in model.graph.node:
        if not live.isdisjoint(_reads(node)):
            live.update(name for name in node.output if traced.is_float(name))
    return live


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, its branches and loops included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _reads(inner)


def _settled(emit: Emitter, gradients: dict[str, list[str]], name: str) -> str | None:
    """Return the gradient of a value, once all that read it have been seen."""
    parts = gradients.get(name)
    if not parts:
        return None
    gradients[name] = [emit.total(parts)]
    return gradients[name][0]


def _applied(emit: Emitter, call: Call, live: set[str]) -> Sequence[str | None]:
    """Return what the rule of a node gives, which must be a gradient for each live input."""
    node = call.node
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        rule = resolve("gradient", GRADIENTS, f"{domain}:{node.op_type}".lstrip(":"))
    except UnknownNameError as cause:
        raise call.refused("the operator has no rule") from cause
    made: Sequence[str | None] = rule(emit, call)
    for place, name in enumerate(node.input):
        if name in live:
            found = made[place] if place < len(made) else None
            if found is None:
                raise call.refused(f"input {place} is treated as constant")
            assert emit.shape(found) == emit.shape(name), (node.op_type, place)
    return made
