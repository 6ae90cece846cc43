"""Gradients of operators that move numbers, and compute nothing."""

from collections.abc import Iterator

import numpy as np

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def reshape(emit: Emitter, call: Call) -> Gradients:
    """Any operator that keeps the order of the numbers."""
    return [emit.reshape(call.gradient, emit.shape(call.input(0)))]


def dropout(emit: Emitter, call: Call) -> Gradients:
    """Dropout, which does nothing outside of training."""
    training = call.input(2)
    if training and (training not in emit.constants or emit.constants[training].item()):
        raise call.refused("it drops numbers; export the model for inference")
    return [call.gradient]


def transpose(emit: Emitter, call: Call) -> Gradients:
    """Put the axes back."""
    rank = len(emit.shape(call.output))
    order = call.attribute("perm", list(range(rank))[::-1])
    return [emit.transpose(call.gradient, np.argsort(order).tolist())]


def expand(emit: Emitter, call: Call) -> Gradients:
    """Add up what was repeated."""
    return [emit.unbroadcast(call.gradient, emit.shape(call.input(0)))]


def tile(emit: Emitter, call: Call) -> Gradients:
    """Add up the copies, which stand behind each other along each axis."""
    shape, made = emit.shape(call.input(0)), emit.shape(call.output)
    copies = [
        part
        for size, whole in zip(shape, made, strict=True)
        for part in (whole // size if size else 1, size)
    ]
    apart = emit.reshape(call.gradient, copies)
    return [emit.sum(apart, range(0, len(copies), 2), keep=False)]


def concat(emit: Emitter, call: Call) -> Gradients:
    """Cut the gradient as the parts were joined."""
    axis = call.attribute("axis") % len(emit.shape(call.output))
    sizes = [emit.shape(name)[axis] for name in call.inputs]
    return [emit.cut(call.gradient, axis, *ends) for ends in _ends(sizes)]


def split(emit: Emitter, call: Call) -> Gradients:
    """Join the gradients of the parts, zeros for parts that are not used."""
    parts = [
        gradient or emit.zeros(name)
        for gradient, name in zip(call.gradients, call.node.output, strict=True)
    ]
    shape = emit.shape(call.input(0))
    return [emit.node("Concat", parts, shape, axis=call.attribute("axis", 0))]


def pad(emit: Emitter, call: Call) -> Gradients:
    """Cut off what was put around, which is constant."""
    pads, axes = (emit.constants.get(call.input(place)) for place in (1, 3))
    if call.attribute("mode", "constant") != "constant" or pads is None or pads.min() < 0:
        raise call.refused("only padding by a constant, of a size that is one, has any")
    shape = emit.shape(call.input(0))
    chosen = range(len(shape)) if axes is None else axes.tolist()
    found = call.gradient
    for axis, before in zip(chosen, pads[: len(chosen)].tolist(), strict=True):
        found = emit.cut(found, axis, before, before + shape[axis])
    return [found]


def _ends(sizes: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for size in sizes:
        yield start, start + size
        start += size
