"""Operators that the reference implementation of ONNX gets wrong, or only does in float32."""

from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx.reference.op_run import OpRun

Array = NDArray[Any]


class Erf(OpRun):
    """The one of onnx 1.23 rounds to float32."""

    def _run(self, x: Array) -> tuple[Array]:
        return (np.vectorize(erf, otypes=[x.dtype])(x),)


class Gelu(OpRun):
    """The one of onnx 1.23 uses its `Erf`."""

    def _run(self, x: Array, *, approximate: str) -> tuple[Array]:
        if approximate == "tanh":
            share = np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))
        else:
            share = np.vectorize(erf, otypes=[x.dtype])(x * 0.5**0.5)
        return (x * (1 + share) / 2,)


class ConvTranspose(OpRun):
    """The one of onnx 1.23 fails on groups of several channels, and is slow."""

    def _run(
        self,
        x: Array,
        w: Array,
        *,
        strides: list[int],
        dilations: list[int],
        pads: list[int],
        output_padding: list[int],
        group: int,
        **_: object,
    ) -> tuple[Array]:
        spatial, kernel = x.shape[2:], w.shape[2:]
        x = x.reshape(len(x), group, -1, *spatial)
        w = w.reshape(group, -1, *w.shape[1:])
        steps = list(zip(spatial, strides, dilations, kernel, output_padding, strict=True))
        full = [(n - 1) * s + (k - 1) * d + 1 + rest for n, s, d, k, rest in steps]
        y = np.zeros((len(x), group, w.shape[2], *full), dtype=x.dtype)
        whole = (slice(None),) * 3
        for place in np.ndindex(*kernel):
            at = tuple(
                slice(p * d, p * d + (n - 1) * s + 1, s)
                for p, (n, s, d, _, _) in zip(place, steps, strict=True)
            )
            y[whole + at] += np.einsum("bgc...,gcm->bgm...", x, w[whole + place])
        ends = zip(pads, full, pads[len(kernel) :], strict=False)
        inner = y[whole + tuple(slice(first, size - last) for first, size, last in ends)]
        return (inner.reshape(len(x), -1, *inner.shape[3:]),)


OPERATORS = [Erf, Gelu, ConvTranspose]
