"""Graphs side by side in one: the same numbers, and what they have in common once."""

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import EMBEDDING
from featx.backbone.graphs.union import Traced, trace, unite
from featx.backbone.runtime import open_session
from tiny_graphs import model_of, node

W = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
V = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
X = np.random.default_rng(2).normal(size=(5, 4)).astype(np.float32)
RELU = np.maximum(X @ W, 0)


def traced(nodes: list[Any], weights: dict[str, NDArray[Any]], **options: Any) -> Traced:  # noqa: ANN401
    graph = Graph(model_of(nodes, weights, output=EMBEDDING, **options))
    (found,) = filter(None, [trace(graph, {"array": "x"})])
    return found


def short(name: str = "w", out: str = "h") -> Traced:
    """Return a graph of two nodes, the names of whose values are of no matter."""
    return traced([node("MatMul", f"x {name}", out), node("Relu", out, EMBEDDING)], {name: W})


def long() -> Traced:
    nodes = [
        node("MatMul", "x big", "a"), node("Relu", "a", "b"), node("MatMul", "b v", EMBEDDING),
    ]  # fmt: skip
    return traced(nodes, {"big": W, "v": V})


def run(model: onnx.ModelProto) -> Any:  # noqa: ANN401
    onnx.checker.check_model(model)
    session = open_session(model.SerializeToString(), device="cpu")
    (found,) = session.run([EMBEDDING], {"array": X})
    (exact,) = ReferenceEvaluator(model).run([EMBEDDING], {"array": X})
    np.testing.assert_allclose(found, np.asarray(exact), atol=1e-5)
    return found


def test_outputs_lie_side_by_side() -> None:
    found = run(unite([short(), long()]))

    np.testing.assert_allclose(found, np.hstack([RELU, RELU @ V]), atol=1e-5)


def test_what_is_common_is_there_once() -> None:
    united = unite([short(), long()]).graph

    assert [each.op_type for each in united.node] == ["MatMul", "Relu", "MatMul", "Concat"]
    assert len(united.initializer) == 2
    assert [each.name for each in united.input] == ["array"]


def test_how_much_is_common_is_told_of_the_smaller_graph() -> None:
    other = traced([node("MatMul", "x w", "h"), node("Relu", "h", EMBEDDING)], {"w": W + 1})

    assert short().shared(long()) == long().shared(short()) == 1
    assert short("other", "value").shared(short()) == 1
    assert short().shared(other) == 0


def test_an_attribute_makes_another_node() -> None:
    one, two = (
        traced([node("Softmax", "x", "h", axis=axis), node("Relu", "h", EMBEDDING)], {})
        for axis in (0, 1)
    )

    assert one.shared(two) == 0
    exp = np.exp(X - X.max())
    wanted = [exp / exp.sum(axis=axis, keepdims=True) for axis in (0, 1)]
    np.testing.assert_allclose(run(unite([one, two])), np.hstack(wanted), atol=1e-6)


def test_an_operand_that_is_left_out_stays_so() -> None:
    one = traced([node("Clip", "x - top", EMBEDDING)], {"top": np.array(0.5, np.float32)})
    two = traced([node("Clip", "x low", EMBEDDING)], {"low": np.array(-0.5, np.float32)})

    wanted = np.hstack([np.minimum(X, 0.5), np.maximum(X, -0.5)])
    np.testing.assert_array_equal(run(unite([one, two])), wanted)


def test_the_second_of_two_outputs_is_another_value_than_the_first() -> None:
    one, two = (
        traced([node("Split", "x halves", outs, axis=1)], {"halves": np.array([2, 2])})
        for outs in (f"{EMBEDDING} rest", f"rest {EMBEDDING}")
    )

    assert one.shared(two) == 1
    np.testing.assert_array_equal(run(unite([one, two])), X)


def test_an_output_that_one_graph_leaves_out_is_there_for_the_other() -> None:
    one, two = (
        traced([node("MaxPool", "x", outs, kernel_shape=[1]), *more], {}, shape=("n", 2, 2))
        for outs, more in [
            (EMBEDDING, []),
            ("top where", [node("Cast", "where", EMBEDDING, to=TensorProto.FLOAT)]),
        ]
    )
    rows = np.arange(4, dtype=np.float32).reshape(1, 2, 2)
    session = open_session(unite([one, two]).SerializeToString(), device="cpu")

    (found,) = session.run([EMBEDDING], {"array": rows})

    np.testing.assert_array_equal(found, np.concatenate([rows, rows], axis=1))


@pytest.mark.parametrize(
    "options",
    [{"opset": 18}, {"shape": ("n", "m")}, {"shape": (1, 4)}],
)
def test_graphs_of_other_operators_or_inputs_do_not_fit(options: dict[str, Any]) -> None:
    other = traced([node("Relu", "x", EMBEDDING)], {}, **options)

    assert other.fits(other)
    assert not other.fits(short())


def test_names_of_sizes_do_not_matter() -> None:
    other = traced([node("Relu", "x", EMBEDDING)], {}, shape=("rows", 4))

    assert other.fits(short())


def test_a_graph_with_an_input_that_no_role_gives_is_not_traced() -> None:
    graph = Graph(model_of([node("Relu", "x", EMBEDDING)], {}, output=EMBEDDING))

    assert trace(graph, {"array": "another"}) is None


def test_a_graph_with_a_branch_is_not_traced() -> None:
    value = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([node("Relu", "x", "inner")], "branch", [], [value])
    choice = helper.make_node("If", ["yes"], [EMBEDDING], then_branch=branch, else_branch=branch)
    graph = Graph(model_of([choice], {"yes": np.array(True)}, output=EMBEDDING))

    assert trace(graph, {"array": "x"}) is None


def test_a_graph_with_words_is_not_traced() -> None:
    model = model_of([node("Relu", "x", EMBEDDING)], {}, output=EMBEDDING)
    words = TensorProto(name="words", data_type=TensorProto.STRING, dims=[1], string_data=[b"a"])
    model.graph.initializer.append(words)

    assert trace(Graph(model), {"array": "x"}) is None


def test_the_domain_of_operators_has_two_names() -> None:
    one, two = (traced([node("Relu", "x", EMBEDDING)], {}) for _ in range(2))
    two.graph.model.opset_import[0].domain = "ai.onnx"

    assert one.fits(two)
    two.graph.model.opset_import[0].version = 18
    assert not one.fits(two)
