"""Made-up inputs for a graph, to see what flows through it and to compare it with another one."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from featx.backbone.graphs.graph import Graph
from featx.zoo.manifest import Manifest

Feeds = dict[str, NDArray[Any]]

SEED = 7
BATCH = 4
LENGTHS = (16, 48)


def made_up_feeds(graph: Graph, manifest: Manifest) -> list[Feeds]:
    """Return some batches of random tokens, with padding, or of standard normal numbers.

    Axes of the graph without a size take the batch's, and for other axes the image's or one of
    `LENGTHS`.
    """
    rng = np.random.default_rng(SEED)
    roles = {name: role for role, name in manifest.inputs.items()}
    feeds: list[Feeds] = []
    for length in LENGTHS:
        lengths = np.array([length, length // 2, length, length // 3])
        feeds.append(
            {
                name: _array(graph, _sized(info, manifest), roles.get(name, ""), lengths, rng)
                for name, info in graph.inputs.items()
            }
        )
    return feeds


def tapped(graph: Graph, names: Sequence[str]) -> list[str]:
    """Make float values outputs of the graph (changed in place) and return their names."""
    known = {item.name for item in graph.model.graph.output}
    for name in names:
        if name not in known:
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            graph.model.graph.output.append(info)
    return list(names)


def _sized(info: ValueInfoProto, manifest: Manifest) -> ValueInfoProto:
    """Give an image's axes (the last two) the size that the manifest says."""
    sized = ValueInfoProto()
    sized.CopyFrom(info)
    axes = sized.type.tensor_type.shape.dim
    if manifest.image is not None and len(axes) == 4:
        height, width = (*manifest.image.size, *manifest.image.size)[:2]
        axes[2].dim_value, axes[3].dim_value = height, width
    return sized


def _array(
    graph: Graph, info: ValueInfoProto, role: str, lengths: NDArray[Any], rng: np.random.Generator
) -> NDArray[Any]:
    kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    longest = int(lengths.max())
    shape = [
        int(d.dim_value) or (BATCH if place == 0 else longest)
        for place, d in enumerate(info.type.tensor_type.shape.dim)
    ]
    mask = np.arange(longest) < lengths[:, None]
    if role == "attention_mask":
        return mask.astype(kind)
    if role == "token_ids":
        return np.where(mask, rng.integers(0, _vocabulary(graph, info.name), mask.shape), 0).astype(
            kind
        )
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(shape).astype(kind)
    return np.zeros(shape, dtype=kind)


def _vocabulary(graph: Graph, ids: str) -> int:
    """Return the number of rows of the table that token ids are looked up in."""
    for node in graph.nodes:
        if node.op_type == "Gather" and node.input[1] == ids and (n := graph.rows(node.input[0])):
            return n
    return 2


def run_graph(graph: Graph, outputs: Sequence[str], feeds: Sequence[Feeds]) -> list[list[Any]]:
    """Run a graph on the CPU and return its outputs for each of the feeds."""
    from featx.backbone.runtime import open_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        onnx.save(graph.model, path)
        session = open_session(path, device="cpu")
        return [
            session.run(outputs, {name: each[name] for name in session.inputs}) for each in feeds
        ]
