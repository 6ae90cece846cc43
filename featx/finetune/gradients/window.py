"""How a convolution or a pooling moves over its input."""

from collections.abc import Sequence
from dataclasses import dataclass

from featx.finetune.gradients.call import Call


@dataclass(frozen=True)
class Window:
    """Sizes along each spatial axis.

    Attributes
    ----------
    kernel, strides, dilations : list of int
    before, after : list of int
        Zeros around the input, as the node says or has them worked out.
    tail : list of int
        Numbers at the end, zeros included, that no window reaches.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    before: list[int]
    after: list[int]
    tail: list[int]

    @property
    def pads(self) -> list[int]:
        """Zeros around the input as ONNX lists them: before each axis, then after each one."""
        return [*self.before, *self.after]


def window(call: Call, kernel: Sequence[int], sizes: Sequence[int], made: Sequence[int]) -> Window:
    """Return how a node gets from `sizes` to `made`, the spatial sizes of input and output."""
    ones = [1] * len(kernel)
    strides = list(call.attribute("strides", ones))
    dilations = list(call.attribute("dilations", ones))
    spans = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(made, strides, kernel, dilations, strict=True)
    ]
    before, after = _pads(call, spans, sizes)
    return Window(
        kernel=list(kernel),
        strides=strides,
        dilations=dilations,
        before=before,
        after=after,
        tail=[
            max(size + b + a - span, 0)
            for span, size, b, a in zip(spans, sizes, before, after, strict=True)
        ],
    )


def _pads(call: Call, spans: Sequence[int], sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Return the padding before and after, worked out where the node only says how."""
    rule = call.attribute("auto_pad", "NOTSET")
    if rule == "NOTSET":
        pads = call.attribute("pads", [0] * 2 * len(sizes))
        return list(pads[: len(sizes)]), list(pads[len(sizes) :])
    if rule == "VALID":
        return [0] * len(sizes), [0] * len(sizes)
    total = [max(span - size, 0) for span, size in zip(spans, sizes, strict=True)]
    less, more = [each // 2 for each in total], [each - each // 2 for each in total]
    return (less, more) if rule == "SAME_UPPER" else (more, less)
