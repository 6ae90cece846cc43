"""Gradients of operators on several values that NumPy would broadcast."""

import numpy as np

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def add(emit: Emitter, call: Call) -> Gradients:
    """Add or Sum, of any number of values."""
    return [emit.unbroadcast(call.gradient, emit.shape(name)) for name in call.inputs]


def mean(emit: Emitter, call: Call) -> Gradients:
    """Mean of any number of values."""
    share = emit.scale(call.gradient, 1 / len(call.inputs))
    return [emit.unbroadcast(share, emit.shape(name)) for name in call.inputs]


def sub(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``a - b``."""
    a, b = (emit.unbroadcast(call.gradient, emit.shape(name)) for name in call.inputs)
    return [a, emit.unary("Neg", b)]


def neg(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``-a``."""
    return [emit.unary("Neg", call.gradient)]


def mul(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``a * b``."""
    a, b = call.inputs
    if (number := _number(emit, b)) is not None:
        return [emit.unbroadcast(emit.scale(call.gradient, number), emit.shape(a))]
    if (number := _number(emit, a)) is not None:
        return [None, emit.unbroadcast(emit.scale(call.gradient, number), emit.shape(b))]
    return [
        emit.unbroadcast(emit.multiply(call.gradient, b), emit.shape(a)),
        emit.unbroadcast(emit.multiply(call.gradient, a), emit.shape(b)),
    ]


def div(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``y = a / b``, which are ``1 / b`` and ``-y / b``."""
    a, b = call.inputs
    if number := _number(emit, b):
        return [emit.unbroadcast(emit.scale(call.gradient, 1 / number), emit.shape(a))]
    share = emit.divide(call.gradient, b)
    falling = emit.unbroadcast(emit.multiply(share, call.output), emit.shape(b))
    return [emit.unbroadcast(share, emit.shape(a)), emit.unary("Neg", falling)]


def power(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of ``y = a ** b``; that of `b` is ``y * log(a)``, and 0 where a <= 0."""
    a, b = call.inputs
    exponent = emit.cast(b, like=a)
    rising = emit.multiply(exponent, _lower_power(emit, a, b, exponent))
    base = emit.unbroadcast(emit.multiply(call.gradient, rising), emit.shape(a))
    if not emit.is_float(b):
        return [base, None]
    positive = emit.compare("Greater", a, 0)
    log = emit.unary("Log", emit.where(positive, a, 1, like=a))
    growth = emit.multiply(call.gradient, emit.multiply(call.output, log))
    return [base, emit.unbroadcast(growth, emit.shape(b))]


def _lower_power(emit: Emitter, a: str, b: str, exponent: str) -> str:
    """Return ``a ** (b - 1)``; squares, the most common powers, need none."""
    if _number(emit, b) == 2:
        return a
    shape = np.broadcast_shapes(emit.shape(a), emit.shape(b))
    return emit.node("Pow", [a, emit.shift(exponent, -1)], shape)


def _number(emit: Emitter, name: str) -> float | None:
    """Return the one number that a value always is."""
    known = emit.constants.get(name)
    return None if known is None or known.size != 1 else float(known.item())


def where(emit: Emitter, call: Call) -> Gradients:
    """Return gradients of either choice."""
    truth, a, b = call.inputs
    chosen = emit.where(truth, call.gradient, 0, like=call.output)
    other = emit.where(truth, 0, call.gradient, like=call.output)
    return [
        None,
        emit.unbroadcast(chosen, emit.shape(a)),
        emit.unbroadcast(other, emit.shape(b)),
    ]


def extreme(emit: Emitter, call: Call) -> Gradients:
    """Max or Min of any number of values; equal ones share."""
    chosen = [
        emit.cast(emit.compare("Equal", name, call.output), like=call.output)
        for name in call.inputs
    ]
    share = emit.divide(call.gradient, emit.total(chosen))
    return [
        emit.unbroadcast(emit.multiply(share, each), emit.shape(name))
        for each, name in zip(chosen, call.inputs, strict=True)
    ]
