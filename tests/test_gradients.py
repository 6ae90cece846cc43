"""Every rule against finite differences in float64, and what has no gradient."""

from pathlib import Path

import numpy as np
import pytest
from onnx import GraphProto, helper, numpy_helper

from featx.backbone.runtime import open_session
from featx.errors import InputError
from featx.finetune.gradients import GRADIENTS
from featx.finetune.gradients.backward import add_gradients
from featx.finetune.graph.trace import trace
from gradient_cases import Case, cases, make
from gradient_checks import (
    LOSS,
    TOLERANCE,
    Arrays,
    check,
    gradients_in_float32,
    gradients_in_float64,
    model_of,
)

CASES = list(cases())


@pytest.fixture(scope="module")
def of_torch() -> dict[str, Arrays]:
    """Return torch's gradients in float64, case → value → gradient."""
    found: dict[str, Arrays] = {}
    with np.load(Path(__file__).parent / "data" / "exported" / "operators.npz") as stored:
        for key in stored:
            case, _, name = key.rpartition("/")
            found.setdefault(case, {})[name] = stored[key]
    return found


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_gradient_is_that_of_finite_differences(case: Case) -> None:
    values = case.values()
    model = model_of(case.nodes, values, dict(case.constants), opset=case.opset)

    found = check(model, values, list(values))

    assert found.against_differences <= TOLERANCE
    assert found.in_float32 <= TOLERANCE


def test_gradients_are_those_of_torch(of_torch: dict[str, Arrays]) -> None:
    seen = {case.name: case for case in CASES if case.name in of_torch}

    for name, case in seen.items():
        values, wanted = case.values(), of_torch[name]
        model = model_of(case.nodes, values, dict(case.constants), opset=case.opset)
        found = gradients_in_float64(model, trace(model, values), values, list(wanted))
        for value, gradient in wanted.items():
            np.testing.assert_allclose(found[value], gradient, rtol=2e-7, atol=2e-7, err_msg=name)

    assert set(seen) == set(of_torch)


def test_every_rule_has_a_case() -> None:
    covered = {operator for case in CASES for operator in case.operators}

    assert covered == set(GRADIENTS)


def branch(name: str) -> GraphProto:
    """Return a branch that gives a value from outside."""
    result = helper.make_tensor_value_info("inner", 1, None)
    return helper.make_graph([make("Identity", [name], ["inner"])], "branch", [], [result])


FEEDS: Arrays = {"x": np.ones((2, 3), dtype=np.float32)}
WEIGHTS: Arrays = {"w": np.eye(3, dtype=np.float32)}

REFUSED = {
    "operator": ([make("Round", ["p"], ["y"], name="rounding")], r"'rounding' \(Round\).*no rule"),
    "branch": (
        [
            make("Constant", [], ["t"], value=numpy_helper.from_array(np.array(True))),
            make("If", ["t"], ["y"], then_branch=branch("p"), else_branch=branch("x")),
        ],
        r"node 'y' \(If\): no gradient: the operator has no rule; tune fewer blocks",
    ),
    "training": (
        [make("Dropout", ["p", "half", "true"], ["y"])],
        r"node 'y' \(Dropout\): no gradient: it drops numbers; export the model for inference",
    ),
    "input-treated-as-constant": (
        [make("ReduceMax", ["p"], ["high"], keepdims=0), make("Clip", ["x", "", "high"], ["y"])],
        r"node 'y' \(Clip\): no gradient: input 2 is treated as constant",
    ),
    "mode": (
        [make("Pad", ["p", "pads"], ["y"], mode="reflect")],
        r"node 'y' \(Pad\): no gradient: only padding by a constant",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_gradient_is_named(name: str) -> None:
    nodes, message = REFUSED[name]
    product = make("MatMul", ["x", "w"], ["p"])
    more: Arrays = {
        "half": np.array(0.5, np.float32),
        "true": np.array(True),
        "pads": np.array([0, 1, 0, 1]),
    }
    model = model_of([product, *nodes], FEEDS, WEIGHTS | more, opset=20)

    with pytest.raises(InputError, match=message):
        add_gradients(model, trace(model, FEEDS), LOSS, ["w"])


@pytest.mark.parametrize(
    ("loss", "wrt", "message"),
    [
        (LOSS, "unused", "'unused': the loss does not depend on it"),
        (LOSS, "absent", "'absent': no floating-point value of this graph"),
        (LOSS, "ids", "'ids': no floating-point value of this graph"),
        ("y", "w", r"'y': shape \(2, 3\); expected one number to differentiate"),
    ],
)
def test_a_name_that_cannot_be_meant_is_refused(loss: str, wrt: str, message: str) -> None:
    more: Arrays = {"unused": np.ones(3, np.float32), "ids": np.arange(3)}
    model = model_of([make("MatMul", ["x", "w"], ["y"])], FEEDS, WEIGHTS | more, opset=20)

    with pytest.raises(InputError, match=message):
        add_gradients(model, trace(model, FEEDS), loss, [wrt])


def test_an_old_opset_is_refused() -> None:
    model = model_of([make("MatMul", ["x", "w"], ["y"])], FEEDS, WEIGHTS, opset=13)
    traced = trace(model, FEEDS)
    model.opset_import[0].version = 12

    with pytest.raises(InputError, match="opset 12; gradients need 13 or newer"):
        add_gradients(model, traced, LOSS, ["w"])


def test_repeated_places_need_a_scatter_that_adds() -> None:
    index = {"i": np.array([0, 0])}
    model = model_of([make("Gather", ["w", "i"], ["y"])], {}, WEIGHTS | index, opset=15)

    with pytest.raises(InputError, match=r"\(Gather\): no gradient: it needs opset 16"):
        add_gradients(model, trace(model, {}), LOSS, ["w"])


def test_a_value_that_is_read_twice_gets_the_sum_of_its_gradients() -> None:
    nodes = [
        make("MatMul", ["x", "w"], ["p"]),
        make("Mul", ["p", "p"], ["s"]),
        make("Add", ["s", "p"], ["q"]),
        make("MatMul", ["q", "w"], ["y"]),
    ]
    model = model_of(nodes, FEEDS, {"w": np.diag([1, 2, 3]).astype(np.float32)}, opset=20)

    found = check(model, FEEDS, ["x", "w"])

    assert found.against_differences <= TOLERANCE


def test_names_like_those_that_are_added_do_no_harm() -> None:
    nodes = [
        make("MatMul", ["x", "w"], ["gradient/0/Mul"]),
        make("Mul", ["gradient/0/Mul", "gradient/0/Mul"], ["gradient/1/Mul"]),
        make("Tanh", ["gradient/1/Mul"], ["y"]),
    ]
    model = model_of(nodes, FEEDS, WEIGHTS, opset=20)

    found = check(model, FEEDS, ["x", "w"])

    assert found.against_differences <= TOLERANCE


@pytest.mark.parametrize("operator", ["ReduceL2", "LpNormalization", "Sqrt"])
def test_rows_of_zeros_that_fill_a_batch_do_not_make_gradients_nan(operator: str) -> None:
    x = np.array([[0, 0], [3, 4]], dtype=np.float32)
    model = model_of([make(operator, ["x"], ["y"])], {"x": x}, {}, opset=17)

    found = gradients_in_float32(model, trace(model, {"x": x}), {"x": x}, ["x"])["x"]

    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], [0, 0])
    assert np.abs(found[1]).min() > 1e-3


def test_only_the_nodes_that_are_needed_are_added() -> None:
    nodes = [make("MatMul", ["x", "w"], ["p"]), make("Tanh", ["p"], ["y"])]
    model = model_of(nodes, FEEDS, WEIGHTS, opset=20)
    before = len(model.graph.node)

    names = add_gradients(model, trace(model, FEEDS), LOSS, ["w"])

    kinds = [node.op_type for node in model.graph.node[before:]]
    assert sorted(kinds) == ["Expand", "Gemm", "Mul", "Mul", "Mul", "Reshape", "Sub", "Transpose"]
    assert names == {"w": model.graph.node[-1].output[0]}
    assert [each.name for each in model.graph.output] == ["y"]


def test_a_single_number_that_is_tuned_is_no_constant() -> None:
    nodes = [
        make("MatMul", ["x", "w"], ["p"]),
        make("Mul", ["p", "level"], ["q"]),
        make("Div", ["q", "level"], ["r"]),
        make("Mul", ["r", "level"], ["y"]),
    ]
    weights = WEIGHTS | {"level": np.array([0.7], np.float32)}
    model = model_of(nodes, FEEDS, weights, opset=20)
    traced = trace(model, FEEDS)
    names = add_gradients(model, traced, LOSS, ["w", "level"])
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.array([2], np.float32), "level"))
    model.graph.output.append(helper.make_tensor_value_info(names["w"], 1, [3, 3]))

    session = open_session(model.SerializeToString(), device="cpu", threads=1)
    (found,) = session.run([names["w"]], {"x": FEEDS["x"]})

    direction = np.random.default_rng(1).standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(found, FEEDS["x"].T @ direction * 2, rtol=1e-6)
