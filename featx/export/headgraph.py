"""The part of an exported graph from embeddings on, as a graph of its own that may be checked."""

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from featx.backbone.graphs.graph import Graph
from featx.errors import InputError
from featx.export.names import EMBEDDING, NOVEL
from featx.heads.foreign_scorer import INPUT, OUTPUT


def head_graph(model: ModelProto, end: str, dim: int, n_columns: int) -> NDArray[np.uint8]:
    """Return what makes `end` of `EMBEDDING`, as bytes that `foreign_scorer` takes.

    Parameters
    ----------
    model : ModelProto
        Of an exported file, untrusted; it is not changed.
    end : str
        `LOGITS`, or `NOVEL`, which becomes a column of 0 and 1.
    dim, n_columns : int
        Columns of embeddings and of the result.

    Raises
    ------
    InputError
        If nothing makes `end`, or something else than embeddings goes into it.
    """
    graph = Graph(model)
    nodes = _between(graph, EMBEDDING, end)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    made = {EMBEDDING, *(name for node in nodes for name in node.output)}
    read = {name for node in nodes for name in node.input if name}
    if strangers := sorted(read - made - stored.keys()):
        message = f"its graph has a head that reads {strangers[0][:80]!r}, which is no embedding"
        raise InputError(message)
    begin = helper.make_node("Identity", [INPUT], [EMBEDDING])
    cut = helper.make_graph(
        [begin, *nodes, *(_column(end) if end == NOVEL else [])],
        "head",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, dim])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, n_columns])],
        [stored[name] for name in sorted(read & stored.keys())],
    )
    if end == NOVEL:
        cut.initializer.append(numpy_helper.from_array(np.array([-1, 1]), _SHAPE))
    found = helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version)
    return np.frombuffer(found.SerializeToString(), dtype=np.uint8)


_SHAPE = "featx/novel_shape"


def _column(name: str) -> list[NodeProto]:
    """Return nodes that make a column of 0 and 1 of truths (N,)."""
    return [
        helper.make_node("Cast", [name], ["featx/novel_number"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["featx/novel_number", _SHAPE], [OUTPUT]),
    ]


def _between(graph: Graph, start: str, end: str) -> list[NodeProto]:
    """Return the nodes that `end` needs beyond `start`, in their order."""
    needed: set[str] = {start}
    waiting, kept = [end], set()
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        node = graph.maker(name)
        if node is not None:
            kept.add(node.output[0])
            waiting += node.input
    if not kept:
        message = f"its graph makes no {end!r}"
        raise InputError(message)
    return [node for node in graph.nodes if node.output and node.output[0] in kept]
