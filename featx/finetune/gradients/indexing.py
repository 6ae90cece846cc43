"""Gradients of taking parts of a value: zeros, with the gradient put back where it came from."""

from collections.abc import Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter

ADDING_OPSET = 16
"""Since then a scatter can add where places repeat."""


def slices(emit: Emitter, call: Call) -> Gradients:
    """Slice along some axes, with any steps."""
    shape = emit.shape(call.input(0))
    starts, stops, axes, steps = (_whole(emit, call, place) for place in range(1, 5))
    if starts is None or stops is None:
        raise call.refused("where it starts and stops depends on the input")
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    found = call.gradient
    for start, stop, axis, step in zip(starts, stops, axes, steps, strict=True):
        taken = range(shape[axis])[_slice(start, stop, step, shape[axis])]
        found = _put(emit, found, axis % len(shape), shape[axis], np.array(taken, dtype=np.int64))
    return [found]


def gather(emit: Emitter, call: Call) -> Gradients:
    """Gather at constant places, or, with opset 16, at any."""
    x, index = call.inputs
    shape, axis = emit.shape(x), call.attribute("axis", 0) % len(emit.shape(x))
    known = emit.constants.get(index)
    if known is not None:
        places = known.ravel() % shape[axis]
        if len(set(places.tolist())) == len(places):
            taken = (*shape[:axis], len(places), *shape[axis + 1 :])
            return [_put(emit, emit.reshape(call.gradient, taken), axis, shape[axis], places)]
    return [_add_rows(emit, call, index, axis)]


def gather_nd(emit: Emitter, call: Call) -> Gradients:
    """GatherND: the index is completed by the numbers of the batches that it is taken in."""
    x, index = call.inputs
    batches = call.attribute("batch_dims", 0)
    shape = emit.shape(index)
    if batches:
        grid = np.indices(shape[:batches], dtype=np.int64)
        wide = grid.reshape(batches, *shape[:batches], *[1] * (len(shape) - 1 - batches))
        full = np.broadcast_to(np.moveaxis(wide, 0, -1), (*shape[:-1], batches))
        joined = (*shape[:-1], batches + shape[-1])
        index = emit.node("Concat", [emit.whole(full), emit.cast_whole(index)], joined, axis=-1)
    return [_scatter_nd(emit, call, index, call.gradient, emit.shape(x))]


def gather_elements(emit: Emitter, call: Call) -> Gradients:
    """GatherElements along one axis."""
    x, index = call.inputs
    _need_adding(emit, call)
    zeros = emit.expand(emit.constant(np.zeros([1] * len(emit.shape(x))), like=x), emit.shape(x))
    return [
        emit.node(
            "ScatterElements",
            [zeros, index, call.gradient],
            emit.shape(x),
            axis=call.attribute("axis", 0),
            reduction="add",
        )
    ]


def scatter(emit: Emitter, call: Call, places: str, gradient: str, shape: Sequence[int]) -> str:
    """Return zeros with rows of the gradient added at `places`, (N,), of the first axis."""
    index = emit.reshape(places, (*emit.shape(places), 1))
    return _scatter_nd(emit, call, index, gradient, shape)


def _add_rows(emit: Emitter, call: Call, index: str, axis: int) -> str:
    """Bring the gathered axis to the front, add up, and bring it back."""
    shape, rank = emit.shape(call.input(0)), len(emit.shape(call.input(0)))
    count = prod(emit.shape(index))
    others = [size for place, size in enumerate(shape) if place != axis]
    taken = emit.reshape(call.gradient, (*shape[:axis], count, *shape[axis + 1 :]))
    front = [axis, *(place for place in range(rank) if place != axis)]
    rows = emit.transpose(taken, front)
    added = scatter(emit, call, emit.reshape(index, (count,)), rows, (shape[axis], *others))
    return emit.transpose(added, np.argsort(front).tolist())


def _scatter_nd(emit: Emitter, call: Call, index: str, g: str, shape: Sequence[int]) -> str:
    _need_adding(emit, call)
    zeros = emit.expand(emit.constant(np.zeros([1] * len(shape)), like=g), shape)
    return emit.node("ScatterND", [zeros, emit.cast_whole(index), g], shape, reduction="add")


def _need_adding(emit: Emitter, call: Call) -> None:
    if emit.opset < ADDING_OPSET:
        raise call.refused(
            f"it needs opset {ADDING_OPSET}, and the graph has {emit.opset};"
            " raise it with onnx.version_converter"
        )


def _put(emit: Emitter, g: str, axis: int, size: int, places: NDArray[np.int64]) -> str:
    """Return zeros with the gradient at these different places along an axis of `size`."""
    count = len(places)
    if count and (np.diff(places) == 1).all():
        return emit.pad(g, axis, int(places[0]), size - int(places[0]) - count)
    # Each place takes its row of the gradient, or the row of zeros that is put behind.
    source = np.full(size, count, dtype=np.int64)
    source[places] = np.arange(count)
    padded = emit.pad(g, axis, 0, 1)
    shape = list(emit.shape(g))
    shape[axis] = size
    return emit.node("Gather", [padded, emit.whole(source)], shape, axis=axis)


def _whole(emit: Emitter, call: Call, place: int) -> Sequence[int] | None:
    name = call.input(place)
    if not name or name not in emit.constants:
        return None
    return [int(each) for each in emit.constants[name].ravel()]


def _slice(start: int, stop: int, step: int, size: int) -> slice:
    """Return what ONNX means: as in Python, but going down, a stop below all places is none."""
    if step < 0 and stop < -size:
        return slice(start, None, step)
    return slice(start, stop, step)
