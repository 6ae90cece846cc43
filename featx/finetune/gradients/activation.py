"""Gradients of activation functions."""

from math import log, pi

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter

SELU = (1.67326319217681884765625, 1.05070102214813232421875)
"""Default alpha and gamma of ONNX."""


def relu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``max(x, 0)``, 0 at 0."""
    return [_above_zero(emit, call, call.gradient, 0)]


def leaky_relu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient: alpha times as large below 0."""
    low = emit.scale(call.gradient, call.attribute("alpha", 0.01))
    return [_above_zero(emit, call, call.gradient, low)]


def prelu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradients of the value and of the slope below 0."""
    x, slope = call.inputs
    low = emit.multiply(call.gradient, slope)
    growth = _above_zero(emit, call, 0, emit.multiply(call.gradient, x))
    return [
        _above_zero(emit, call, call.gradient, low),
        emit.unbroadcast(growth, emit.shape(slope)),
    ]


def elu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient; below 0, where ``y = alpha * (exp(x) - 1)``, it is ``y + alpha``."""
    low = emit.multiply(call.gradient, emit.shift(call.output, call.attribute("alpha", 1.0)))
    return [_above_zero(emit, call, call.gradient, low)]


def selu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of gamma times `elu`."""
    alpha, gamma = (
        call.attribute(name, default)
        for name, default in zip(("alpha", "gamma"), SELU, strict=True)
    )
    low = emit.multiply(call.gradient, emit.shift(call.output, alpha * gamma))
    return [_above_zero(emit, call, emit.scale(call.gradient, gamma), low)]


def celu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient; below 0 it is ``exp(x / alpha)``, which is ``y / alpha + 1``."""
    alpha = call.attribute("alpha", 1.0)
    low = emit.multiply(call.gradient, emit.shift(emit.scale(call.output, 1 / alpha), 1))
    return [_above_zero(emit, call, call.gradient, low)]


def clip(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient where the value was kept as it was."""
    kept = emit.compare("Equal", call.input(0), call.output)
    return [emit.where(kept, call.gradient, 0, like=call.output)]


def sigmoid(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient, ``y * (1 - y)``."""
    y = call.output
    return [emit.multiply(call.gradient, emit.subtract(y, emit.multiply(y, y)))]


def tanh(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient, ``1 - y * y``."""
    return [emit.multiply(call.gradient, _one_minus_square(emit, call.output))]


def hard_sigmoid(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient: alpha between the limits 0 and 1."""
    y = call.output
    steep = emit.scale(call.gradient, call.attribute("alpha", 0.2))
    below_one = emit.where(emit.compare("Less", y, 1), steep, 0, like=y)
    return [emit.where(emit.compare("Greater", y, 0), below_one, 0, like=y)]


def hard_swish(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``x * clip(x / 6 + 1 / 2, 0, 1)``."""
    x = call.input(0)
    middle = emit.multiply(call.gradient, emit.shift(emit.scale(x, 1 / 3), 0.5))
    below = emit.where(emit.compare("Less", x, 3), middle, call.gradient, like=x)
    return [emit.where(emit.compare("Greater", x, -3), below, 0, like=x)]


def swish(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``x * s`` with ``s = sigmoid(alpha * x)``."""
    x, alpha = call.input(0), call.attribute("alpha", 1.0)
    s = emit.unary("Sigmoid", emit.scale(x, alpha))
    slope = emit.scale(emit.subtract(s, emit.multiply(s, s)), alpha)
    return [emit.multiply(call.gradient, emit.add(s, emit.multiply(x, slope)))]


def softplus(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``log(exp(x) + 1)``, the sigmoid of x."""
    return [emit.multiply(call.gradient, emit.unary("Sigmoid", call.input(0)))]


def softsign(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``x / w`` with ``w = 1 + |x|``, which is ``1 / w / w``."""
    width = emit.shift(emit.unary("Abs", call.input(0)), 1)
    return [emit.divide(emit.divide(call.gradient, width), width)]


def mish(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``x * t`` with ``t = tanh(softplus(x))``."""
    x = call.input(0)
    t = emit.unary("Tanh", emit.unary("Softplus", x))
    slope = emit.multiply(_one_minus_square(emit, t), emit.unary("Sigmoid", x))
    return [emit.multiply(call.gradient, emit.add(t, emit.multiply(x, slope)))]


def gelu(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient of ``x * P(x)``, P being the normal distribution or tanh near to it."""
    if call.attribute("approximate", "none") == "tanh":
        return [_gelu_tanh(emit, call)]
    x = call.input(0)
    u = emit.scale(x, 0.5**0.5)
    # Twice the density, its factor in the exponent: these arrays are a transformer's largest.
    height = emit.constant(log(2 * (2 * pi) ** -0.5), like=x)
    density = emit.unary("Exp", emit.subtract(height, emit.multiply(u, u)))
    twice = emit.add(emit.unary("Erf", u), emit.multiply(x, density))
    return [emit.multiply(call.gradient, emit.shift(emit.scale(twice, 0.5), 0.5))]


def _gelu_tanh(emit: Emitter, call: Call) -> str:
    """Return the gradient of ``x * (1 + t) / 2`` with ``t = tanh(c * (x + k * x ** 3))``."""
    x, c, k = call.input(0), (2 / pi) ** 0.5, 0.044715
    square = emit.multiply(x, x)
    inner = emit.multiply(x, emit.shift(emit.scale(square, c * k), c))
    t = emit.unary("Tanh", inner)
    slope = emit.multiply(
        emit.multiply(x, emit.shift(emit.scale(square, 3 * c * k), c)), _one_minus_square(emit, t)
    )
    return emit.multiply(call.gradient, emit.scale(emit.add(emit.shift(t, 1), slope), 0.5))


def _above_zero(emit: Emitter, call: Call, above: str | float, below: str | float) -> str:
    x = call.input(0)
    return emit.where(emit.compare("Greater", x, 0), above, below, like=x)


def _one_minus_square(emit: Emitter, y: str) -> str:
    return emit.subtract(emit.constant(1, like=y), emit.multiply(y, y))
