"""Which backbones int8 is offered for, and what it needs to know of them."""

import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

from featx.backbone.graphs.graph import MICROSOFT, Graph
from featx.backbone.graphs.int8 import Range, measured, products, quantize
from featx.backbone.graphs.probing import made_up_feeds, run_graph, tapped
from featx.zoo.manifest import Manifest

OTHER_LAYERS = {
    "Conv": "convolutions",
    "ConvTranspose": "convolutions",
    "LSTM": "recurrent layers",
    "GRU": "recurrent layers",
    "RNN": "recurrent layers",
    "Gemm": "layers of type Gemm",
}
"""Operators with weights that are not quantised → what a message calls them."""

LEAST_OPSET = 13
"""The first one whose QuantizeLinear takes a scale for each row."""


def obstacle(graph: Graph) -> str:
    """Return what most of the weights are in, if not in matrix products; else an empty text."""
    if graph.opset < LEAST_OPSET:
        return f"graphs of opset {graph.opset}"
    sizes: dict[str, int] = dict.fromkeys(OTHER_LAYERS.values(), 0)
    for node in graph.nodes:
        if node.op_type in OTHER_LAYERS:
            arrays = [graph.constant(name) for name in node.input[1:] if name]
            size = sum(array.size for array in arrays if array is not None)
            sizes[OTHER_LAYERS[node.op_type]] += size
    found = [weights for node in graph.nodes if (weights := graph.weights(node)) is not None]
    matrices = sum(weights.size for weights in found)
    most = max(sizes, key=lambda name: sizes[name])
    if sizes[most] > matrices:
        return most
    return "" if products(graph) else "graphs without large matrix products"


def quantize_rows(graph: Graph, manifest: Manifest, *, largest: int) -> int:
    """Quantise a graph with the ranges that made-up inputs show; return how many products."""
    return quantize(graph, _ranges(manifest, list(products(graph))), largest=largest)


def _ranges(manifest: Manifest, names: list[str]) -> dict[str, Range]:
    graph = Graph.load(manifest.file("graph"))
    feeds = made_up_feeds(graph, manifest)
    seen: dict[str, list[Range]] = {name: [] for name in names}
    for arrays in run_graph(graph, tapped(graph, names), feeds):
        for name, array in zip(names, arrays, strict=True):
            seen[name].append(measured(array))
    return {name: _joined(ranges) for name, ranges in seen.items()}


def _joined(ranges: list[Range]) -> Range:
    peaks = np.max([each.peaks for each in ranges], axis=0)
    return Range(peaks, round(float(np.mean([each.zero_point for each in ranges]))))


@cache
def largest_weight() -> int:
    """Return 127, or 63 on a processor whose sums of two 8-bit products overflow 16 bits."""
    from featx.backbone.runtime import open_session

    names = ["rows", "weights", "one", "scales", "zero"]
    weights = numpy_helper.from_array(np.full((64, 32), 127, dtype=np.int8), "weights")
    one = numpy_helper.from_array(np.array(1, dtype=np.float32), "one")
    scales = numpy_helper.from_array(np.ones(32, dtype=np.float32), "scales")
    zero = numpy_helper.from_array(np.array(0, dtype=np.uint8), "zero")
    node = helper.make_node("MatMulIntegerToFloat", names, ["sums"], domain=MICROSOFT)
    graph = helper.make_graph(
        [node],
        "probe",
        [helper.make_tensor_value_info("rows", TensorProto.UINT8, [8, 64])],
        [helper.make_tensor_value_info("sums", TensorProto.FLOAT, [8, 32])],
        [weights, one, scales, zero],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(MICROSOFT, 1)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "probe.onnx"
        save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
        session = open_session(path, device="cpu", threads=1)
        (sums,) = session.run(["sums"], {"rows": np.full((8, 64), 255, dtype=np.uint8)})
    return 127 if bool((sums == 64 * 127 * 255).all()) else 63
