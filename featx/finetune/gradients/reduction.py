"""Gradients of reductions over some axes."""

from math import prod

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def total(emit: Emitter, call: Call) -> Gradients:
    """Sum: the gradient, repeated."""
    return [emit.expand(_kept(emit, call, call.gradient), emit.shape(call.input(0)))]


def mean(emit: Emitter, call: Call) -> Gradients:
    """Mean: an equal share for each."""
    shape = emit.shape(call.input(0))
    share = emit.scale(call.gradient, 1 / prod(shape[axis] for axis in _axes(emit, call)))
    return [emit.expand(_kept(emit, call, share), shape)]


def squares(emit: Emitter, call: Call) -> Gradients:
    """Sum of squares, ``2 * x``."""
    twice = emit.scale(_kept(emit, call, call.gradient), 2)
    return [emit.multiply(twice, call.input(0))]


def absolute(emit: Emitter, call: Call) -> Gradients:
    """Sum of absolute numbers."""
    sign = emit.unary("Sign", call.input(0))
    return [emit.multiply(_kept(emit, call, call.gradient), sign)]


def length(emit: Emitter, call: Call) -> Gradients:
    """Euclidean length y, ``x / y``, and 0 at 0, where rows that fill a batch may lie."""
    is_zero = emit.compare("Equal", call.output, 0)
    safe = emit.where(is_zero, 1, call.output, like=call.output)
    share = _kept(emit, call, emit.divide(call.gradient, safe))
    return [emit.multiply(share, call.input(0))]


def log_sum_exp(emit: Emitter, call: Call) -> Gradients:
    """``log(sum(exp(x)))``, of which the gradient is the softmax."""
    lower = emit.subtract(call.input(0), _kept(emit, call, call.output))
    return [emit.multiply(_kept(emit, call, call.gradient), emit.unary("Exp", lower))]


def extreme(emit: Emitter, call: Call) -> Gradients:
    """Largest or smallest number; equal ones share."""
    x = call.input(0)
    equal = emit.compare("Equal", x, _kept(emit, call, call.output))
    chosen = emit.cast(equal, like=x)
    count = emit.sum(chosen, _axes(emit, call))
    return [emit.multiply(emit.divide(_kept(emit, call, call.gradient), count), chosen)]


def _axes(emit: Emitter, call: Call) -> list[int]:
    """Return the axes that are gone, which older opsets have as an attribute."""
    rank = len(emit.shape(call.input(0)))
    axes = call.attribute("axes")
    if call.input(1):
        known = emit.constants.get(call.input(1))
        if known is None:
            raise call.refused("its axes depend on the input")
        axes = known.ravel().tolist()
    if axes:
        return [axis % rank for axis in axes]
    return [] if call.attribute("noop_with_empty_axes", 0) else list(range(rank))


def _kept(emit: Emitter, call: Call, name: str) -> str:
    """Return a value of the output's shape with the axes that are gone, as ones."""
    axes = _axes(emit, call)
    shape = [1 if at in axes else size for at, size in enumerate(emit.shape(call.input(0)))]
    return emit.reshape(name, shape)
