"""Gradients of the softmax, which has one axis since opset 13."""

from featx.finetune.gradients.call import Call, Gradients
from featx.finetune.gradients.emitter import Emitter


def softmax(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient, ``y * (g - sum(g * y))``."""
    y, axis = call.output, call.attribute("axis", -1)
    mean = emit.sum(emit.multiply(call.gradient, y), [axis])
    return [emit.multiply(emit.subtract(call.gradient, mean), y)]


def log_softmax(emit: Emitter, call: Call) -> Gradients:
    """Return the gradient, ``g - exp(y) * sum(g)``."""
    total = emit.sum(call.gradient, [call.attribute("axis", -1)])
    return [emit.subtract(call.gradient, emit.multiply(emit.unary("Exp", call.output), total))]
