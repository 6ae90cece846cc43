"""Scores of a foreign head: a graph in a head's arrays, run by ONNX Runtime.

Such a graph came with a file, so it may only do what one of ours does: take ``X``, give
``logits``, use the operators that ours use, and hold no tensor that is larger than the file.
"""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featx.errors import DeviceMemoryError, InputError

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

    from featx.backbone.runtime import Session

INPUT, OUTPUT = "X", "logits"

OPERATORS = frozenset(
    """
    Abs Add ArgMax ArgMin Cast Clip Concat CumSum Div Equal Exp Flatten Gather GatherElements
    Gemm Greater Identity Less Log MatMul Max Mul Neg Not Pow Reciprocal ReduceL2 ReduceLogSumExp
    ReduceMax ReduceMean ReduceSum Relu Reshape Sigmoid Softmax Sub Sum Tanh TopK Transpose
    ai.onnx.ml:ArrayFeatureExtractor ai.onnx.ml:LinearClassifier ai.onnx.ml:LinearRegressor
    ai.onnx.ml:Normalizer ai.onnx.ml:SVMClassifier ai.onnx.ml:SVMRegressor
    ai.onnx.ml:TreeEnsembleClassifier ai.onnx.ml:TreeEnsembleRegressor ai.onnx.ml:ZipMap
    com.microsoft:CDist
    """.split()  # noqa: SIM905 - a list would fill a screen
)
"""What the graphs of heads use, of scikit-learn's and exported ones; nothing else is trusted.

Branches and loops (If, Loop, Scan), and tensors of a size that is a number in the file
(ConstantOfShape, Expand, Tile), are not among them: with these a file of 1 kB ran without end, or
took gigabytes.  AdaBoostClassifier and GaussianProcessRegressor would need them, and are refused.
Matrices joined or multiplied many times can still be large; only what the file holds is measured.
"""

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
    session = _known(_Graph(arrays["graph"])).session
    rows = np.asarray(X, dtype=np.float32, order="C")
    logits = np.empty((len(rows), n_columns), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        logits[block] = _run(session, rows[block], n_columns)
    return logits


def graph_widths(graph: NDArray[np.uint8]) -> Widths:
    """Return the columns that a graph takes and gives, after a check that it may be run.

    Cheap once it has been asked of this array, which must not change.

    Raises
    ------
    InputError
        If it is no ONNX graph, has another input or output, uses an operator that is none of
        `OPERATORS`, claims a tensor that is larger than itself, or refers to a file.
    """
    return _known(_Graph(graph)).widths


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


class _Graph:
    """A graph with what is known of it; equal to one of the same array, and to no other.

    Comparing bytes, or digests of them, would take most of the time of a request: digesting 3 MB
    of trees took 6.9 ms of the 7.2 that one row took.
    """

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self.array = array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Graph) and other.array is self.array

    def __hash__(self) -> int:
        return id(self.array)

    @cached_property
    def widths(self) -> Widths:
        return _checked_widths(self.array.tobytes())

    @cached_property
    def session(self) -> "Session":
        from featx.backbone.runtime import open_session

        self.widths  # noqa: B018 - raises unless the graph may be run
        # One thread: a few rows at a time are not worth sharing, and servers have their own.
        return open_session(self.array.tobytes(), device="cpu", threads=1)


@lru_cache(maxsize=_OPEN_SESSIONS)
def _known(graph: _Graph) -> _Graph:
    """Return the graph of the same array that was seen before, or else this one."""
    return graph


def _checked_widths(content: bytes) -> Widths:
    from featx.backbone.graphs.whole import read_whole

    model = read_whole(content)
    if model.functions or model.training_info:
        message = "graph: holds functions or training steps; expected operators of ONNX alone"
        raise InputError(message)
    _check_operators(model.graph)
    _check_sizes(model.graph, len(content))
    return Widths(
        dim=_width(model.graph.input, INPUT, "input"),
        n_columns=_width(model.graph.output, OUTPUT, "output"),
    )


def _check_operators(graph: "GraphProto") -> None:
    """Raise on an operator that ours do not use; none of ours holds another graph."""
    for node in graph.node:
        name = f"{node.domain}:{node.op_type}".lstrip(":")
        if name not in OPERATORS:
            message = f"graph: operator {name[:80]!r}; allowed: the {len(OPERATORS)} that ours use"
            raise InputError(message)


def _check_sizes(graph: "GraphProto", size_bytes: int) -> None:
    """Raise where a few bytes stand for many values: each value takes a byte at least."""
    attributes = [each for node in graph.node for each in node.attribute]
    if graph.sparse_initializer or any(each.HasField("sparse_tensor") for each in attributes):
        message = "graph: holds a sparse tensor; expected dense ones"
        raise InputError(message)
    tensors = [*graph.initializer, *(each.t for each in attributes)]
    # A number may be a size too, such as the targets of trees.
    sizes = [*(prod(each.dims) for each in tensors), *(each.i for each in attributes)]
    claimed = max(sizes, default=0)
    if claimed > size_bytes:
        message = f"graph: claims {claimed} values in {size_bytes} bytes; train the head again"
        raise InputError(message)


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
