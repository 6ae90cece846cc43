"""Gradients of functions of one number."""

from math import log as log_of
from math import pi

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def absolute(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``|x|``, 0 at 0."""
    return [emit.multiply(call.gradient, emit.unary("Sign", call.input(0)))]


def cast(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient in the type that was cast from."""
    return [emit.cast(call.gradient, like=call.input(0))]


def cos(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``cos(x)``."""
    return [emit.unary("Neg", emit.multiply(call.gradient, emit.unary("Sin", call.input(0))))]


def sin(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``sin(x)``."""
    return [emit.multiply(call.gradient, emit.unary("Cos", call.input(0)))]


def erf(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of the error function, ``2 / sqrt(pi) * exp(-x * x)``.

    The factor is part of the exponent: these are the largest arrays of a transformer.
    """
    x = call.input(0)
    height = emit.constant(log_of(2 / pi**0.5), like=x)
    bell = emit.unary("Exp", emit.subtract(height, emit.multiply(x, x)))
    return [emit.multiply(call.gradient, bell)]


def exp(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``y = exp(x)``, which is y."""
    return [emit.multiply(call.gradient, call.output)]


def log(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``log(x)``."""
    return [emit.divide(call.gradient, call.input(0))]


def reciprocal(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``y = 1 / x``, which is ``-y * y``."""
    square = emit.multiply(call.output, call.output)
    return [emit.unary("Neg", emit.multiply(call.gradient, square))]


def sqrt(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``y = sqrt(x)``, and 0 at 0.

    There it is infinite, and rows of zeros that fill a batch would turn every gradient into NaN.
    """
    y = call.output
    is_zero = emit.compare("Equal", y, 0)
    steep = emit.divide(emit.scale(call.gradient, 0.5), emit.where(is_zero, 1, y, like=y))
    return [emit.where(is_zero, 0, steep, like=y)]
