"""From embeddings to the logits of a head, as nodes; what `featx.heads.predict` does in NumPy."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import numpy_helper

from featx.backbone.graphs.whole import read_whole
from featx.errors import InputError
from featx.export.emitter import Emitter
from featx.export.opsets import require_opset
from featx.export.votes import Voters, emit_shares
from featx.heads.foreign_scorer import INPUT, OUTPUT
from featx.heads.predict import Head

Arrays = Mapping[str, NDArray[Any]]


def emit_logits(emitter: Emitter, embedding: str, head: Head) -> str:
    """Add what a head makes of embeddings (N, D), and return the name of its logits (N, C).

    Raises
    ------
    InputError
        If there is no such form of this kind of head.
    """
    if head.kind not in _EMITTERS:
        known = ", ".join(sorted(_EMITTERS))
        message = f"head: kind {head.kind!r} has no ONNX form; those that have: {known}"
        raise InputError(message)
    return _EMITTERS[head.kind](emitter, embedding, head)


def _linear(emitter: Emitter, embedding: str, head: Head) -> str:
    return _gemm(emitter, embedding, head.arrays["coef"], head.arrays["intercept"])


def _centroid(emitter: Emitter, embedding: str, head: Head) -> str:
    """Minus half the squared distance to each mean, up to a number for each row."""
    centroids = head.arrays["centroids"].astype(np.float64)
    centre = emitter.constant("centre", head.arrays["centre"], np.float32)
    unit = emitter.unit(emitter.node("Sub", embedding, centre))
    return _gemm(emitter, unit, centroids, -np.square(centroids).sum(axis=1) / 2)


def _gemm(emitter: Emitter, rows: str, coef: NDArray[Any], intercept: NDArray[Any]) -> str:
    weights = emitter.constant("coef", coef, np.float32)
    bias = emitter.constant("intercept", intercept, np.float32)
    return emitter.node("Gemm", rows, weights, bias, transB=1)


def _neighbours(emitter: Emitter, embedding: str, head: Head) -> str:
    """Logarithm of each class's share of the vote, after one more neighbour voted for every one."""
    arrays, n_classes = head.arrays, len(head.classes)
    voters = Voters(
        vectors=arrays["vectors"],
        codes=arrays["codes"],
        k=int(arrays["k"]),
        temperature=float(arrays["vote_temperature"]),
    )
    shares, _ = emit_shares(emitter, embedding, voters, n_classes)
    k = voters.counted
    factor = emitter.constant("share_factor", k / (k + 1), np.float32)
    more = emitter.constant("share_added", 1 / (n_classes * (k + 1)), np.float32)
    smooth = emitter.node("Add", emitter.node("Mul", shares, factor), more)
    return emitter.node("Log", smooth)


def _foreign(emitter: Emitter, embedding: str, head: Head) -> str:
    """Join the graph that a foreign head is, under names of its own."""
    model = read_whole(head.arrays["graph"].tobytes(), name="head")
    known = {INPUT: embedding}

    def own(name: str) -> str:
        return known.setdefault(name, f"featx/foreign/{name}") if name else ""

    for opset in model.opset_import:
        require_opset(emitter.graph, opset.domain, opset.version)
    for tensor in model.graph.initializer:
        emitter.graph.add_constant(own(tensor.name), numpy_helper.to_array(tensor))
    for node in model.graph.node:
        node.input[:] = [own(name) for name in node.input]
        node.output[:] = [own(name) for name in node.output]
        node.name = own(node.name)
    emitter.take(model.graph.node)
    return own(OUTPUT)


_EMITTERS: dict[str, Callable[[Emitter, str, Head], str]] = {
    "centroid": _centroid,
    "knn": _neighbours,
    "lda": _linear,
    "logreg": _linear,
    "ridge": _linear,
    "sklearn": _foreign,
}
"""Kind of head → function of (emitter, embedding, head) that returns the name of the logits."""
