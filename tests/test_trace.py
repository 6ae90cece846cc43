"""What is known of the values of a graph, whatever the file says of them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featx.errors import InputError
from featx.finetune.graph.trace import LARGE_BYTES, trace

make = helper.make_node


def rows_of_tokens(*, claimed: list[int | str]) -> onnx.ModelProto:
    """Return a graph that joins the last two axes of ``x``, by a shape that it works out."""
    nodes = [
        make("Shape", ["x"], ["shape"]),
        make("Gather", ["shape", "zero"], ["rows"]),
        make("Concat", ["rows", "rest"], ["target"], axis=0),
        make("Reshape", ["x", "target"], ["flat"]),
        make("Greater", ["flat", "level"], ["above"]),
        make("MatMul", ["flat", "w"], ["y"]),
    ]
    arrays = {
        "zero": np.array([0]),
        "rest": np.array([-1]),
        "level": np.array(0.5, dtype=np.float32),
        "w": np.ones((12, 2000), dtype=np.float32),
    }
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, claimed)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 7])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
        value_info=[helper.make_tensor_value_info("flat", TensorProto.FLOAT, [9, 9])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("claimed", [["rows", "tokens", 4], [1, 1, 4]], ids=["free", "wrong"])
def test_shapes_are_those_of_a_run_and_not_those_that_a_file_claims(
    claimed: list[int | str],
) -> None:
    model = rows_of_tokens(claimed=claimed)
    before = model.SerializeToString()

    traced = trace(model, {"x": np.zeros((5, 3, 4), dtype=np.float32)})

    assert traced.shapes == {
        "x": (5, 3, 4),
        "shape": (3,),
        "zero": (1,),
        "rows": (1,),
        "rest": (1,),
        "target": (2,),
        "flat": (5, 12),
        "level": (),
        "above": (5, 12),
        "w": (12, 2000),
        "y": (5, 2000),
    }
    assert model.SerializeToString() == before


def test_types_and_what_never_changes_are_known() -> None:
    traced = trace(
        rows_of_tokens(claimed=["rows", 3, 4]), {"x": np.zeros((5, 3, 4), dtype=np.float32)}
    )

    kinds = {name: str(traced.dtypes[name]) for name in ("x", "above", "target", "y")}
    assert kinds == {"x": "float32", "above": "bool", "target": "int64", "y": "float32"}
    assert set(traced.constants) == {"shape", "zero", "rows", "rest", "target", "level"}
    np.testing.assert_array_equal(traced.constants["target"], [5, -1])
    np.testing.assert_array_equal(traced.constants["level"], 0.5)


def test_large_weights_are_not_copied_into_the_graph_that_is_run() -> None:
    model = rows_of_tokens(claimed=["rows", 3, 4])
    (weight,) = (each for each in model.graph.initializer if each.name == "w")

    assert len(weight.raw_data) > LARGE_BYTES
    assert trace(model, {"x": np.zeros((1, 3, 4), np.float32)}).shapes["y"] == (1, 2000)


def test_feeds_that_do_not_fit_are_refused() -> None:
    model = rows_of_tokens(claimed=["rows", "tokens", 4])

    with pytest.raises(InputError, match=r"^graph: .*MatMul"):
        trace(model, {"x": np.zeros((5, 2, 4), dtype=np.float32)})
