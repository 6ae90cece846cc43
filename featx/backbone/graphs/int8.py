"""8-bit matrix products in which every row is quantised by itself.

The usual dynamic quantisation takes one scale from all rows of a batch, so that a vector depends on
its neighbours.  Here each row of activations (a token, a patch) has its own scale, and each column
of weights has one, so a row is the same in any batch.  Before that, large channels of a row are
divided by a factor that the weights are multiplied by (Xiao et al. 2023, SmoothQuant,
arXiv:2211.10438).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper

from featx.backbone.graphs.graph import MICROSOFT, Graph

Attribute = Any
"""What `onnx.helper.make_node` takes."""

LEAST_WEIGHTS = 4096
"""Smaller matrices are left as they are."""

SMOOTHING = 0.65
"""Share of the range of a channel that moves from the activations to the weights (their alpha)."""

ONE_SIDED = 48
"""Rows whose zero point is farther from the middle, 128, are those of an activation function."""

TINY = np.float32(1e-12)


@dataclass(frozen=True, slots=True)
class Range:
    """What was seen of the rows that a matrix is multiplied with.

    Attributes
    ----------
    peaks : ndarray of float32, shape (K,)
        Largest absolute value of each channel.
    zero_point : int
        Where zero lies between the smallest and the largest value of a row, 0 to 255.
    """

    peaks: NDArray[np.float32]
    zero_point: int


@dataclass(frozen=True, slots=True)
class _Product:
    node: NodeProto
    weights: NDArray[np.float32]


def products(graph: Graph) -> dict[str, list[NodeProto]]:
    """Return the MatMul nodes with large constant weights, by the name of what they multiply."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.nodes:
        weights = graph.weights(node)
        if weights is not None and weights.size >= LEAST_WEIGHTS:
            found.setdefault(node.input[0], []).append(node)
    return found


def measured(rows: NDArray[np.float32]) -> Range:
    """Return the range of rows, shape (..., K)."""
    X = rows.reshape(-1, rows.shape[-1])
    low, high = np.minimum(X.min(axis=1), 0), np.maximum(X.max(axis=1), TINY)
    share = float(np.mean(-low / (high - low)))
    return Range(np.abs(X).max(axis=0), int(np.clip(round(255 * share), 8, 247)))


def quantize(graph: Graph, ranges: Mapping[str, Range], *, largest: int) -> int:
    """Replace matrix products by 8-bit ones and return how many.

    Parameters
    ----------
    graph : Graph
        Changed in place; its opset must be 13 or later.
    ranges : mapping
        What each of `products` multiplies → its range.
    largest : int
        Largest absolute value of an 8-bit weight: 127, or 63 where products of 8 bits overflow.
    """
    count = 0
    for source, nodes in products(graph).items():
        group = [_Product(node, _weights(graph, node)) for node in nodes]
        made = _quantized_rows(graph, source, group, ranges[source], largest)
        graph.replace(nodes, made, at=nodes[0])
        count += len(nodes)
    graph.use_microsoft()
    return count


def smoothing(seen: Range, weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the factor that each channel is divided by, shape (K,).

    Ones for what comes out of an activation function (its rows lie on one side of zero): its peaks
    are another item's elsewhere.
    """
    if abs(seen.zero_point - 128) > ONE_SIDED:
        return np.ones(len(weights), dtype=np.float32)
    widths = np.maximum(np.abs(weights).max(axis=1), 1e-4)
    peaks = np.maximum(seen.peaks, 1e-4)
    factors: NDArray[np.float32] = peaks**SMOOTHING / widths ** (1 - SMOOTHING)
    return factors.astype(np.float32)


def quantized_columns(
    weights: NDArray[np.float32], largest: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return whole numbers, shape (K, N), and the scale of each column, shape (N,).

    Examples
    --------
    >>> whole, scales = quantized_columns(np.array([[0.5], [-1.0]], dtype=np.float32), 127)
    >>> whole.ravel().tolist(), round(float(scales[0]) * 127, 6)
    ([64, -127], 1.0)
    """
    scales = np.maximum(np.abs(weights).max(axis=0), TINY) / np.float32(largest)
    whole = np.clip(np.rint(weights / scales), -largest, largest)
    return whole.astype(np.int8), scales.astype(np.float32)


def _weights(graph: Graph, node: NodeProto) -> NDArray[np.float32]:
    weights = graph.weights(node)
    assert weights is not None
    return weights


class _Nodes:
    """Nodes that are being made for one group of products; `mark` makes their names unique."""

    def __init__(self, graph: Graph, mark: str) -> None:
        self.graph, self.mark, self.made = graph, mark, list[NodeProto]()

    def constant(self, name: str, array: NDArray[Any]) -> str:
        return self.graph.add_constant(f"{self.mark}/{name}", array)

    def add(self, operator: str, inputs: list[str], name: str, **attributes: Attribute) -> str:
        output = f"{self.mark}/{name}"
        self.made.append(helper.make_node(operator, inputs, [output], **attributes))
        return output


def _quantized_rows(
    graph: Graph, source: str, group: list[_Product], seen: Range, largest: int
) -> list[NodeProto]:
    """Return nodes that quantise the rows of `source` once and multiply them by each matrix."""
    nodes = _Nodes(graph, f"{source}/int8")
    joint = np.concatenate([product.weights for product in group], axis=1)
    factors = smoothing(seen, joint)
    rows = _flat(nodes, source, len(factors), factors)
    scale, whole, zero = _rows_to_bytes(nodes, rows, seen.zero_point)
    shape = _leading_shape(nodes, source)
    for number, product in enumerate(group):
        W, scales = quantized_columns(product.weights * factors[:, None], largest)
        inputs = [
            whole,
            nodes.constant(f"{number}/weights", W),
            nodes.constant("one", np.array(1, dtype=np.float32)),
            nodes.constant(f"{number}/scales", scales),
            zero,
        ]
        raw = nodes.add("MatMulIntegerToFloat", inputs, f"{number}/raw", domain=MICROSOFT)
        scaled = nodes.add("Mul", [raw, scale], f"{number}/scaled")
        width = nodes.constant(f"{number}/width", np.array([W.shape[1]], dtype=np.int64))
        full = nodes.add("Concat", [shape, width], f"{number}/shape", axis=0)
        nodes.made.append(helper.make_node("Reshape", [scaled, full], [product.node.output[0]]))
    return nodes.made


def _flat(nodes: _Nodes, source: str, width: int, factors: NDArray[np.float32]) -> str:
    """Divide by the factors and lay the rows out as (R, K)."""
    smooth = nodes.add("Mul", [source, nodes.constant("factors", 1 / factors)], "smooth")
    shape = nodes.constant("flat", np.array([-1, width], dtype=np.int64))
    return nodes.add("Reshape", [smooth, shape], "rows")


def _rows_to_bytes(nodes: _Nodes, rows: str, zero_point: int) -> tuple[str, str, str]:
    """Return the scale of each row, shape (R, 1), the uint8 rows, and the zero point."""
    highest = _reduced(nodes, "ReduceMax", rows)
    lowest = _reduced(nodes, "ReduceMin", rows)
    above = nodes.constant("above", np.array(1 / (255 - zero_point), dtype=np.float32))
    below = nodes.constant("below", np.array(-1 / zero_point, dtype=np.float32))
    up = nodes.add("Mul", [highest, above], "up")
    down = nodes.add("Mul", [lowest, below], "down")
    scale = nodes.add("Max", [up, down, nodes.constant("tiny", np.array(TINY))], "scale")
    column = nodes.constant("column", np.array([1], dtype=np.int64))
    flat = nodes.add("Squeeze", [scale, column], "scale/flat")
    shape = nodes.add("Shape", [flat], "scale/shape")
    value = helper.make_tensor("value", TensorProto.UINT8, [1], [zero_point])
    zeros = nodes.add("ConstantOfShape", [shape], "zeros", value=value)
    whole = nodes.add("QuantizeLinear", [rows, flat, zeros], "whole", axis=0)
    return scale, whole, nodes.constant("zero", np.array(zero_point, dtype=np.uint8))


def _reduced(nodes: _Nodes, operator: str, rows: str) -> str:
    """Reduce over the last axis; opset 18 made the axes an input."""
    if nodes.graph.opset >= 18:
        axes = nodes.constant("column", np.array([1], dtype=np.int64))
        return nodes.add(operator, [rows, axes], operator, keepdims=1)
    return nodes.add(operator, [rows], operator, axes=[1], keepdims=1)


def _leading_shape(nodes: _Nodes, source: str) -> str:
    """Return the shape of `source` without its last axis."""
    shape = nodes.add("Shape", [source], "source/shape")
    start = nodes.constant("start", np.array([0], dtype=np.int64))
    end = nodes.constant("end", np.array([-1], dtype=np.int64))
    return nodes.add("Slice", [shape, start, end], "source/leading")
