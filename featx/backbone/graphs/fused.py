"""A graph for CUDA: nodes fused, float16 inside, each step checked against the plain graph."""

from collections.abc import Iterator

import numpy as np
import onnx

from featx.backbone.graphs.attention import fuse_attention
from featx.backbone.graphs.elementwise import fuse_elementwise
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.packing import pack
from featx.backbone.graphs.pooling import EMBEDDING, append_embedding
from featx.backbone.graphs.probing import Feeds, made_up_feeds, run_graph
from featx.errors import InputError
from featx.types import Vectors
from featx.zoo.manifest import Manifest

FUSED_COSINE = 0.99999
"""Least cosine of a fused float32 graph to the plain one; only the order of sums differs."""

HALF_COSINE = 0.999
"""Least cosine of the float16 graph."""


def fused_half(graph: Graph, manifest: Manifest, output: str, *, packs: bool) -> Graph:
    """Return a float16 graph with the same inputs and outputs, fused where it can be.

    Parameters
    ----------
    graph : Graph
        The plain one; it is not used again.
    manifest : Manifest
    output : str
        Its output that is pooled.
    packs : bool
        Whether to remove padding inside, which only CUDA can do.

    Raises
    ------
    InputError
        If float16 loses too much, measured with made-up inputs on the CPU.
    """
    from featx.backbone.runtime import to_float16

    graph.fold()
    _keep_only(graph, output)
    feeds = made_up_feeds(graph, manifest)
    wanted = _embedded(graph, manifest, output, feeds)
    for candidate in _fused(graph, manifest):
        try:
            worst = _least_cosine(_embedded(candidate, manifest, output, feeds), wanted)
        except Exception:  # noqa: BLE001, S112  (a graph that does not run is no candidate)
            continue
        if worst >= FUSED_COSINE:
            graph = candidate
            break
    to_float16(graph.model)
    half = Graph(graph.model)
    worst = _least_cosine(_embedded(half, manifest, output, feeds), wanted)
    if not worst >= HALF_COSINE:
        message = f"{manifest.name}: float16 gives cosine {worst:.4f} to fp32; allowed: fp32"
        raise InputError(message)
    if packs:
        pack(half, output)
    return half


def _fused(graph: Graph, manifest: Manifest) -> Iterator[Graph]:
    """Yield fused copies: with the mask of the tokens, if there is one, then without."""
    masks = [manifest.inputs["attention_mask"]] if "attention_mask" in manifest.inputs else []
    for mask in (*masks, ""):
        candidate = _copy(graph)
        if fuse_attention(candidate, mask=mask):
            yield from _with_chains_fused(candidate)
            yield candidate
    yield from _with_chains_fused(graph)


def _with_chains_fused(graph: Graph) -> Iterator[Graph]:
    candidate = _copy(graph)
    if fuse_elementwise(candidate):
        yield candidate


def _keep_only(graph: Graph, output: str) -> None:
    kept = [item for item in graph.model.graph.output if item.name == output]
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(kept)
    graph.prune()


def _copy(graph: Graph) -> Graph:
    model = onnx.ModelProto()
    model.CopyFrom(graph.model)
    return Graph(model)


def _embedded(graph: Graph, manifest: Manifest, output: str, feeds: list[Feeds]) -> Vectors:
    """Return the pooled vectors of made-up inputs, in float64, computed on the CPU."""
    pooled = _copy(graph)
    mask = manifest.inputs.get("attention_mask", "")
    pooling = manifest.pooling if mask or manifest.pooling == "none" else "cls"
    append_embedding(pooled, output, pooling=pooling, mask=mask, normalize=True)
    rows: Vectors = np.concatenate([arrays[0] for arrays in run_graph(pooled, [EMBEDDING], feeds)])
    return rows


def _least_cosine(X: Vectors, Y: Vectors) -> float:
    products = np.einsum("nd,nd->n", X.astype(np.float64), Y.astype(np.float64))
    return float(products.min())
