"""The vote of the nearest vectors, as nodes: all are compared, TopK takes the nearest."""

from dataclasses import dataclass

import numpy as np

from featx.errors import InputError
from featx.export.emitter import Emitter
from featx.index.metric import MetricName, unit_rows
from featx.types import Rows, Vectors

MOST_VECTORS = 50_000
"""Vectors that one file may hold: each item is compared with all of them."""

OVERFETCHED = 8
"""How many times as many vectors as vote are measured where distances count."""

HOTTEST = 1e30
"""Largest temperature in float32: all neighbours count the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voters:
    """Labelled vectors, and how the nearest of them vote.

    Attributes
    ----------
    vectors : ndarray of float32, shape (N, D)
    codes : ndarray of int64, shape (N,)
        Class of each.
    k : int
        Neighbours that vote, if there are as many.
    temperature : float
        A vote weighs ``exp(similarity / temperature)``.
    metric : {"cosine", "dot", "l2"}
    """

    vectors: Vectors
    codes: Rows
    k: int
    temperature: float
    metric: MetricName = "cosine"

    @property
    def counted(self) -> int:
        """Neighbours that vote."""
        return min(self.k, len(self.vectors))


def require_few(n: int, where: str) -> None:
    """Raise if so many vectors are too many for one file.

    Raises
    ------
    InputError
        Saying how many are allowed, and what to do.
    """
    if n > MOST_VECTORS:
        message = (
            f"{where}: {n:,} labelled vectors; at most {MOST_VECTORS:,} go into one ONNX file, "
            "which compares each item with all of them; serve the gallery (featx serve), "
            "or train a head (featx train)"
        )
        raise InputError(message)


def emit_shares(
    emitter: Emitter, embedding: str, voters: Voters, n_classes: int
) -> tuple[str, str]:
    """Add the vote; return the names of each class's share (N, C) and of similarities (N, k).

    Raises
    ------
    InputError
        If there are more than `MOST_VECTORS`.
    """
    require_few(len(voters.vectors), "head")
    similarities, rows = _nearest(emitter, embedding, voters)
    temperature = min(voters.temperature, HOTTEST)
    heat = emitter.constant("vote_temperature", temperature, np.float32)
    votes = emitter.node("Softmax", emitter.node("Div", similarities, heat), axis=1)
    codes = emitter.constant("codes", voters.codes, np.int64)
    chosen = emitter.node("Gather", codes, rows)
    each = emitter.node("Reshape", chosen, _shape(emitter, 0, voters.counted, 1))
    classes = emitter.constant("classes", np.arange(n_classes), np.int64)
    is_for = emitter.cast(emitter.node("Equal", each, classes))
    row = emitter.node("Reshape", votes, _shape(emitter, 0, 1, voters.counted))
    shares = emitter.node("MatMul", row, is_for)
    return emitter.node("Reshape", shares, _shape(emitter, 0, n_classes)), similarities


def _nearest(emitter: Emitter, embedding: str, voters: Voters) -> tuple[str, str]:
    """Return the names of similarities, the highest first, and of rows, both (N, k)."""
    if voters.metric == "l2":
        return _nearest_by_distance(emitter, embedding, voters)
    vectors, rows = voters.vectors, embedding
    if voters.metric == "cosine":
        vectors, rows = unit_rows(vectors), emitter.unit(embedding)
    matrix = emitter.constant("vectors", vectors, np.float32)
    return _top(emitter, emitter.node("Gemm", rows, matrix, transB=1), voters.counted)


def _nearest_by_distance(emitter: Emitter, embedding: str, voters: Voters) -> tuple[str, str]:
    """Find some of the nearest by inner products, which round, and then measure distances."""
    centre = voters.vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    centred = voters.vectors - centre  # distances stay, and roundings shrink
    half_squares = np.square(centred, dtype=np.float64).sum(axis=1) / 2
    matrix = emitter.constant("vectors", centred, np.float32)
    bias = emitter.constant("half_squares", -half_squares, np.float32)
    query = emitter.node("Sub", embedding, emitter.constant("vote_centre", centre))
    some = min(OVERFETCHED * voters.counted, len(centred))
    _, rows = _top(emitter, emitter.node("Gemm", query, matrix, bias, transB=1), some)
    one = emitter.node("Reshape", query, _shape(emitter, 0, 1, centred.shape[1]))
    apart = emitter.node("Sub", emitter.node("Gather", matrix, rows), one)
    squares = emitter.reduced("ReduceSum", emitter.node("Mul", apart, apart), 2, keep=False)
    distances = emitter.node("Pow", squares, emitter.constant("half", 0.5, np.float32))
    similarities, order = _top(emitter, emitter.node("Neg", distances), voters.counted)
    return similarities, emitter.node("GatherElements", rows, order, axis=1)


def _top(emitter: Emitter, values: str, count: int) -> tuple[str, str]:
    k = emitter.constant(f"first_{count}", [count], np.int64)
    return emitter.pair("TopK", values, k, axis=1, largest=1, sorted=1)


def _shape(emitter: Emitter, *sizes: int) -> str:
    """Return a shape, in which 0 keeps the size that is there."""
    return emitter.constant("shape_" + "_".join(map(str, sizes)), sizes, np.int64)
