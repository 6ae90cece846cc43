"""Running a graph that is held in memory, on the CPU."""

from math import prod

from onnx import ModelProto, TensorProto, helper, numpy_helper

from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.probing import Feeds
from featx.backbone.runtime import Session, open_session
from featx.errors import DeviceMemoryError, InputError
from featx.modality.content import first_line
from featx.types import Vectors

LARGE_NUMBERS = 1 << 14
"""Weights of more numbers are fed, not stored, so that no copy of a graph comes near 2 GB."""


def run(session: Session, output: str, feeds: Feeds) -> Vectors:
    """Return one output of a session.

    Parameters
    ----------
    session : Session
    output : str
    feeds : Feeds
        Input → array; those that the graph does not have are left out.

    Raises
    ------
    InputError
        If the graph fails on these inputs.
    """
    known = {name: array for name, array in feeds.items() if name in session.inputs}
    try:
        (found,) = session.run([output], known)
    except DeviceMemoryError:
        raise
    except Exception as cause:  # ONNX Runtime's errors have no base of their own
        reason = first_line(cause)[:300]
        shapes = ", ".join(f"{name} {array.shape}" for name, array in feeds.items())
        message = f"its graph fails on inputs of shape {shapes}: {reason}"
        raise InputError(message) from cause
    rows: Vectors = found.astype("float32")
    return rows


def run_graph(graph: Graph, output: str, feeds: Feeds) -> Vectors:
    """Run a graph, however large, and return one of its float32 values.

    Raises
    ------
    InputError
        If ONNX Runtime cannot load it, or it fails on these inputs.
    """
    model = graph.model
    large = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == TensorProto.FLOAT and prod(tensor.dims) > LARGE_NUMBERS
    }
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, list(tensor.dims))
        for name, tensor in large.items()
    ]
    small = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    small.graph.name = "run"
    small.graph.node.extend(model.graph.node)
    small.graph.input.extend([*model.graph.input, *inputs])
    small.graph.initializer.extend(t for t in model.graph.initializer if t.name not in large)
    small.graph.output.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, None))
    session = open_session(small.SerializeToString(), device="cpu")
    weights = {name: numpy_helper.to_array(tensor) for name, tensor in large.items()}
    return run(session, output, {**feeds, **weights})
