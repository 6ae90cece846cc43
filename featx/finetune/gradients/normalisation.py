"""Gradients of normalisations.

All but those by fixed statistics have the same form: ``x`` is brought to mean 0 (or not) and
length 1 over some axes, and the gradient of that is what of ``g`` is at right angles to it.
"""

from collections.abc import Sequence
from math import prod

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter

EPSILON = 1e-5
"""Default of ONNX."""


def layer(emit: Emitter, call: Call) -> Gradients:
    """LayerNormalization over the last axes; the node itself gives its mean and scale."""
    x, gain = call.inputs[:2]
    shape = emit.shape(x)
    first = call.attribute("axis", -1) % len(shape)
    axes = range(first, len(shape))
    small = [*shape[:first], *(1 for _ in axes)]
    mean, inverse = (emit.extra_output(call.node, at, small, emit.dtype(x)) for at in (1, 2))
    unit = emit.multiply(emit.subtract(x, mean), inverse)
    made: list[str | None] = [
        _centred(emit, emit.multiply(call.gradient, gain), unit, inverse, axes),
        emit.unbroadcast(emit.multiply(call.gradient, unit), emit.shape(gain)),
    ]
    if call.input(2):
        made.append(emit.unbroadcast(call.gradient, emit.shape(call.input(2))))
    return made


def root_mean_square(emit: Emitter, call: Call) -> Gradients:
    """RMSNormalization over the last axes: no mean is taken off."""
    x, gain = call.inputs
    shape = emit.shape(x)
    axes = range(call.attribute("axis", -1) % len(shape), len(shape))
    inverse = _inverse(emit, call, emit.multiply(x, x), axes)
    unit = emit.multiply(x, inverse)
    g = emit.multiply(call.gradient, gain)
    along = emit.multiply(unit, _mean(emit, emit.multiply(g, unit), axes))
    return [
        emit.multiply(emit.subtract(g, along), inverse),
        emit.unbroadcast(emit.multiply(call.gradient, unit), emit.shape(gain)),
    ]


def batch(emit: Emitter, call: Call) -> Gradients:
    """BatchNormalization by the statistics that it holds, which are weights like any other."""
    if call.attribute("training_mode", 0):
        raise call.refused("training_mode has none; export the model for inference")
    x, gain, shift, mean, variance = call.inputs
    shape, g = emit.shape(x), call.gradient
    across = [axis for axis in range(len(shape)) if axis != 1]
    aligned = [size if axis == 1 else 1 for axis, size in enumerate(shape)]
    epsilon = call.attribute("epsilon", EPSILON)
    inverse = emit.unary("Reciprocal", emit.unary("Sqrt", emit.shift(variance, epsilon)))
    factor = emit.multiply(gain, inverse)
    centred = emit.subtract(x, emit.reshape(mean, aligned))
    total = emit.sum(g, across, keep=False)
    weighed = emit.sum(emit.multiply(g, centred), across, keep=False)
    cubed = emit.multiply(factor, emit.multiply(inverse, inverse))
    return [
        emit.multiply(g, emit.reshape(factor, aligned)),
        emit.reshape(emit.multiply(weighed, inverse), emit.shape(gain)),
        emit.reshape(total, emit.shape(shift)),
        emit.unary("Neg", emit.multiply(total, factor)),
        emit.scale(emit.multiply(weighed, cubed), -0.5),
    ]


def instance(emit: Emitter, call: Call) -> Gradients:
    """InstanceNormalization over the spatial axes of each channel of each item."""
    return _in_groups(emit, call, groups=emit.shape(call.input(0))[1])


def group(emit: Emitter, call: Call) -> Gradients:
    """GroupNormalization over groups of channels; before opset 21 a group has one gain."""
    groups = call.attribute("num_groups")
    return _in_groups(emit, call, groups=groups)


def unit(emit: Emitter, call: Call) -> Gradients:
    """LpNormalization along one axis to length 1; rows of zeros stay, with gradient 0."""
    if call.attribute("p", 2) != 2:
        raise call.refused("only p = 2 has one")
    x, y, axis = call.input(0), call.output, [call.attribute("axis", -1)]
    length = emit.unary("Sqrt", emit.sum(emit.multiply(x, x), axis))
    along = emit.multiply(y, emit.sum(emit.multiply(call.gradient, y), axis))
    is_zero = emit.compare("Equal", length, 0)
    turned = emit.divide(
        emit.subtract(call.gradient, along), emit.where(is_zero, 1, length, like=x)
    )
    return [emit.where(is_zero, 0, turned, like=x)]


def _in_groups(emit: Emitter, call: Call, *, groups: int) -> Gradients:
    """Normalise (items, groups, numbers of a group), then scale and shift each channel."""
    x, gain, shift = call.inputs
    shape, g = emit.shape(x), call.gradient
    items, channels, spatial = shape[0], shape[1], prod(shape[2:])
    across = (items, groups, channels // groups * spatial)
    (gains,) = emit.shape(gain)
    by_gain = (items, gains, channels // gains * spatial)
    rows = emit.reshape(x, across)
    centred = emit.subtract(rows, _mean(emit, rows, [2]))
    inverse = _inverse(emit, call, emit.multiply(centred, centred), [2])
    unit = emit.multiply(centred, inverse)
    wide = emit.reshape(g, by_gain)
    scaled = emit.multiply(wide, emit.reshape(gain, (1, gains, 1)))
    inner = _centred(emit, emit.reshape(scaled, across), unit, inverse, [2])
    share = emit.multiply(wide, emit.reshape(unit, by_gain))
    return [
        emit.reshape(inner, shape),
        emit.sum(share, [0, 2], keep=False),
        emit.reshape(emit.sum(wide, [0, 2], keep=False), emit.shape(shift)),
    ]


def _centred(emit: Emitter, g: str, unit: str, inverse: str, axes: Sequence[int]) -> str:
    """Return the gradient through ``unit``, which is x with mean 0 and variance 1."""
    along = emit.multiply(unit, _mean(emit, emit.multiply(g, unit), axes))
    level = emit.subtract(g, _mean(emit, g, axes))
    return emit.multiply(emit.subtract(level, along), inverse)


def _mean(emit: Emitter, name: str, axes: Sequence[int]) -> str:
    size = prod(emit.shape(name)[axis] for axis in axes)
    return emit.scale(emit.sum(name, axes), 1 / size)


def _inverse(emit: Emitter, call: Call, square: str, axes: Sequence[int]) -> str:
    """Return one over the root of the mean square."""
    variance = _mean(emit, square, axes)
    safe = emit.shift(variance, call.attribute("epsilon", EPSILON))
    return emit.unary("Reciprocal", emit.unary("Sqrt", safe))
