"""Resizing, cropping and normalising pictures as nodes, by the sums that Pillow does.

Pillow resizes one side after the other, and rounds to 8 bits after each.  Pixel i of the result
lies at ``start + (i + 1/2) scale`` of the source, and is the mean of the pixels there, weighted by
a filter as wide as a pixel of the result, in steps of 2^-22 (``src/libImaging/Resample.c``).  Here
the weights of a side are a matrix, made in float64 from the size of the picture, and so each side
is one product.  What is resized to, and what is kept of it, is as in `featx.modality.resizing`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from featx.backbone.graphs.graph import Graph
from featx.errors import InputError
from featx.export.emitter import Emitter, value
from featx.export.filters import Numbers, emit_filter
from featx.export.names import PIXELS
from featx.export.opsets import LEAST_IR, OWN
from featx.modality.image import ROLE
from featx.modality.resizing import box_of, target_of
from featx.zoo.manifest import ImageOptions

STEPS = 2.0**22
"""Weights are whole numbers of these."""


def put_preprocessing(graph: Graph, options: ImageOptions, image: str) -> None:
    """Have a graph take `PIXELS` (B, H, W, 3) of uint8 in RGB order instead of its input `image`.

    Parameters
    ----------
    graph : Graph
        Changed in place.
    options : ImageOptions
    image : str
        Input (B, 3, height, width), which becomes a value inside.

    Raises
    ------
    InputError
        If pictures are resized without regard to what lies between pixels.
    """
    if not options.antialias:
        message = (
            "antialias = false: such a resize is not done in a graph; preprocess outside of it"
        )
        raise InputError(message)
    kept = [each for each in graph.model.graph.input if each.name != image]
    del graph.model.graph.input[:]
    sizes: list[str | int | None] = ["batch", "height", "width", 3]
    pixels = helper.make_tensor_value_info(PIXELS, TensorProto.UINT8, sizes)
    graph.model.graph.input.extend([pixels, *kept])
    emitter = Emitter(graph, "featx/pixels")
    _Preprocessing(emitter, options).emit(image)
    emitter.finish()
    graph.prune()  # and sort: these nodes come first


def is_across_first(options: ImageOptions) -> bool:
    """Return whether rows are always resized before columns, as `featx.modality.resizing` does.

    Else Pillow itself chooses.
    """
    return bool(options.resize_to) or options.rounding != "nearest"


def preprocessing_graph(options: ImageOptions) -> ModelProto:
    """Return a model that takes `PIXELS` and gives what a backbone takes, as output ``image``."""
    made = helper.make_tensor_value_info(ROLE, TensorProto.FLOAT, ["batch", 3, "tall", "wide"])
    graph = helper.make_graph([], "preprocessing", [value(ROLE)], [made])
    opsets = [helper.make_opsetid("", OWN)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=LEAST_IR)
    put_preprocessing(Graph(model), options, ROLE)
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """Names of what is known of one side, numbers in float64.

    Attributes
    ----------
    found, whole : str
        Pixels of the picture, and once it is resized.
    first, count : str
        First pixel that is kept of those, and how many.
    """

    found: str
    whole: str
    first: str
    count: str


class _Preprocessing:
    """The nodes of one way to preprocess."""

    def __init__(self, emitter: Emitter, options: ImageOptions) -> None:
        self.emitter, self.options = emitter, options
        self.n = Numbers(emitter)

    def emit(self, output: str) -> None:
        """Add all nodes; the last one makes `output`."""
        e, options = self.emitter, self.options
        rows, columns = self._sides()
        down, across = self._weights(rows), self._weights(columns)
        channels = e.cast(e.node("Transpose", PIXELS, perm=[0, 3, 1, 2]))
        sides = down, e.node("Transpose", across, perm=[1, 0])
        if is_across_first(options):
            resized = self._resized_across_first(channels, sides)
        else:
            resized = self._resized(channels, sides, self._goes_down_first(rows, columns))
        if options.channel_order == "bgr":
            order = e.constant("order", [2, 1, 0], np.int64)
            resized = e.node("Gather", resized, order, axis=1)
        ground = options.fill or options.mean
        centred = e.node("Sub", resized, self._of_channels("ground", ground))
        padded = e.node("Pad", centred, self._margins(resized))
        if options.fill:
            offset = np.subtract(options.fill, options.mean)
            padded = e.node("Add", padded, self._of_channels("offset", offset))
        e.node("Div", padded, self._of_channels("std", options.std), output=output)

    def _sides(self) -> tuple[_Side, _Side]:
        """Return what is known of both sides; see `whole_size` and `_kept` of the modality."""
        e = self.emitter
        shape = e.node("Shape", PIXELS)
        places = [e.constant(f"place_{place}", place, np.int64) for place in (1, 2)]
        height, width = (e.cast(e.node("Gather", shape, at), TensorProto.DOUBLE) for at in places)
        tall, wide = self._whole(height, width)
        targets = target_of(self.options)
        return self._side(height, tall, targets[0]), self._side(width, wide, targets[1])

    def _side(self, found: str, whole: str, target: int) -> _Side:
        n = self.n
        count = n.do("Min", whole, n.of(target))
        half = n.do("Div", n.do("Sub", whole, count), n.of(2))
        first = n.do("Floor" if self.options.rounding == "transformers" else "Round", half)
        return _Side(found=found, whole=whole, first=first, count=count)

    def _whole(self, height: str, width: str) -> tuple[str, str]:
        n, options = self.n, self.options
        if options.resize == "none":
            return height, width
        tall, wide = (n.of(round(side)) for side in box_of(options))
        if options.resize == "stretch":
            return tall, wide
        if options.resize == "pad":
            scale = n.do("Min", n.do("Div", wide, width), n.do("Div", tall, height))
            sides = [n.do("Round", n.do("Mul", side, scale)) for side in (height, width)]
            return n.do("Max", sides[0], n.of(1)), n.do("Max", sides[1], n.of(1))
        to_whole = "Round" if options.rounding == "nearest" else "Floor"
        # Of the shorter side no more comes out than it must be.
        taller = n.do(to_whole, n.do("Div", n.do("Mul", height, wide), width))
        wider = n.do(to_whole, n.do("Div", n.do("Mul", width, tall), height))
        return n.do("Max", tall, taller), n.do("Max", wide, wider)

    def _weights(self, side: _Side) -> str:
        """Return the name of weights (count, found), float32: what each pixel is the mean of."""
        e, n = self.emitter, self.n
        step = n.do("Div", side.found, side.whole)
        if self.options.resize_to:
            start, scale = n.do("Mul", side.first, step), step
        else:  # Pillow is told what to resize in float32
            start = n.single(n.do("Mul", side.first, step))
            stop = n.single(n.do("Mul", n.do("Add", side.first, side.count), step))
            scale = n.do("Div", n.single(n.do("Sub", stop, start)), side.count)
        axis = e.constant("last_axis", [1], np.int64)
        numbers = e.node("Unsqueeze", n.range(side.count), axis)
        places = n.range(side.found)
        centres = n.do("Add", start, n.do("Mul", n.do("Add", numbers, n.of(0.5)), scale))
        if self.options.interpolation == "nearest":
            return e.cast(n.do("Equal", n.do("Floor", centres), places))
        apart = n.do("Sub", n.do("Add", places, n.of(0.5)), centres)
        weights = emit_filter(
            n, n.do("Div", apart, n.do("Max", scale, n.of(1))), self.options.interpolation
        )
        shares = n.do("Div", weights, e.reduced("ReduceSum", weights, 1))
        steps = n.of(STEPS)
        return e.cast(n.do("Div", n.do("Round", n.do("Mul", shares, steps)), steps))

    def _goes_down_first(self, rows: _Side, columns: _Side) -> str:
        """Return whether the height shrinks, and by more than twice what the width shrinks by.

        Pillow 13 does so; before, it always began with the width.
        """
        n = self.n
        less_tall = n.do("Sub", rows.found, rows.count)
        less_wide = n.do("Sub", columns.found, columns.count)
        is_more = n.do("Greater", less_tall, n.do("Mul", n.of(2), less_wide))
        return n.do("And", n.do("Greater", less_tall, n.of(0)), is_more)

    def _resized(self, channels: str, sides: tuple[str, str], goes_down_first: str) -> str:
        """Multiply (B, 3, H, W) by both weights, in the order that Pillow takes them."""
        bounds = self._bounds()
        down, across = _factors(sides)
        return self.emitter.node(
            "If",
            goes_down_first,
            then_branch=_branch("down_first", channels, [down, across], bounds),
            else_branch=_branch("across_first", channels, [across, down], bounds),
        )

    def _resized_across_first(self, channels: str, sides: tuple[str, str]) -> str:
        """Multiply (B, 3, H, W) by both weights, that of the width first."""
        down, across = _factors(sides)
        nodes, found = _products("across_first", channels, [across, down], self._bounds())
        self.emitter.take(nodes)
        return found

    def _bounds(self) -> list[str]:
        """Return the names of what rounds half up, and of the least and the largest level."""
        return [self.emitter.constant(f"level_{n:g}", n, np.float32) for n in (0.5, 0, 255)]

    def _margins(self, resized: str) -> str:
        """Return what is to be put around pictures (B, 3, tall, wide), as Pad wants it."""
        e = self.emitter
        two, four = (e.constant(f"sizes_{n}", [n], np.int64) for n in (2, 4))
        sizes = e.node("Slice", e.node("Shape", resized), two, four)
        target = e.constant("target", target_of(self.options), np.int64)
        missing = e.node("Sub", target, sizes)
        before = e.node("Div", missing, two)
        nothing = e.constant("no_margin", [0, 0], np.int64)
        return e.node("Concat", nothing, before, nothing, e.node("Sub", missing, before), axis=0)

    def _of_channels(self, name: str, values: ArrayLike) -> str:
        column = np.asarray(values).reshape(-1, 1, 1)
        return self.emitter.constant(name, column, np.float32)


_Factor = tuple[str, str, str]
"""Left and right of a product, of which ``{}`` is what came before, and the name of its side."""


def _factors(sides: tuple[str, str]) -> tuple[_Factor, _Factor]:
    return (sides[0], "{}", "down"), ("{}", sides[1], "across")


def _branch(name: str, channels: str, factors: list[_Factor], bounds: list[str]) -> GraphProto:
    """Return a graph of two products."""
    nodes, found = _products(name, channels, factors, bounds)
    output = helper.make_tensor_value_info(found, TensorProto.FLOAT, None)
    return helper.make_graph(nodes, name, [], [output])


def _products(
    name: str, channels: str, factors: list[_Factor], bounds: list[str]
) -> tuple[list[NodeProto], str]:
    """Return nodes of two products, each rounded half up and cut to 0 to 255, and what they make.

    The order counts: what is cut between the two is lost.
    """
    half, least, most = bounds
    nodes: list[NodeProto] = []
    found = channels
    for left, right, side in factors:
        product, raised, whole, levels = (f"featx/pixels/{name}/{side}_{n}" for n in range(4))
        nodes += [
            helper.make_node("MatMul", [left.format(found), right.format(found)], [product]),
            helper.make_node("Add", [product, half], [raised]),
            helper.make_node("Floor", [raised], [whole]),
            helper.make_node("Clip", [whole, least, most], [levels]),
        ]
        found = levels
    return nodes, found
