"""Filters that pictures are resized by, as nodes on float64; those of Pillow's ``Resample.c``."""

from collections.abc import Callable
from math import pi

import numpy as np
from onnx import TensorProto

from featx.export.emitter import Emitter

_BEYOND_HALF = float(np.nextafter(0.5, 1))

_LEAST = 1e-9
"""Where sin(x) / x is as good as 1."""


class Numbers:
    """Float64 values of a graph, and what is done with them.

    Parameters
    ----------
    emitter : Emitter
    """

    def __init__(self, emitter: Emitter) -> None:
        self._emitter = emitter

    def of(self, number: float) -> str:
        """Return the name of a number."""
        return self._emitter.constant(f"number_{number!r}", number, np.float64)

    def do(self, operator: str, *values: str) -> str:
        """Return what an operator makes of values."""
        return self._emitter.node(operator, *values)

    def range(self, count: str) -> str:
        """Return the numbers from 0 to below `count`."""
        return self.do("Range", self.of(0), count, self.of(1))

    def single(self, value: str) -> str:
        """Round to float32."""
        return self._emitter.cast(self._emitter.cast(value), TensorProto.DOUBLE)

    def is_below(self, value: str, limit: float) -> str:
        """Return 1 where a value is below a limit, else 0."""
        return self._emitter.cast(self.do("Less", value, self.of(limit)), TensorProto.DOUBLE)

    def polynomial(self, value: str, *factors: float) -> str:
        """Return a polynomial by Horner's rule; the factor of the highest power comes first."""
        total = self.of(factors[0])
        for factor in factors[1:]:
            total = self.do("Add", self.do("Mul", total, value), self.of(factor))
        return total

    def sinc(self, value: str) -> str:
        """Return sin(pi t) / (pi t), of t that is not negative."""
        angle = self.do("Mul", self.do("Max", value, self.of(_LEAST)), self.of(pi))
        return self.do("Div", self.do("Sin", angle), angle)


def emit_filter(n: Numbers, apart: str, name: str) -> str:
    """Return the weights at distances, in pixels of the result."""
    return _FILTERS[name](n, apart)


def _box(n: Numbers, apart: str) -> str:
    """Return 1 above -1/2 and up to 1/2."""
    above = n.is_below(n.do("Neg", apart), 0.5)
    beyond = n.do("Sub", n.of(1), n.is_below(apart, _BEYOND_HALF))
    return n.do("Sub", above, beyond)


def _triangle(n: Numbers, apart: str) -> str:
    return n.do("Max", n.do("Sub", n.of(1), n.do("Abs", apart)), n.of(0))


def _hamming(n: Numbers, apart: str) -> str:
    distance = n.do("Abs", apart)
    cosine = n.do("Cos", n.do("Mul", distance, n.of(pi)))
    window = n.polynomial(cosine, 0.46, 0.54)
    return n.do("Mul", n.do("Mul", n.sinc(distance), window), n.is_below(distance, 1))


def _cubic(n: Numbers, apart: str) -> str:
    """Return Keys' cubic of a = -1/2, one polynomial up to 1 and another up to 2."""
    distance = n.do("Abs", apart)
    near = n.polynomial(distance, 1.5, -2.5, 0, 1)
    far = n.polynomial(distance, -0.5, 2.5, -4, 2)
    inside = n.is_below(distance, 1)
    ring = n.do("Sub", n.is_below(distance, 2), inside)
    return n.do("Add", n.do("Mul", near, inside), n.do("Mul", far, ring))


def _lanczos(n: Numbers, apart: str) -> str:
    distance = n.do("Abs", apart)
    product = n.do("Mul", n.sinc(distance), n.sinc(n.do("Div", distance, n.of(3))))
    return n.do("Mul", product, n.is_below(distance, 3))


_FILTERS: dict[str, Callable[[Numbers, str], str]] = {
    "box": _box,
    "bilinear": _triangle,
    "hamming": _hamming,
    "bicubic": _cubic,
    "lanczos": _lanczos,
}
