"""Whether items are unlike those trained on, as nodes; `featx.heads.novelty` does it in NumPy."""

import numpy as np
from onnx import TensorProto

from featx.export.emitter import Emitter
from featx.heads.novelty import Novelty


def emit_novelty(emitter: Emitter, embedding: str, novelty: Novelty) -> str:
    """Add the distance of embeddings (N, D), summed in float64; return the name of (N,) bool."""
    rows = emitter.node("Sub", embedding, emitter.constant("novel_mean", novelty.mean))
    outside = ""
    if novelty.basis is not None:
        basis = emitter.constant("novel_basis", novelty.basis)
        inside = emitter.node("Gemm", rows, basis, transB=1)
        outside = _square_length(emitter, emitter.node("Sub", rows, _times(emitter, inside, basis)))
        rows = inside
    whiten = emitter.constant("novel_whiten", novelty.whiten)
    white = emitter.cast(_times(emitter, rows, whiten), TensorProto.DOUBLE)
    nearest, common = _nearest(emitter, white, novelty), _common(emitter, white, novelty)
    distance = emitter.node("Sub", nearest, common)
    if outside:
        beyond = emitter.constant("novel_beyond", novelty.beyond, np.float64)
        distance = emitter.node("Add", distance, emitter.node("Mul", outside, beyond))
    limit = emitter.constant("novel_threshold", novelty.threshold, np.float64)
    every = emitter.constant("novel_rows", [-1], np.int64)
    return emitter.node("Reshape", emitter.node("Greater", distance, limit), every)


def _nearest(emitter: Emitter, white: str, novelty: Novelty) -> str:
    """Return the squared distance to the nearest centre, (N, 1)."""
    centres = novelty.centres.astype(np.float64)
    double = emitter.constant("novel_centres", -2 * centres.T)
    squares = emitter.constant("novel_squares", np.square(centres).sum(axis=1))
    apart = emitter.node("Add", _times(emitter, white, double), squares)
    apart = emitter.node("Add", apart, _square_length(emitter, white))
    apart = emitter.node("Max", apart, emitter.constant("novel_zero", 0, np.float64))
    return emitter.node("Neg", emitter.reduced("ReduceMax", emitter.node("Neg", apart), 1))


def _common(emitter: Emitter, white: str, novelty: Novelty) -> str:
    """Return what makes any item unusual, (N, 1)."""
    background = novelty.background.astype(np.float64)[:, None]
    weights = emitter.constant("novel_background", background)
    return _times(emitter, emitter.node("Mul", white, white), weights)


def _square_length(emitter: Emitter, rows: str) -> str:
    """Return the squared length of rows (N, R), summed in float64, (N, 1)."""
    wide = emitter.cast(rows, TensorProto.DOUBLE)
    return emitter.reduced("ReduceSum", emitter.node("Mul", wide, wide), 1)


def _times(emitter: Emitter, rows: str, matrix: str) -> str:
    return emitter.node("MatMul", rows, matrix)
