"""A train step as one graph: tail, head, loss, gradients, new parameters and moments."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from featx.finetune.gradients.backward import add_gradients
from featx.finetune.graph.trace import Arrays, trace
from featx.finetune.steps.loss import (
    HEAD_BIAS,
    HEAD_WEIGHT,
    LOGITS,
    LOSS,
    TARGETS,
    append_head,
    append_loss,
)
from featx.finetune.steps.optimiser import Optimiser, append_updates

Shapes = Mapping[str, tuple[int, ...]]


def with_head(tail: ModelProto, shapes: Shapes) -> ModelProto:
    """Return a tail that takes its parameters as inputs, and makes `LOGITS` beside its output.

    Parameters
    ----------
    tail : ModelProto
        Not changed.
    shapes : mapping of str to tuple of int
        Of the parameters: initializers of the tail that are to be inputs, and the head's two.
    """
    model = ModelProto()
    model.CopyFrom(tail)
    graph = model.graph
    kept = [tensor for tensor in graph.initializer if tensor.name not in shapes]
    inputs = [item for item in graph.input if item.name not in shapes]
    for field, values in ((graph.initializer, kept), (graph.input, inputs)):
        del field[:]
        field.extend(values)
    del graph.value_info[:]
    graph.input.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in shapes.items()
    )
    append_head(graph, graph.output[0].name)
    graph.output.append(helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["rows", "C"]))
    return model


def build_step(
    tail: ModelProto, shapes: Shapes, feeds: Arrays, *, optimiser: Optimiser
) -> ModelProto:
    """Return the graph of a train step for batches of one shape.

    Its inputs are those of the tail, `TARGETS`, the parameters, and those that `append_updates`
    adds; its outputs `LOSS`, and new parameters and moments.

    Parameters
    ----------
    tail : ModelProto
        As `split` makes it; not changed.
    shapes : mapping of str to tuple of int
        Of the parameters: names of the tail's initializers, and of the head.
    feeds : mapping of str to ndarray
        Inputs of the tail; only their shapes and types count.
    optimiser : Optimiser

    Raises
    ------
    InputError
        If an operator of the tail has no gradient, or the loss does not depend on a parameter.
    """
    model = with_head(tail, shapes)
    graph = model.graph
    append_loss(graph)
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(LOSS, TensorProto.FLOAT, []))
    rows = len(next(iter(feeds.values())))
    targets = np.zeros((rows, shapes[HEAD_WEIGHT][0]), dtype=np.float32)
    batch = {**feeds, TARGETS: targets}
    _fix_shapes(model, batch)
    zeros = {name: np.zeros(shape, dtype=np.float32) for name, shape in shapes.items()}
    gradients = add_gradients(model, trace(model, {**batch, **zeros}), LOSS, list(shapes))
    append_updates(
        graph,
        gradients,
        shapes,
        optimiser=optimiser,
        pulled=frozenset(shapes) - {HEAD_WEIGHT, HEAD_BIAS},
    )
    return model


def _fix_shapes(model: ModelProto, batch: Mapping[str, NDArray[np.generic]]) -> None:
    """Give the inputs the shapes of a batch, so that ONNX Runtime can plan for them."""
    for item in model.graph.input:
        if item.name in batch:
            array = batch[item.name]
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            item.CopyFrom(helper.make_tensor_value_info(item.name, kind, array.shape))
