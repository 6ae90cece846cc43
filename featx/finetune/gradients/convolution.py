"""Gradients of convolutions of any number of spatial axes."""

from collections.abc import Sequence
from itertools import product
from math import prod

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter
from featx.finetune.gradients.window import Window, window


def conv(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of a convolution, in the form of which each is fast on a CPU."""
    x, w = call.inputs[:2]
    g, groups = call.gradient, call.attribute("group", 1)
    moved = window(call, emit.shape(w)[2:], emit.shape(x)[2:], emit.shape(g)[2:])
    made: list[str | None] = [
        _of_input(emit, g, w, moved, emit.shape(x), groups),
        _by_product(emit, x, g, moved)
        if groups == 1
        else _by_convolution(emit, x, g, moved, emit.shape(w), groups),
    ]
    if call.input(2):
        made.append(emit.sum(g, [0, *_spatial(moved)], keep=False))
    return made


def _of_input(
    emit: Emitter, g: str, w: str, moved: Window, shape: Sequence[int], groups: int
) -> str:
    """Transpose the convolution; without strides that is a convolution with mirrored weights.

    ONNX Runtime takes two to three times as long for what is written as a transposed one.
    """
    reach = [(k - 1) * d for k, d in zip(moved.kernel, moved.dilations, strict=True)] * 2
    pads = [size - pad for size, pad in zip(reach, moved.pads, strict=True)]
    if any(each > 1 for each in moved.strides) or min(pads) < 0:
        return emit.node(
            "ConvTranspose",
            [g, w],
            shape,
            strides=moved.strides,
            dilations=moved.dilations,
            pads=moved.pads,
            output_padding=moved.tail,
            group=groups,
        )
    mirrored = _mirrored(emit, w, groups)
    return emit.node(
        "Conv", [g, mirrored], shape, dilations=moved.dilations, pads=pads, group=groups
    )


def _mirrored(emit: Emitter, w: str, groups: int) -> str:
    """Exchange the channels that a group of weights makes and reads, and turn the kernel round."""
    made, read, *kernel = emit.shape(w)
    axes = list(range(3, 3 + len(kernel)))
    grouped = emit.reshape(w, (groups, made // groups, read, *kernel))
    flat = (groups * read, made // groups, *kernel)
    exchanged = emit.reshape(emit.transpose(grouped, [0, 2, 1, *axes]), flat)
    turned = [axis - 1 for axis in axes if kernel[axis - 3] > 1]
    if not turned:
        return exchanged
    starts, stops, steps = ([number] * len(turned) for number in (-1, -(2**31), -1))
    ends = [emit.whole(each) for each in (starts, stops, turned, steps)]
    return emit.node("Slice", [exchanged, *ends], flat)


def _by_product(emit: Emitter, x: str, g: str, moved: Window) -> str:
    """Multiply the gradient with all that the windows saw, as one product of matrices."""
    (items, channels, *_), (_, filters, *made) = emit.shape(x), emit.shape(g)
    places = prod(made) * items
    # Channels last, so that what a window saw is copied in long runs.
    seen = emit.transpose(x, [0, *_spatial(moved), 1])
    for axis, ends in enumerate(zip(moved.before, moved.after, strict=True), start=1):
        seen = emit.pad(seen, axis, *ends)
    parts = []
    for at in product(*map(range, moved.kernel)):
        part = seen
        for axis, (place, d, s, n) in enumerate(
            zip(at, moved.dilations, moved.strides, made, strict=True), start=1
        ):
            part = emit.cut(part, axis, place * d, place * d + (n - 1) * s + 1, step=s)
        parts.append(emit.reshape(part, (places, channels)))
    wide = (places, len(parts) * channels)
    columns = emit.node("Concat", parts, wide, axis=1) if len(parts) > 1 else parts[0]
    rows = emit.reshape(emit.transpose(g, [1, 0, *_spatial(moved)]), (filters, places))
    found = emit.matmul(rows, columns)
    apart = emit.reshape(found, (filters, *moved.kernel, channels))
    return emit.transpose(apart, [0, 1 + len(made), *range(1, 1 + len(made))])


def _by_convolution(
    emit: Emitter, x: str, g: str, moved: Window, shape: Sequence[int], groups: int
) -> str:
    """Convolve the input with the gradient as kernel: items are summed over as channels are.

    What was a stride between windows is now a distance within the kernel, and the reverse.
    """
    (items, channels, *sizes), filters = emit.shape(x), shape[0]
    each, spatial = channels // groups, _spatial(moved)
    grouped = emit.reshape(x, (items, groups, each, *sizes))
    stacked = emit.transpose(grouped, [2, 1, 0, *(axis + 1 for axis in spatial)])
    rows = emit.reshape(stacked, (each, groups * items, *sizes))
    kernel = emit.transpose(g, [1, 0, *spatial])
    # Numbers that no window reached make the kernel that is found longer than it was.
    reached = [
        k + rest // d for k, rest, d in zip(moved.kernel, moved.tail, moved.dilations, strict=True)
    ]
    found = emit.node(
        "Conv",
        [rows, kernel],
        (each, filters, *reached),
        strides=moved.dilations,
        dilations=moved.strides,
        pads=moved.pads,
        group=groups,
    )
    for axis, size in enumerate(moved.kernel, start=2):
        found = emit.cut(found, axis, 0, size)
    return emit.transpose(found, [1, 0, *spatial])


def _spatial(moved: Window) -> range:
    return range(2, 2 + len(moved.kernel))
