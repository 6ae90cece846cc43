"""Graphs of foreign heads: which are run, and which are refused."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from featx.errors import InputError
from featx.heads.foreign_scorer import Widths, _known, graph_widths, onnx_logits


def graph_bytes(model: onnx.ModelProto) -> NDArray[np.uint8]:
    return np.frombuffer(model.SerializeToString(), dtype=np.uint8)


def linear_model(**changes: Any) -> onnx.ModelProto:  # noqa: ANN401
    """Return ``logits = X @ W``, with some of its parts replaced."""
    W = numpy_helper.from_array(np.ones((3, 2), dtype=np.float32), "W")
    parts: dict[str, Any] = {
        "nodes": [helper.make_node("MatMul", ["X", "W"], ["logits"])],
        "inputs": [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, 3])],
        "outputs": [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 2])],
        "tensors": [W],
        **changes,
    }
    graph = helper.make_graph(
        parts["nodes"], "g", parts["inputs"], parts["outputs"], parts["tensors"]
    )
    versions = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=versions, ir_version=8)


def test_a_graph_is_scored_in_blocks_and_in_any_layout() -> None:
    graph = graph_bytes(linear_model())
    X = np.random.default_rng(0).normal(size=(3, 3000)).T

    found = onnx_logits({"graph": graph}, X, 2)

    assert graph_widths(graph) == Widths(dim=3, n_columns=2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, X @ np.ones((3, 2)), rtol=1e-4, atol=1e-5)


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/hostname")
    return tensor


def ones(*shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ones(shape, dtype=np.float32), "W")


def hollow(*shape: int) -> onnx.TensorProto:
    """Return a tensor of so many values, none of which is there."""
    return onnx.TensorProto(name="W", data_type=TensorProto.FLOAT, dims=shape)


def many_targets(n: int) -> onnx.NodeProto:
    """Return trees that ONNX Runtime runs, in gigabytes."""
    return helper.make_node(
        "TreeEnsembleRegressor", ["X"], ["values"], domain="ai.onnx.ml", n_targets=n
    )


MULTIPLY = helper.make_node("MatMul", ["X", "W"], ["logits"])
FOREIGN = helper.make_node("Solve", ["X", "W"], ["logits"], domain="com.microsoft")
HIDDEN = helper.make_node(
    "If",
    ["on"],
    ["logits"],
    then_branch=helper.make_graph([FOREIGN], "a", [], []),
    else_branch=helper.make_graph([MULTIPLY], "b", [], []),
)
MATRIX = helper.make_tensor_value_info


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nodes": [FOREIGN]}, r"operator 'com.microsoft:Solve'; allowed: the \d+ that ours use"),
        ({"nodes": [HIDDEN]}, "operator 'If'"),
        *(
            ({"nodes": [helper.make_node(name, ["X"], ["logits"])]}, f"operator '{name}'")
            for name in ("ConstantOfShape", "Expand", "Loop", "RandomNormal", "Scan", "Tile")
        ),
        ({"tensors": [external(ones(3, 2))]}, "tensor 'W' lies in another file; refused"),
        (
            {"nodes": [helper.make_node("Constant", [], ["W"], value=external(ones(3, 2)))]},
            "tensor 'W' lies in another file; refused",
        ),
        ({"tensors": [hollow(2**14, 2**14)]}, r"claims 268435456 values in \d+ bytes"),
        ({"nodes": [MULTIPLY, many_targets(2**28)]}, "claims 268435456 values in"),
        ({"inputs": [MATRIX("x", 1, [None, 3])]}, "input 'x'; expected one, 'X'"),
        ({"inputs": [MATRIX("X", 1, [None, 3]), MATRIX("Z", 1, [1])]}, "input 'X, Z'; expected"),
        ({"inputs": [MATRIX("X", TensorProto.DOUBLE, [None, 3])]}, "'X' is no float32 matrix"),
        ({"inputs": [MATRIX("X", 1, [None, None])]}, "'X' is no float32 matrix of a known"),
        ({"outputs": [MATRIX("logits", 1, [None])]}, "output 'logits' is no float32 matrix"),
        ({"outputs": []}, "output ''; expected one, 'logits'"),
        ({"outputs": [MATRIX("label", 1, [None, 2])]}, "output 'label'; expected one"),
        ({"nodes": [helper.make_node("Nothing", ["X"], ["logits"])]}, "operator 'Nothing'"),
        ({"tensors": [ones(4, 2)]}, "cannot (load it|be run)"),
    ],
)
def test_a_graph_that_is_not_one_of_ours_is_refused(changes: dict[str, Any], message: str) -> None:
    graph = graph_bytes(linear_model(**changes))

    with pytest.raises(InputError, match=f"graph: .*{message}") as caught:
        onnx_logits({"graph": graph}, np.zeros((2, 3), dtype=np.float32), 2)

    assert "\n" not in str(caught.value)


def test_sparse_tensors_are_refused() -> None:
    model = linear_model()
    values, places = ones(1), numpy_helper.from_array(np.array([5]))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [2**14, 2**14]))

    with pytest.raises(InputError, match="graph: holds a sparse tensor; expected dense ones"):
        graph_widths(graph_bytes(model))


def test_a_graph_is_read_once_for_all_rows_that_are_asked_of_it() -> None:
    graph = graph_bytes(linear_model())
    X = np.ones((1, 3), dtype=np.float32)
    before = _known.cache_info()

    for _ in range(3):
        onnx_logits({"graph": graph}, X, 2)

    after = _known.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 2)


def test_functions_inside_a_model_are_refused() -> None:
    model = linear_model()
    versions = [helper.make_opsetid("", 18)]
    model.functions.append(helper.make_function("ai.onnx", "F", ["a"], ["b"], [], versions))

    with pytest.raises(InputError, match="graph: holds functions or training steps"):
        graph_widths(graph_bytes(model))


def test_another_width_than_the_heads_is_refused() -> None:
    graph = graph_bytes(linear_model())

    with pytest.raises(InputError, match=r"gave float32 of shape \(1, 2\); expected .*\(1, 5\)"):
        onnx_logits({"graph": graph}, np.zeros((1, 3), dtype=np.float32), 5)


def test_logits_that_are_not_finite_are_refused() -> None:
    graph = graph_bytes(linear_model(nodes=[helper.make_node("Log", ["X"], ["logits"])]))

    with pytest.raises(InputError, match="gave values that are not finite"):
        onnx_logits({"graph": graph}, np.zeros((1, 3), dtype=np.float32), 3)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x00" * 64, b"\x08\x00\x00\x00ORTM" * 8])
def test_bytes_that_are_no_graph_are_refused(content: bytes) -> None:
    graph = np.frombuffer(content, dtype=np.uint8)

    with pytest.raises(InputError, match=r"^graph: "):
        onnx_logits({"graph": graph}, np.zeros((1, 3), dtype=np.float32), 2)


def test_random_damage_never_ends_in_another_error() -> None:
    rng = np.random.default_rng(0)
    whole = bytearray(linear_model().SerializeToString())
    X = np.ones((2, 3), dtype=np.float32)

    for _ in range(200):
        spoilt = bytearray(whole)
        spoilt[rng.integers(len(spoilt))] = rng.integers(256)
        try:
            found = onnx_logits({"graph": np.frombuffer(spoilt, dtype=np.uint8)}, X, 2)
        except InputError:
            continue
        assert found.shape == (2, 2)
