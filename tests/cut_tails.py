"""The last blocks of the small networks, and arrays to train them on."""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from exported_models import exported_manifest
from featx.backbone.graphs.probing import Feeds
from featx.finetune.graph.cuts import cut_for_blocks, find_cuts
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import split

TOKENS = 7


def drawn(*shape: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def at_cut(name: str, rows: int) -> tuple[ModelProto, Feeds, int]:
    """Return the last block of an exported network, inputs for it, and the width of its output."""
    manifest = exported_manifest(name)
    graph = plain_graph(manifest)
    parts = split(graph, cut_for_blocks(find_cuts(graph, probe_feeds(graph, manifest)), 1))
    sizes = [size if isinstance(size, int) else TOKENS for size in parts.cut.shape[1:]]
    feeds: Feeds = {parts.cut.tensor: drawn(rows, *sizes)}
    lengths = 1 + np.arange(rows)[:, None] % TOKENS
    feeds |= {
        mask: (np.arange(TOKENS) < lengths).astype(np.int64) for mask in parts.cut.extra_inputs
    }
    return parts.tail, feeds, manifest.dim
