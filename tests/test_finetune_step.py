"""Training steps: the loss, the gradients and the updates are those of plain NumPy."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

import tunable
from cut_tails import at_cut, drawn
from featx.backbone.settings import Settings
from featx.errors import InputError
from featx.finetune.graph.parameters import trainable
from featx.finetune.learner import make_learner
from featx.finetune.prepared import prepare
from featx.finetune.recipe import Recipe
from featx.finetune.steps.activations import Activations
from featx.finetune.steps.body import Body
from featx.finetune.steps.loss import HEAD_BIAS, HEAD_WEIGHT
from featx.finetune.steps.optimiser import Optimiser
from featx.finetune.steps.targets import mix, one_hot
from featx.finetune.steps.trainer import Trainer

Floats = NDArray[np.float32]

ROUNDING = 2e-6
"""Of sums of some hundred float32 products, relative to numbers near 1."""

ROWS, WIDTH, DIM, CLASSES = 6, 5, 4, 3


def tail(nodes: list[NodeProto], arrays: dict[str, Floats]) -> ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", DIM])
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "tail", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


START = {"W": drawn(WIDTH, DIM), "c": drawn(DIM)}
HEAD = drawn(CLASSES, DIM, seed=1), drawn(CLASSES, seed=1)
NODES = [
    helper.make_node("MatMul", ["x", "W"], ["product"]),
    helper.make_node("Add", ["product", "c"], ["sum"]),
    helper.make_node("Tanh", ["sum"], ["y"]),
]


def trainer(optimiser: Optimiser | None = None, names: tuple[str, ...] = ("W", "c")) -> Trainer:
    return Trainer(
        tail(NODES, START),
        names,
        head=HEAD,
        optimiser=optimiser,
        settings=Settings(device="cpu", threads=1),
    )


def batch(rows: int = ROWS, seed: int = 0) -> tuple[dict[str, Floats], Floats, Floats]:
    rng = np.random.default_rng([rows, seed])
    targets = rng.dirichlet(np.ones(CLASSES), rows).astype(np.float32)
    weights = rng.uniform(0.5, 2, rows).astype(np.float32)
    return {"x": drawn(rows, WIDTH, seed=seed)}, targets, weights


def oracle(
    parameters: dict[str, NDArray[np.float64]], x: Floats, targets: Floats, weights: Floats
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Return the loss and its gradients, in float64."""
    y = np.tanh(x @ parameters["W"] + parameters["c"])
    logits = y @ parameters[HEAD_WEIGHT].T + parameters[HEAD_BIAS]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shares = targets * weights[:, None].astype(np.float64) / weights.sum(dtype=np.float64)
    d = p * shares.sum(axis=1, keepdims=True) - shares
    back = (d @ parameters[HEAD_WEIGHT]) * (1 - y**2)
    gradients = {"W": x.T @ back, "c": back.sum(0), HEAD_WEIGHT: d.T @ y, HEAD_BIAS: d.sum(0)}
    return float(-(shares * np.log(p)).sum()), gradients


def start() -> dict[str, NDArray[np.float64]]:
    arrays = {**START, HEAD_WEIGHT: HEAD[0], HEAD_BIAS: HEAD[1]}
    return {name: array.astype(np.float64) for name, array in arrays.items()}


class AdamW:
    """The textbook's."""

    def __init__(self, optimiser: Optimiser) -> None:
        self.o, self.p, self.t = optimiser, start(), 0
        self.m = {name: np.zeros_like(array) for name, array in self.p.items()}
        self.v = {name: np.zeros_like(array) for name, array in self.p.items()}

    def step(self, x: Floats, targets: Floats, weights: Floats, rate: float) -> float:
        loss, gradients = oracle(self.p, x, targets, weights)
        self.t += 1
        for name, gradient in gradients.items():
            pull = self.o.l2_sp * (self.p[name] - START[name]) if name in START else 0
            g = gradient + pull
            self.m[name] = self.o.beta1 * self.m[name] + (1 - self.o.beta1) * g
            self.v[name] = self.o.beta2 * self.v[name] + (1 - self.o.beta2) * g**2
            m, v = (
                each[name] / (1 - beta**self.t)
                for each, beta in ((self.m, self.o.beta1), (self.v, self.o.beta2))
            )
            if g.ndim > 1:
                self.p[name] = self.p[name] * (1 - rate * self.o.weight_decay)
            self.p[name] = self.p[name] - rate * m / (np.sqrt(v) + self.o.epsilon)
        return loss


def assert_same(found: dict[str, Floats], expected: dict[str, NDArray[np.float64]]) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=ROUNDING, atol=ROUNDING, err_msg=name)


def test_logits_and_embeddings_are_those_of_tail_and_head_for_any_number_of_rows() -> None:
    made = trainer()

    for rows in (1, ROWS, 17):
        x = drawn(rows, WIDTH)
        y = np.tanh(x @ START["W"] + START["c"])
        np.testing.assert_allclose(made.embeddings({"x": x}), y, atol=ROUNDING)
        logits = y @ HEAD[0].T + HEAD[1]
        np.testing.assert_allclose(made.logits({"x": x}), logits, atol=4 * ROUNDING)


def test_gradients_are_the_derivatives_of_the_weighted_cross_entropy() -> None:
    feeds, targets, weights = batch()
    made = trainer(Optimiser(l2_sp=0.1))
    before = made.parameters()

    found = made.gradients(feeds, targets, weights)

    assert_same(found, oracle(start(), feeds["x"], targets, weights)[1])
    assert all(np.abs(array).max() > 1e-3 for array in found.values())
    assert_same(made.parameters(), {name: a.astype(np.float64) for name, a in before.items()})


@pytest.mark.parametrize(
    "optimiser",
    [
        Optimiser(),
        Optimiser(weight_decay=0.1),
        Optimiser(l2_sp=0.3),
        Optimiser(beta1=0.8, beta2=0.95, epsilon=1e-3, weight_decay=0.05, l2_sp=0.01),
    ],
    ids=["adam", "decay", "pull", "all"],
)
def test_steps_are_those_of_the_textbook(optimiser: Optimiser) -> None:
    made, textbook = trainer(optimiser), AdamW(optimiser)

    for number in range(30):
        feeds, targets, weights = batch(seed=number)
        rate = 0.02 / (1 + number)
        loss = made.step(feeds, targets, weights, rate)
        assert loss == pytest.approx(textbook.step(feeds["x"], targets, weights, rate), rel=1e-5)

    # A moment's rounding error is divided by its square root: ten times that of the numbers.
    for name, array in textbook.p.items():
        np.testing.assert_allclose(made.parameters()[name], array, atol=10 * ROUNDING)


def test_batches_of_several_shapes_train_the_same_parameters() -> None:
    made, textbook = trainer(), AdamW(Optimiser())

    for number, rows in enumerate([ROWS, 2, ROWS, 9, 2, 2]):
        feeds, targets, weights = batch(rows, seed=number)
        made.step(feeds, targets, weights, 0.01)
        textbook.step(feeds["x"], targets, weights, 0.01)

    assert_same(made.parameters(), textbook.p)


def test_rows_without_weight_change_nothing() -> None:
    feeds, targets, weights = batch()
    filled = {"x": np.concatenate([feeds["x"], np.repeat(feeds["x"][:1], 3, axis=0)])}
    more, less = trainer(), trainer()

    first = less.step(feeds, targets, weights, 0.1)
    second = more.step(
        filled, np.pad(targets, ((0, 3), (0, 0)), mode="edge"), np.pad(weights, (0, 3)), 0.1
    )

    assert first == pytest.approx(second, rel=1e-6)
    assert_same(more.parameters(), {n: a.astype(np.float64) for n, a in less.parameters().items()})


def test_only_the_parameters_that_are_named_are_trained() -> None:
    feeds, targets, weights = batch()
    made, head_alone = trainer(names=("c",)), trainer(names=())

    made.step(feeds, targets, weights, 0.1)
    head_alone.step(feeds, targets, weights, 0.1)

    assert set(made.parameters()) == {"c", HEAD_WEIGHT, HEAD_BIAS}
    assert np.abs(made.parameters()["c"] - START["c"]).min() > 0.09
    assert set(head_alone.parameters()) == {HEAD_WEIGHT, HEAD_BIAS}
    y = np.tanh(feeds["x"] @ START["W"] + START["c"])
    np.testing.assert_allclose(head_alone.embeddings(feeds), y, atol=ROUNDING)


def test_a_loss_that_is_no_number_is_returned_and_updates_nothing() -> None:
    feeds, targets, weights = batch()
    made = trainer()
    made.step(feeds, targets, weights, 0.1)
    before = made.parameters()

    broken = {"x": np.where(np.arange(WIDTH) == 0, np.nan, feeds["x"]).astype(np.float32)}
    loss = made.step(broken, targets, weights, 0.1)

    assert np.isnan(loss)
    for name, array in made.parameters().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_trainer_that_is_put_back_repeats_its_steps() -> None:
    made = trainer(Optimiser(l2_sp=0.1))
    begun = made.parameters()

    def run() -> list[float]:
        return [made.step(*batch(seed=number), 0.05) for number in range(5)]

    first, ended = run(), made.parameters()
    made.restore(begun)
    second = run()

    assert first == second
    for name, array in made.parameters().items():
        np.testing.assert_array_equal(array, ended[name])


def test_a_parameter_without_effect_is_found() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["product"]),
        helper.make_node("Add", ["product", "same"], ["shifted"]),
        helper.make_node("LayerNormalization", ["shifted", "scale", "c"], ["y"], axis=-1),
    ]
    # What is added to all numbers of a row alike is taken away again.
    arrays = {**START, "same": np.ones(1, np.float32), "scale": np.ones(DIM, np.float32)}
    made = Trainer(
        tail(nodes, arrays),
        list(arrays),
        head=HEAD,
        settings=Settings(device="cpu", threads=1),
    )

    assert made.idle(*batch()) == ["same"]


@pytest.mark.parametrize("name", ["W/first", "W/second/new", "W/start", "W/new", "W/root"])
def test_a_parameter_may_be_named_like_what_belongs_to_another(name: str) -> None:
    optimiser = Optimiser(l2_sp=0.1)
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["product"]),
        helper.make_node("Add", ["product", name], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["y"]),
    ]
    made = Trainer(
        tail(nodes, {"W": START["W"], name: START["c"]}),
        ["W", name],
        head=HEAD,
        optimiser=optimiser,
        settings=Settings(device="cpu", threads=1),
    )
    textbook = AdamW(optimiser)

    for number in range(3):
        feeds, targets, weights = batch(seed=number)
        made.step(feeds, targets, weights, 0.01)
        textbook.step(feeds["x"], targets, weights, 0.01)

    found = made.parameters()
    found["c"] = found.pop(name)
    assert_same(found, textbook.p)


def test_rows_that_judge_have_no_say_in_what_is_trained(tmp_path: Path) -> None:
    prepared = prepare(tunable.backbone(tunable.tunable(tmp_path)), Recipe())
    body = Body(prepared.backbone, prepared.parts)
    # The last layer's weights have no gradient where it is fed zeros.
    values = np.concatenate([np.zeros((20, body.width), np.float32), drawn(20, body.width)])
    values.tofile(tmp_path / "values")
    spans = np.stack([np.arange(40), np.ones(40, np.int64)], axis=1)
    view = Activations(body, tmp_path / "values", spans, dtype=np.float32)

    dead, live = (
        make_learner(prepared, [view], np.arange(40) % 2, rows, Recipe()).start.keys()
        for rows in (np.arange(20), np.arange(20, 40))
    )

    assert dead == {"b3", HEAD_WEIGHT, HEAD_BIAS}
    assert live == {"W3", "b3", HEAD_WEIGHT, HEAD_BIAS}


def test_weights_that_are_all_zero_are_refused() -> None:
    feeds, targets, weights = batch()

    with pytest.raises(InputError, match="batch: its weights sum to 0; expected some above 0"):
        trainer().step(feeds, targets, 0 * weights, 0.1)


def test_an_operator_without_gradient_is_refused_before_any_training() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "W"], ["product"]),
        helper.make_node("Det", ["product"], ["y"]),
    ]
    made = Trainer(tail(nodes, START), ["W"], head=HEAD, settings=Settings(device="cpu", threads=1))

    with pytest.raises(InputError, match="Det"):
        made.check({"x": drawn(ROWS, WIDTH)})


def test_a_mixed_batch_has_the_loss_of_both_rows_by_their_shares() -> None:
    feeds, targets, weights = batch()
    rng, same = (np.random.default_rng(3) for _ in range(2))
    mask = np.array([[1, 1, 0]] * 3 + [[1, 0, 0]] * 3)

    mixed, soft, heavy = mix({**feeds, "mask": mask}, targets, weights, alpha=0.4, rng=rng)

    other, share = same.permutation(ROWS), same.beta(0.4, 0.4, ROWS)
    x, wide = feeds["x"], share[:, None]
    np.testing.assert_allclose(mixed["x"], wide * x + (1 - wide) * x[other], atol=ROUNDING)
    np.testing.assert_array_equal(mixed["mask"], mask | mask[other])
    logs = np.log(np.random.default_rng(0).dirichlet(np.ones(CLASSES), ROWS))
    both = share * weights * (targets * logs).sum(1)
    both += (1 - share) * weights[other] * (targets[other] * logs).sum(1)
    np.testing.assert_allclose(heavy * (soft * logs).sum(1), both, rtol=1e-5)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_rows_that_fill_a_batch_are_mixed_with_none(alpha: float) -> None:
    codes = np.array([0, 1, 2, 0, 0, 0])
    feeds, targets = {"x": np.eye(ROWS, dtype=np.float32)}, one_hot(codes, CLASSES)
    rng = np.random.default_rng(0)

    for live in [1, 3] * 200:
        weights = (np.arange(ROWS) < live).astype(np.float32)
        mixed, soft, heavy = mix(feeds, targets, weights, alpha=alpha, rng=rng)

        # A live row's numbers say whose share it holds: its target says the same of the classes.
        x = mixed["x"]
        np.testing.assert_allclose(x[:, :live].sum(axis=1)[:live], 1, rtol=1e-6)
        np.testing.assert_allclose(soft[:live], (x @ targets)[:live], atol=ROUNDING)
        np.testing.assert_allclose(x[live:], feeds["x"][live:], rtol=1e-6)
        np.testing.assert_allclose(heavy, weights, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_smoothed_targets_sum_to_one_and_favour_the_class(smoothing: float) -> None:
    targets = one_hot(np.array([2, 0]), CLASSES, smoothing=smoothing)

    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(targets[0], [smoothing / 3, smoothing / 3, 1 - 2 * smoothing / 3])


@pytest.mark.parametrize(
    "name",
    [
        "bert_dynamo",
        "bert_legacy",
        "vit_legacy",
        "resnet_unfolded",
        "mobilenet_dynamo",
        "efficientnet_legacy",
        "convnext_dynamo",
    ],
)
def test_the_last_block_of_a_network_is_trained_to_its_labels(name: str) -> None:
    model, feeds, width = at_cut(name, rows=8)
    names = trainable(model)
    head = drawn(CLASSES, width), np.zeros(CLASSES, dtype=np.float32)
    made = Trainer(model, names, head=head, settings=Settings(device="cpu", threads=1))
    targets = one_hot(np.arange(8) % CLASSES, CLASSES)
    before = made.parameters()

    losses = [made.step(feeds, targets, np.ones(8, np.float32), 0.01) for _ in range(30)]

    assert losses[-1] < 0.3 * losses[0]
    moved = [np.abs(made.parameters()[each] - before[each]).max() for each in names]
    assert np.mean(np.array(moved) > 1e-3) > 0.8
