"""Gradients against differences in float64, and in float32 against those in float64."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from featx.backbone.runtime import open_session
from featx.finetune.gradients.backward import add_gradients
from featx.finetune.graph.trace import Traced, trace
from reference_operators import OPERATORS

Arrays = dict[str, NDArray[Any]]

STEP = 1e-5
"""Of a central difference: its own error is near STEP squared, and rounding / STEP."""

TOLERANCE = 2e-6
"""Largest error of a gradient, relative to its largest element, against float64."""

CHECKED = 24
"""Elements of one value that are moved, at most."""

KINDS = {"Cast": "to", "GroupNormalization": "stash_type"}
"""Attributes that say in which type something is computed."""

LOSS, DIRECTION = "check/loss", "check/direction"


@dataclass(frozen=True)
class Checked:
    """Largest errors of one case, relative to the largest element of each gradient."""

    against_differences: float
    in_float32: float


def model_of(
    nodes: Sequence[NodeProto], feeds: Arrays, weights: Arrays, *, opset: int, output: str = "y"
) -> onnx.ModelProto:
    """Return a model in float32 whose loss is a weighted sum of its output."""
    model = helper.make_model(
        helper.make_graph(
            list(nodes),
            "case",
            [_info(name, array) for name, array in feeds.items()],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=10,
    )
    shape = trace(model, feeds).shapes[output]
    add_loss(model, output, np.random.default_rng(1).standard_normal(shape).astype(np.float32))
    return model


def add_loss(model: onnx.ModelProto, output: str, direction: NDArray[np.float32]) -> None:
    """Append ``LOSS = sum(output * direction)``."""
    model.graph.initializer.append(numpy_helper.from_array(direction, DIRECTION))
    model.graph.node.extend(
        [
            helper.make_node("Mul", [output, DIRECTION], ["check/weighed"]),
            helper.make_node("ReduceSum", ["check/weighed"], [LOSS], keepdims=0),
        ]
    )


def check(model: onnx.ModelProto, feeds: Arrays, wrt: Sequence[str]) -> Checked:
    """Return how far gradients are from differences, and in float32 from those in float64."""
    traced = trace(model, feeds)
    exact = gradients_in_float64(model, traced, feeds, wrt)
    single = gradients_in_float32(model, traced, feeds, wrt)
    moved = differences(model, feeds, wrt)
    worst = [0.0, 0.0]
    for name in wrt:
        largest = np.abs(exact[name]).max()
        assert largest > 1e-3, f"{name}: a gradient near 0 shows nothing"
        assert exact[name].dtype == np.float64
        assert single[name].dtype == np.float32
        elements = exact[name].ravel()[_places(exact[name].size)]
        worst[0] = max(worst[0], float(np.abs(elements - moved[name]).max() / largest))
        worst[1] = max(worst[1], float(np.abs(single[name] - exact[name]).max() / largest))
    return Checked(*worst)


def gradients_in_float32(
    model: onnx.ModelProto, traced: Traced, feeds: Arrays, wrt: Sequence[str]
) -> Arrays:
    """Run the gradients by ONNX Runtime."""
    made, names = _with_gradients(model, traced, wrt)
    onnx.checker.check_model(made, full_check=True)
    session = open_session(made.SerializeToString(), device="cpu", threads=1)
    found = session.run(list(names.values()), {name: feeds[name] for name in session.inputs})
    return dict(zip(names, found, strict=True))


def gradients_in_float64(
    model: onnx.ModelProto, traced: Traced, feeds: Arrays, wrt: Sequence[str]
) -> Arrays:
    """Run the gradients by the reference implementation of ONNX."""
    double = in_float64(model)
    kinds = {name: _wide(kind) for name, kind in traced.dtypes.items()}
    constants = {name: _widened(array) for name, array in traced.constants.items()}
    made, names = _with_gradients(double, Traced(traced.shapes, kinds, constants), wrt)
    evaluator: Any = ReferenceEvaluator(made, new_ops=OPERATORS)
    found = evaluator.run(
        list(names.values()), {name: _widened(array) for name, array in feeds.items()}
    )
    return dict(zip(names, found, strict=True))


def differences(model: onnx.ModelProto, feeds: Arrays, wrt: Sequence[str]) -> Arrays:
    """Return central differences of the loss in float64, for some elements of each value."""
    double = in_float64(model)
    weights = {each.name: numpy_helper.to_array(each) for each in double.graph.initializer}
    _feed_weights(double, [name for name in wrt if name in weights])
    evaluator: Any = ReferenceEvaluator(double, new_ops=OPERATORS)
    given = {name: _widened(array) for name, array in feeds.items()}
    given |= {name: weights[name].copy() for name in wrt if name in weights}

    def loss(name: str, place: int, step: float) -> float:
        moved = given[name].copy()
        moved.ravel()[place] += step
        (found,) = evaluator.run([LOSS], given | {name: moved})
        return float(found)

    return {
        name: np.array(
            [
                (loss(name, place, STEP) - loss(name, place, -STEP)) / (2 * STEP)
                for place in _places(given[name].size)
            ]
        )
        for name in wrt
    }


def in_float64(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy that computes in float64 all that the model computes in float32."""
    double = onnx.ModelProto()
    double.CopyFrom(model)
    graph = double.graph
    del graph.value_info[:]
    for tensor in graph.initializer:
        tensor.CopyFrom(_double(tensor))
    for info in (*graph.input, *graph.output):
        if info.type.tensor_type.elem_type == TensorProto.FLOAT:
            info.type.tensor_type.elem_type = TensorProto.DOUBLE
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == KINDS.get(node.op_type) and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
            if attribute.HasField("t"):
                attribute.t.CopyFrom(_double(attribute.t))
    return double


def _double(tensor: TensorProto) -> TensorProto:
    return numpy_helper.from_array(_widened(numpy_helper.to_array(tensor)), tensor.name)


def _widened(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(_wide(array.dtype))


def _wide(kind: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float64) if kind == np.float32 else kind


def _with_gradients(
    model: onnx.ModelProto, traced: Traced, wrt: Sequence[str]
) -> tuple[onnx.ModelProto, Mapping[str, str]]:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    names = add_gradients(made, traced, LOSS, wrt)
    del made.graph.output[:]
    for name in wrt:
        kind = helper.np_dtype_to_tensor_dtype(traced.dtypes[name])
        info = helper.make_tensor_value_info(names[name], kind, traced.shapes[name])
        made.graph.output.append(info)
    return made, names


def _feed_weights(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """Turn initializers into inputs."""
    kept = [each for each in model.graph.initializer if each.name not in names]
    moved = [each for each in model.graph.initializer if each.name in names]
    model.graph.input.extend(_info(each.name, numpy_helper.to_array(each)) for each in moved)
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _info(name: str, array: NDArray[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
    )


def _places(size: int) -> NDArray[np.int64]:
    """Return which elements are moved: all of a small value, some of a large one."""
    if size <= CHECKED:
        return np.arange(size)
    return np.random.default_rng(2).choice(size, CHECKED, replace=False)
