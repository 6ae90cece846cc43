"""Gradients of poolings over spatial axes."""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter
from featx.finetune.gradients.indexing import scatter
from featx.finetune.gradients.window import Window, window


def global_average(emit: Emitter, call: Call) -> Gradients:
    """Return an equal share for each place."""
    shape = emit.shape(call.input(0))
    return [emit.expand(emit.scale(call.gradient, 1 / prod(shape[2:])), shape)]


def global_largest(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient at the largest number; equal ones share."""
    x, y = call.input(0), call.output
    chosen = emit.cast(emit.compare("Equal", x, y), like=x)
    count = emit.sum(chosen, range(2, len(emit.shape(x))))
    return [emit.multiply(emit.divide(call.gradient, count), chosen)]


def average(emit: Emitter, call: Call) -> Gradients:
    """Return shares, added up where windows overlap, by one small matrix for each axis."""
    sizes, made = (emit.shape(name)[2:] for name in (call.input(0), call.output))
    moved = window(call, call.attribute("kernel_shape"), sizes, made)
    with_zeros = bool(call.attribute("count_include_pad", 0))
    found = call.gradient
    for axis, covered in enumerate(_covered(moved, sizes, made, with_zeros=with_zeros)):
        order = list(range(len(emit.shape(found))))
        order[axis + 2], order[-1] = order[-1], order[axis + 2]
        spread = emit.matmul(emit.transpose(found, order), emit.constant(covered, like=found))
        found = emit.transpose(spread, order)
    return [found]


def largest(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient at the place that the pooling itself names in its second output."""
    x, g = call.input(0), call.gradient
    if call.attribute("storage_order", 0):
        raise call.refused("storage_order 1 has none")
    places = emit.extra_output(call.node, 1, emit.shape(g), np.dtype(np.int64))
    where, numbers = (emit.reshape(each, (prod(emit.shape(g)),)) for each in (places, g))
    return [emit.reshape(scatter(emit, call, where, numbers, [prod(emit.shape(x))]), emit.shape(x))]


def _covered(
    moved: Window, sizes: Sequence[int], made: Sequence[int], *, with_zeros: bool
) -> Iterator[NDArray[np.float64]]:
    """Yield, for each axis, what part of each window (rows) each number (columns) is."""
    for axis, size in enumerate(sizes):
        starts = np.arange(made[axis]) * moved.strides[axis] - moved.before[axis]
        places = starts[:, None] + np.arange(moved.kernel[axis]) * moved.dilations[axis]
        first, last = 0, size
        if with_zeros:
            # Not what lies behind the zeros, where the number of windows was rounded up.
            first, last = -moved.before[axis], size + moved.after[axis]
        counts = ((places >= first) & (places < last)).sum(axis=1, keepdims=True)
        yield (places[:, :, None] == np.arange(size)).sum(axis=1) / np.maximum(counts, 1)
