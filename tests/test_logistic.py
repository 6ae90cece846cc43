"""Logistic regression: its minimum, its path of penalties and its folds, against scikit-learn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from featx.errors import InputError
from featx.heads import logisticrows
from featx.heads.calibration import class_losses, fit_temperature, sigmoid, softmax
from featx.heads.folds import deal_folds, group_folds
from featx.heads.labels import Labels
from featx.heads.linear import RELATIVE_CS, LinearProbe
from featx.heads.logistic import NO_FOLD, Solver
from featx.heads.logisticrows import prepare

EXACT = 3e-5  # both solvers stop where float64 has no more to give; a share of the largest logit
HALF = 2e-3  # the same in float32
FOLD = 2e-2  # folds stop at a gap of 1e-4 of their loss: so far probabilities may be off
LOSS = 5e-3  # and so far their log loss
SEARCHED = 2e-2  # the log loss of a path, whose models stop at a gap of 1e-3

few_examples = settings(max_examples=8, deadline=None, derandomize=True)
Pairs = list[tuple[NDArray[np.int64], NDArray[np.int64]]]


def blobs(
    n: int = 90, d: int = 4, c: int = 3, *, spread: float = 1.0, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + spread * rng.normal(size=(c, d))[y], y


def tags(X: NDArray[Any]) -> NDArray[np.int64]:
    noise = np.random.default_rng(1).normal(size=(len(X), 3))
    return (X[:, :3] + noise > 0.5).astype(np.int64)


def oracle(C: float, **options: Any) -> LogisticRegression:  # noqa: ANN401
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000, **options)


def level(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return logits (N, C) up to a number common to all classes; margins (N,) as two columns."""
    wide = np.asarray(logits, dtype=np.float64)
    wide = wide if wide.ndim == 2 else np.stack([-wide, wide], axis=1) / 2
    return np.asarray(wide - wide.mean(axis=1, keepdims=True))


def near(logits: NDArray[Any], share: float) -> float:
    """Return the distance allowed to logits."""
    return float(share * max(1, np.abs(logits).max()))


def assert_near(found: NDArray[Any], expected: NDArray[Any], y: NDArray[np.int64]) -> None:
    """Compare logits (N, C) of folds, by their probabilities and log loss."""
    np.testing.assert_allclose(
        softmax(found.astype(np.float64)), softmax(expected.astype(np.float64)), atol=FOLD
    )
    assert class_losses(found, y).mean() == pytest.approx(
        class_losses(expected, y).mean(), rel=LOSS
    )


def splits(n: int, k: int) -> Pairs:
    rows = np.random.default_rng(2).permutation(n)
    return [(np.setdiff1d(rows, part), part) for part in np.array_split(rows, k)]


def oracle_held_out(
    X: NDArray[Any], y: NDArray[Any], pairs: Pairs, C: float
) -> NDArray[np.float64]:
    logits = np.empty((len(X), y.max() + 1))
    for train, test in pairs:
        logits[test] = level(oracle(C).fit(X[train], y[train]).decision_function(X[test]))
    return logits


@pytest.fixture(params=["a copy", "blocks"])
def reading(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Read rows from a centred copy, and block by block."""
    if request.param == "blocks":
        monkeypatch.setattr(logisticrows, "CENTRED_BYTES", 0)
    return str(request.param)


@pytest.mark.parametrize("classes", [2, 3, 6])
@pytest.mark.parametrize("C", [0.01, 0.7, 100.0])
@pytest.mark.parametrize(("n", "d"), [(90, 4), (24, 40)])
def test_probe_is_scikit_learns_logistic_regression(classes: int, C: float, n: int, d: int) -> None:
    X, y = blobs(n, d, classes)

    head = LinearProbe(C=C, cv=None, max_iter=5000).fit(3 + 5 * X, y)

    theirs = oracle(C).fit(3 + 5 * X, y)
    expected = level(theirs.decision_function(3 + 5 * X))
    np.testing.assert_allclose(
        level(head.decision_function(3 + 5 * X)), expected, atol=near(expected, EXACT)
    )
    np.testing.assert_allclose(
        head.predict_proba(3 + 5 * X), theirs.predict_proba(3 + 5 * X), atol=EXACT * 10
    )


@pytest.mark.parametrize("classes", [2, 4])
def test_float32_probe_is_near_the_minimum(classes: int) -> None:
    X, y = blobs(200, 8, classes)

    head = LinearProbe(C=1.0, cv=None).fit(X.astype(np.float32), y)

    expected = level(oracle(1.0).fit(X, y).decision_function(X))
    assert head.coef_.dtype == np.float32
    np.testing.assert_allclose(
        level(head.decision_function(X.astype(np.float32))), expected, atol=near(expected, HALF)
    )


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("class_weight", [None, {0: 3.0, 1: 0.5}])
def test_weights_are_scikit_learns(classes: int, class_weight: Any) -> None:  # noqa: ANN401
    X, y = blobs(90, 4, classes)
    w = np.random.default_rng(3).random(90) * (np.arange(90) % 5 > 0)

    head = LinearProbe(C=2.0, cv=None, class_weight=class_weight).fit(X, y, sample_weight=w)

    theirs = oracle(2.0, class_weight=class_weight).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(
        level(head.decision_function(X)), level(theirs.decision_function(X)), atol=EXACT * 10
    )


def test_balanced_classes_are_scikit_learns() -> None:
    X, y = blobs(90, 4)
    y[:20] = 0

    head = LinearProbe(C=2.0, cv=None, class_weight="balanced").fit(X, y)

    theirs = oracle(2.0, class_weight="balanced").fit(X, y)
    np.testing.assert_allclose(
        level(head.decision_function(X)), level(theirs.decision_function(X)), atol=EXACT * 10
    )


def test_balanced_classes_of_weighted_rows_are_those_of_repeated_ones() -> None:
    X, y = blobs(90, 4)
    counts = np.where(y == 0, 3, 1)

    weighted = LinearProbe(C=2.0, cv=None, class_weight="balanced")
    weighted.fit(X, y, sample_weight=counts)

    repeated = LinearProbe(C=2.0, cv=None, class_weight="balanced")
    repeated.fit(X.repeat(counts, axis=0), y.repeat(counts))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=EXACT * 10)


def test_tags_get_one_logistic_regression_each() -> None:
    X, w = blobs(120, 5)[0], np.random.default_rng(4).random(120) + 0.1
    Y = tags(X)

    head = LinearProbe(C=0.5, cv=None).fit(X, Y, sample_weight=w)

    for tag in range(3):
        theirs = oracle(0.5).fit(X, Y[:, tag], sample_weight=w)
        np.testing.assert_allclose(head.coef_[tag], theirs.coef_[0], atol=EXACT * 10)
        assert head.intercept_[tag] == pytest.approx(theirs.intercept_[0], abs=EXACT * 10)


def test_held_out_logits_of_tags_know_nothing_of_their_rows() -> None:
    X = blobs(120, 5)[0]
    Y, pairs = tags(X), splits(120, 4)

    head = LinearProbe(C=0.5, cv=pairs).fit(X, Y)

    for tag in range(3):
        for train, test in pairs:
            theirs = oracle(0.5).fit(X[train], Y[train, tag])
            np.testing.assert_allclose(
                sigmoid(head.held_out_logits_[test, tag]),
                theirs.predict_proba(X[test])[:, 1],
                atol=FOLD,
            )


def test_tags_without_folds_are_still_tags() -> None:
    X = blobs(120, 5)[0]
    Y = tags(X)

    head = LinearProbe(C=0.5, cv=None).fit(X, Y)

    theirs = np.stack([oracle(0.5).fit(X, Y[:, tag]).predict(X) for tag in range(3)], axis=1)
    np.testing.assert_array_equal(head.predict(X), theirs)


def model_rows(
    X: NDArray[Any], given: NDArray[Any], folds: NDArray[np.int64], *, is_tagged: bool
) -> logisticrows.Rows:
    if is_tagged:
        labels = Labels(np.arange(3), np.empty(0, np.int64), given.astype(np.float64))
    else:
        labels = Labels(np.unique(given), given)
    weights = np.random.default_rng(5).random(len(X)) + 0.5
    return prepare(X, labels, weights, folds)


@pytest.mark.parametrize("what", ["two classes", "four classes", "tags"])
def test_gradient_is_that_of_finite_differences(what: str, reading: str) -> None:
    X, y = blobs(30, 3, 2 if what == "two classes" else 4)
    folds = np.arange(30) // 4 % 3
    given = tags(X) if what == "tags" else y
    solver = Solver(model_rows(X, given, folds, is_tagged=what == "tags"), max_iter=1)
    shape = (2, *solver.start().shape)
    weights = np.random.default_rng(6).normal(size=shape)
    left_out = np.array([1, NO_FOLD])

    gradients = solver._pass(weights, left_out)[1]

    step = 1e-5
    for entry in np.ndindex(shape):
        ahead, behind = weights.copy(), weights.copy()
        ahead[entry] += step
        behind[entry] -= step
        rise = solver._pass(ahead, left_out)[0] - solver._pass(behind, left_out)[0]
        assert gradients[entry] == pytest.approx(rise[entry[0]] / (2 * step), abs=1e-6), reading


@pytest.mark.parametrize("what", ["classes", "tags"])
def test_loss_is_that_of_plain_numpy_on_the_rows_not_left_out(what: str, reading: str) -> None:
    X, y = blobs(40, 3, 4)
    folds = np.arange(40) // 3 % 3
    given = tags(X) if what == "tags" else y
    rows = model_rows(X, given, folds, is_tagged=what == "tags")
    weights = np.random.default_rng(7).normal(size=(1, *Solver(rows, max_iter=1).start().shape))

    (loss,), _ = Solver(rows, max_iter=1)._pass(weights, np.array([2]))

    logits = (X - rows.mean) / rows.scale @ weights[0, :, :-1].T + weights[0, :, -1]
    if what == "tags":
        losses = (np.log1p(np.exp(logits)) - given * logits).sum(axis=1)
    else:
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(40), y]
    assert loss == pytest.approx((losses * rows.weights)[folds != 2].sum()), reading


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize(("n", "d"), [(120, 5), (300, 20)])
def test_path_is_judged_by_the_folds_given_and_the_smallest_within_one_error_taken(
    classes: int, n: int, d: int
) -> None:
    X, y = blobs(n, d, classes, spread=0.8 * (5 / d) ** 0.5, seed=8)
    pairs, candidates = splits(n, 4), [1.0, 1e-3, 0.1, 0.01, 10.0]

    head = LinearProbe(C=candidates, cv=pairs, patience=None).fit(X, y)

    means, errors = [], []
    for C in sorted(candidates):
        logits = oracle_held_out(X, y, pairs, C)
        losses = class_losses(logits / fit_temperature(logits, y), y)
        of_folds = [losses[test].mean() for _, test in pairs]
        means.append(np.mean(of_folds))
        errors.append(np.std(of_folds, ddof=1) / 2)
    best = int(np.argmin(means))
    chosen = int(np.argmax(np.array(means) <= means[best] + errors[best]))
    assert [step["C"] for step in head.path_] == sorted(candidates)
    found, spreads = ([s[key] for s in head.path_] for key in ("log_loss", "standard_error"))
    # The first penalty leaves so little to gain that its models stop early.
    np.testing.assert_allclose(found[1:], means[1:], atol=SEARCHED)
    np.testing.assert_allclose(spreads[1:], errors[1:], atol=SEARCHED)
    assert found[0] == pytest.approx(means[0], rel=0.15)
    assert sorted(candidates)[chosen] == head.C_
    assert head.tuned_ == {"C": head.C_}
    assert head.temperature_ == pytest.approx(fit_temperature(head.held_out_logits_, y), rel=1e-4)


def test_two_classes_of_unequal_size_are_judged_by_temperature_alone() -> None:
    rng = np.random.default_rng(13)
    y = rng.permutation(np.array([0] * 180 + [1] * 20))
    X, pairs = rng.normal(size=(200, 6)) + y[:, None], splits(200, 4)

    head = LinearProbe(C=[1e-3, 0.01, 0.1], cv=pairs, patience=None).fit(X, y)

    means = []
    for C in (1e-3, 0.01, 0.1):
        logits = oracle_held_out(X, y, pairs, C)
        losses = class_losses(logits / fit_temperature(logits, y), y)
        means.append(np.mean([losses[test].mean() for _, test in pairs]))
    np.testing.assert_allclose([s["log_loss"] for s in head.path_], means, atol=SEARCHED)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 4])
def test_held_out_logits_equal_fits_on_the_other_folds(
    dtype: str, classes: int, reading: str
) -> None:
    X, y = blobs(160, 6, classes)
    pairs = splits(160, 5)

    head = LinearProbe(C=[0.02, 0.3, 1.0], cv=pairs).fit(X.astype(dtype), y)

    assert reading
    assert_near(head.held_out_logits_, oracle_held_out(X, y, pairs, head.C_), y)


def test_accuracy_of_a_step_is_that_of_its_held_out_logits() -> None:
    X, y = blobs(160, 6, 4)
    pairs = splits(160, 5)

    head = LinearProbe(C=0.3, cv=pairs).fit(X, y)

    hits = head.held_out_logits_.argmax(axis=1) == y
    shares = [hits[test].mean() for _, test in pairs]
    # One row may change sides between the search and the end.
    assert head.path_[0]["accuracy"] == pytest.approx(np.mean(shares), abs=1.5 / 160)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_folds_model_knows_nothing_of_its_held_out_rows(classes: int) -> None:
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(200, 400)), rng.permutation(np.arange(200) % classes)

    head = LinearProbe(C=[0.01, 1.0, 1e6], patience=None).fit(X, y)
    bold = LinearProbe(C=1e6).fit(X, y)

    chance, spread = 1 / classes, np.sqrt((1 - 1 / classes) / classes / 200)
    assert bold.score(X, y) == 1.0
    for step in head.path_ + bold.path_:
        assert abs(step["accuracy"] - chance) < 4 * spread
    for each in (head, bold):
        assert abs((each.held_out_logits_.argmax(axis=1) == y).mean() - chance) < 4 * spread


def test_a_changed_label_changes_no_model_that_leaves_it_out() -> None:
    X, y = blobs(60, 4)
    pairs, other = splits(60, 3), y.copy()
    held_out = pairs[0][1]
    other[held_out] = (y[held_out] + 1) % 3

    head = LinearProbe(C=0.5, cv=pairs).fit(X, y)
    changed = LinearProbe(C=0.5, cv=pairs).fit(X, other)

    assert_near(changed.held_out_logits_[held_out], head.held_out_logits_[held_out], y[held_out])


def test_rows_of_a_group_are_held_out_together() -> None:
    rng = np.random.default_rng(10)
    X, y = rng.normal(size=(50, 60)), rng.permutation(np.arange(50) % 2)
    X, y, groups = np.repeat(X, 3, axis=0), np.repeat(y, 3), np.repeat(np.arange(50), 3)

    apart, together = LinearProbe().fit(X, y), LinearProbe().fit(X, y, groups=groups)

    folds = group_folds(y, groups, 5)
    pairs = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]
    given_folds = LinearProbe(cv=pairs).fit(X, y)
    np.testing.assert_array_equal(together.held_out_logits_, given_folds.held_out_logits_)
    # Copies of a row tell its random label; without them it is a coin.
    assert (apart.held_out_logits_.argmax(axis=1) == y).mean() > 0.9
    assert (together.held_out_logits_.argmax(axis=1) == y).mean() < 0.8


def test_folds_are_dealt_by_class_from_the_seed() -> None:
    X, y = blobs(60, 4)
    folds = deal_folds(y, 5, seed=3)
    pairs = [(np.flatnonzero(folds != k), np.flatnonzero(folds == k)) for k in range(5)]

    dealt = LinearProbe(random_state=3).fit(X, y)

    given_folds = LinearProbe(cv=pairs).fit(X, y)
    np.testing.assert_array_equal(dealt.held_out_logits_, given_folds.held_out_logits_)


def test_groups_and_given_folds_contradict_each_other() -> None:
    X, y = blobs(60, 4)

    with pytest.raises(InputError, match="groups"):
        LinearProbe(cv=splits(60, 3)).fit(X, y, groups=np.arange(60) // 2)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_read_only_map_is_read_in_blocks_to_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    X, y = blobs(40_000, 3, classes)
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    w = np.random.default_rng(11).random(len(X))

    plain = LinearProbe(C=0.01, cv=2).fit(X.astype(np.float32), y, sample_weight=w)
    monkeypatch.setattr(logisticrows, "CENTRED_BYTES", 0)
    in_blocks = LinearProbe(C=0.01, cv=2).fit(mapped, y, sample_weight=w)

    np.testing.assert_allclose(in_blocks.coef_, plain.coef_, atol=HALF)
    assert_near(in_blocks.held_out_logits_, plain.held_out_logits_, y)
    assert not mapped.flags.writeable


def test_more_than_a_thousand_classes_work() -> None:
    rng = np.random.default_rng(12)
    y = np.arange(3300) % 1100
    X = (rng.normal(size=(1100, 24))[y] + 0.1 * rng.normal(size=(3300, 24))).astype(np.float32)

    head = LinearProbe(C=1.0, cv=2).fit(X, y)

    assert head.held_out_logits_.shape == (3300, 1100)
    assert (head.held_out_logits_.argmax(axis=1) == y).mean() > 0.95
    # At the minimum the penalty's slope cancels that of the loss.
    residuals = softmax(level(head.decision_function(X)))
    residuals[np.arange(3300), y] -= 1
    slope = residuals.T @ X.astype(np.float64) + head.coef_
    assert np.linalg.norm(slope) < 1e-2 * np.linalg.norm(head.coef_)


@few_examples
@given(st.permutations(range(30)), st.sampled_from([4, 50]), st.sampled_from([2, 3]))
def test_order_of_rows_does_not_matter(order: list[int], d: int, classes: int) -> None:
    X, y = blobs(30, d, classes)

    plain = LinearProbe(C=1.0, cv=None).fit(X, y)
    shuffled = LinearProbe(C=1.0, cv=None).fit(X[order], y[order])

    np.testing.assert_allclose(shuffled.coef_, plain.coef_, atol=EXACT)


@few_examples
@given(st.lists(st.integers(0, 3), min_size=30, max_size=30), st.sampled_from(["classes", "tags"]))
def test_whole_weights_are_repeated_rows(counts: list[int], what: str) -> None:
    X, y = blobs(30, 4, 2)
    counts[:2] = 1, 1
    given_labels = tags(X) if what == "tags" else y

    weighted = LinearProbe(C=1.0, cv=None).fit(X, given_labels, sample_weight=counts)

    repeated = LinearProbe(C=1.0, cv=None).fit(
        X.repeat(counts, axis=0), given_labels.repeat(counts, axis=0)
    )
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, atol=EXACT)


def test_a_fold_of_weighted_rows_is_that_of_repeated_ones() -> None:
    X, y = blobs(60, 4)
    counts = np.arange(60) % 3 + 1
    where = np.repeat(np.arange(60), counts)
    pairs = splits(60, 3)
    wide = [
        (np.flatnonzero(np.isin(where, train)), np.flatnonzero(np.isin(where, test)))
        for train, test in pairs
    ]

    weighted = LinearProbe(cv=pairs).fit(X, y, sample_weight=counts)

    repeated = LinearProbe(cv=wide).fit(X[where], y[where])
    first = np.cumsum(counts) - counts
    np.testing.assert_allclose(weighted.C_, repeated.C_)
    assert_near(weighted.held_out_logits_, repeated.held_out_logits_[first], y)
    assert weighted.temperature_ == pytest.approx(repeated.temperature_, rel=FOLD)


def test_the_path_ends_after_penalties_that_did_worse() -> None:
    X, y = blobs(120, 5, 2, spread=0.8, seed=8)

    whole, cut = LinearProbe(patience=None).fit(X, y), LinearProbe(patience=1).fit(X, y)

    losses = [step["log_loss"] for step in whole.path_]
    rises = [i for i in range(1, 11) if losses[i] > min(losses[:i])]
    assert len(losses) == len(RELATIVE_CS)
    assert [step["C"] for step in cut.path_] == [s["C"] for s in whole.path_[: rises[0] + 1]]


def test_no_folds_leave_no_held_out_logits() -> None:
    head = LinearProbe(C=1.0, cv=None).fit(*blobs())

    assert not hasattr(head, "held_out_logits_")
    assert head.temperature_ == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"C": 0.0}, "C = 0.0; expected a finite value above 0"),
        ({"C": [1.0, float("nan")]}, r"C = \[1.0, nan\]; expected a finite value above 0"),
        ({"C": []}, r"C = \[\]"),
        ({"cv": 1}, "cv = 1; expected 2 folds or more"),
        ({"cv": None}, "C = None; expected a finite value above 0"),
        ({"cv": None, "C": [1.0, 2.0]}, "2 values of C and cv = None; expected folds"),
        ({"cv": [([0], [1])]}, "cv: fold 0 does not train on all rows but its test rows"),
    ],
)
def test_a_parameter_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LinearProbe(**options).fit(*blobs())


def test_items_alone_in_their_class_do_not_decide_the_penalty() -> None:
    X, y = blobs(300, 12, 5)
    rng = np.random.default_rng(4)
    strangers = rng.normal(size=(10, 12)) * X.std()
    plain = LinearProbe().fit(X, y)

    mixed = LinearProbe().fit(np.concatenate([X, strangers]), np.append(y, 5 + np.arange(10)))

    grid = [step["C"] for step in mixed.path_]
    ratio = np.log10(mixed.C_ / plain.C_)
    assert len(grid) > 3
    assert abs(ratio) < 0.6
