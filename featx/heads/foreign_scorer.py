"""Scores of a foreign head: a graph in a head's arrays, run by ONNX Runtime.

Such a graph came with a file, so it may only do what one of ours does: take ``X``, give
``logits``, use the operators that ONNX itself defines, and refer to no file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.errors import DeviceMemoryError, InputError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, ValueInfoProto

    from featx.backbone.runtime import Session

INPUT, OUTPUT = "X", "logits"
STANDARD_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})
REFUSED_OPERATORS = frozenset({"Loop"})
"""What may run for ever; no converted estimator needs it."""

# Rows of one run: nearest neighbours hold a distance to every training row for each.
_BLOCK_ROWS = 1024
_OPEN_SESSIONS = 4


class Widths(NamedTuple):
    """Columns that a graph takes and gives."""

    dim: int
    n_columns: int


def onnx_logits(
    arrays: Mapping[str, NDArray[Any]], X: NDArray[Any], n_columns: int
) -> NDArray[np.float32]:
    """Return what the graph in `arrays` makes of embeddings: logits, or values of a regressor.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        ``graph``: the bytes of an ONNX file as uint8, untrusted.
    X : ndarray, shape (N, D)
        Embeddings; computed with in float32.
    n_columns : int
        Columns that the result must have.

    Returns
    -------
    ndarray of float32, shape (N, n_columns)

    Raises
    ------
    InputError
        If the graph is not as `graph_widths` wants it, or fails, or gives another shape.
    """
    session = _session(_known(arrays["graph"]))
    rows = np.asarray(X, dtype=np.float32, order="C")
    logits = np.empty((len(rows), n_columns), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        logits[block] = _run(session, rows[block], n_columns)
    return logits


def graph_widths(graph: NDArray[np.uint8]) -> Widths:
    """Return the columns that a graph takes and gives, after a check that it may be run.

    Cheap once it has been asked of an equal graph.

    Raises
    ------
    InputError
        If it is no ONNX graph, has another input or output, uses operators that ONNX does not
        define, or refers to a file.
    """
    return _widths(_known(graph))


def _run(session: "Session", rows: NDArray[np.float32], n_columns: int) -> NDArray[np.float32]:
    try:
        (logits,) = session.run([OUTPUT], {INPUT: rows})
    except DeviceMemoryError:
        raise
    except Exception as cause:
        message = f"graph: cannot be run: {str(cause).splitlines()[0]}"
        raise InputError(message) from cause
    if logits.shape != (len(rows), n_columns) or logits.dtype != np.float32:
        message = (
            f"graph: gave {logits.dtype} of shape {logits.shape};"
            f" expected float32 of shape {(len(rows), n_columns)}"
        )
        raise InputError(message)
    if not np.isfinite(logits).all():
        message = "graph: gave values that are not finite; train the head again"
        raise InputError(message)
    return np.asarray(logits)


@dataclass(frozen=True, slots=True)
class _Graph:
    """A graph that is known by its digest, so that an equal one is not opened again."""

    digest: bytes
    content: NDArray[np.uint8] = field(compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Same:
    """An array that is equal to itself alone; the arrays of a head do not change."""

    array: NDArray[np.uint8]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.array is self.array

    def __hash__(self) -> int:
        return id(self.array)


def _known(graph: NDArray[np.uint8]) -> _Graph:
    return _digested(_Same(graph))


# Digesting 3 MB of trees for each request took 6.9 ms of the 7.2 that one row took.
@lru_cache(maxsize=_OPEN_SESSIONS)
def _digested(same: _Same) -> _Graph:
    from blake3 import blake3

    content = np.ascontiguousarray(same.array)
    return _Graph(blake3(content.data).digest(), content)


@lru_cache(maxsize=_OPEN_SESSIONS)
def _session(graph: _Graph) -> "Session":
    from featx.backbone.runtime import open_session

    _widths(graph)
    # One thread: a few rows at a time are not worth sharing, and servers have their own.
    return open_session(graph.content.tobytes(), device="cpu", threads=1)


@lru_cache(maxsize=_OPEN_SESSIONS)
def _widths(graph: _Graph) -> Widths:
    from featx.backbone.graphs.whole import read_whole

    model = read_whole(graph.content.tobytes())
    if model.functions or model.training_info:
        message = "graph: holds functions or training steps; expected operators of ONNX alone"
        raise InputError(message)
    for node in _nodes(model.graph):
        if node.domain not in STANDARD_DOMAINS or node.op_type in REFUSED_OPERATORS:
            name = f"{node.domain}:{node.op_type}".lstrip(":")[:80]
            domains = ", ".join(sorted(STANDARD_DOMAINS - {""}))
            message = f"graph: operator {name!r}; allowed: those of {domains} but Loop"
            raise InputError(message)
    return Widths(
        dim=_width(model.graph.input, INPUT, "input"),
        n_columns=_width(model.graph.output, OUTPUT, "output"),
    )


def _nodes(graph: "GraphProto") -> Iterator["NodeProto"]:
    """Yield all nodes, those of subgraphs included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _nodes(inner)


def _width(values: "list[ValueInfoProto]", name: str, what: str) -> int:
    """Return D of the one value, which must be a float32 matrix (N, D) of that name."""
    from onnx import TensorProto

    # A name that is not UTF-8 is given as bytes.
    found = ", ".join(str(value.name) for value in values)[:80]
    if len(values) != 1 or values[0].name != name:
        message = f"graph: {what} {found!r}; expected one, {name!r}"
        raise InputError(message)
    tensor = values[0].type.tensor_type
    sizes = tensor.shape.dim
    if tensor.elem_type != TensorProto.FLOAT or len(sizes) != 2 or sizes[1].dim_value < 1:
        message = f"graph: {what} {name!r} is no float32 matrix of a known width"
        raise InputError(message)
    return int(sizes[1].dim_value)
