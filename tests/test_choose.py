"""Kinds of heads are compared on rows held out, and chosen within one standard error."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from featx.errors import InputError, UnknownNameError
from featx.heads.calibration import fit_temperature
from featx.heads.folds import deal_folds
from featx.train.candidates import Fitted, fit, kinds, require_kind
from featx.train.choose import Tried, choose, losses_and_hits, try_kinds
from featx.train.material import Material, read_material
from memory_set import MemorySet, digits, noise


def shots(n: int, classes: int = 4) -> Material:
    """Give `n` labelled items of each of a few classes that lie apart."""
    rng = np.random.default_rng(0)
    codes = np.tile(np.arange(classes), n)
    X = rng.normal(size=(len(codes), 6)) + 4 * np.eye(classes, 6)[codes]
    labels = np.array([f"c{code}" for code in codes], dtype=object)
    return read_material(MemorySet(X.astype(np.float32), labels), "classify")


def tried(kind: str, losses: list[float], hits: list[float]) -> Tried:
    fitted = Fitted(kind=kind, arrays={}, logits=np.zeros((len(losses), 2)), tuned={})
    return Tried(
        kind=kind,
        task="classify",
        fitted=fitted,
        losses=np.array(losses),
        hits=np.array(hits),
        seconds=0.0,
    )


@pytest.mark.parametrize(
    ("n", "expected"),
    [
        (1, ("centroid",)),
        (2, ("logreg",)),
        (4, ("logreg",)),
        (5, ("logreg", "lda", "ridge", "centroid")),
        (16, ("logreg", "lda", "ridge", "centroid")),
        (17, ("ridge", "lda", "logreg", "knn", "centroid")),
    ],
)
def test_what_is_tried_depends_on_the_labels_a_class(n: int, expected: tuple[str, ...]) -> None:
    assert kinds(shots(n)) == expected


def test_tags_and_values_have_their_own_kinds() -> None:
    labels = np.array(["1", "2"] * 5, dtype=object)
    data = MemorySet(noise(10).X, labels)

    assert kinds(read_material(data, "multilabel")) == ("ridge", "logreg")
    assert kinds(read_material(data, "regress")) == ("ridge",)


@pytest.mark.parametrize(
    ("kind", "task"),
    [("lda", "multilabel"), ("sklearn:svm.SVC", "multilabel"), ("knn", "regress")],
)
def test_a_kind_that_cannot_do_the_task_is_refused(kind: str, task: Any) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=f"cannot do the task {task}; choose one of: auto, "):
        require_kind(kind, task)


def test_an_unknown_kind_is_suggested() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'centroid'"):
        require_kind("centriod", "classify")


def test_of_equals_the_first_is_chosen() -> None:
    first = tried("first", [0.5, 0.1, 0.3, 0.3], [1, 1, 0, 1])
    second = tried("second", [0.1, 0.5, 0.2, 0.3], [1, 0, 1, 1])

    assert choose([first, second]).kind == "first"
    assert choose([second, first]).kind == "second"


def test_one_that_is_surely_better_is_chosen_wherever_it_stands() -> None:
    plain = tried("plain", [1.0, 1.1, 0.9, 1.0], [1, 0, 1, 0])
    better = tried("better", [0.1, 0.2, 0.1, 0.2], [1, 1, 1, 1])

    assert choose([plain, better]).kind == "better"


def test_if_none_is_as_good_by_both_measures_the_loss_decides() -> None:
    sure = tried("sure", [2.0, 2.1, 2.0, 2.1], [1, 1, 1, 1])
    likely = tried("likely", [0.1, 0.2, 0.1, 0.2], [0, 0, 0, 0])

    assert choose([sure, likely]).kind == "likely"


def test_a_row_has_no_say_in_the_temperature_of_its_own_loss() -> None:
    material = read_material(digits(60), "classify")
    logits = 5 * np.random.default_rng(0).normal(size=(60, 10))

    losses, hits = losses_and_hits(logits, material, seed=3)

    folds = deal_folds(material.y, 5, seed=3)
    for row in range(60):
        rest = folds != folds[row]
        scaled = logits[row] / fit_temperature(logits[rest], material.y[rest])
        truth = material.y[row]
        assert losses[row] == pytest.approx(np.log(np.exp(scaled).sum()) - scaled[truth])
        assert hits[row] == (scaled.argmax() == truth)


def test_facts_are_named_after_the_task() -> None:
    labels = np.array([f"{i}|{i % 3}" for i in range(30)], dtype=object)
    data = MemorySet(noise(30).X, labels)

    of_tags = try_kinds(read_material(data, "multilabel"), None, seed=0)
    assert [list(each.facts()) for each in of_tags] == [["hamming_loss", "log_loss"]] * 2
    (of_values,) = try_kinds(read_material(data, "regress"), None, seed=0)
    assert list(of_values.facts()) == ["r2"]


def test_twins_share_a_fold_of_kinds_that_have_folds() -> None:
    data = noise(60)
    X = np.concatenate([data.X[:30], data.X[:30]])
    rng = np.random.default_rng(1)
    labels = np.tile(np.array(["a", "b"], dtype=object)[rng.integers(2, size=30)], 2)
    material = read_material(MemorySet(X, labels, digests=[""] * 60), "classify")

    leaking = fit("logreg", material, seed=0)
    honest = fit("logreg", material, seed=0, groups=np.tile(np.arange(30), 2))

    hits = [(each.logits.argmax(axis=1) == material.y).mean() for each in (leaking, honest)]
    assert hits[0] > 0.75
    assert hits[1] < 0.65


def test_groups_of_one_change_nothing() -> None:
    material = read_material(digits(80), "classify")

    plain = fit("logreg", material, seed=0)
    grouped = fit("logreg", material, seed=0, groups=np.arange(80))

    np.testing.assert_array_equal(plain.logits, grouped.logits)


def test_of_many_rows_a_sample_is_tried_with_all_its_classes() -> None:
    rng = np.random.default_rng(0)
    codes = np.r_[np.zeros(6_000, np.int64), np.ones(5_990, np.int64), np.full(10, 2)]
    X = rng.normal(size=(12_000, 3)) + 5 * np.eye(3)[codes]
    labels = np.array(["a", "b", "rare"], dtype=object)[codes]
    data = MemorySet(X.astype(np.float32), labels, digests=[""] * 12_000)

    found = try_kinds(read_material(data, "classify"), None, seed=0)

    assert {len(each.losses) for each in found} == {10_000}
    assert all(each.fitted.logits.shape == (10_000, 3) for each in found)


def test_rows_count_by_their_weights() -> None:
    often = tried("often right", [0.1, 0.1, 2.0, 2.0], [1, 1, 0, 0])
    seldom = tried("seldom right", [0.8, 0.8, 0.1, 0.1], [0, 0, 1, 1])
    weights = np.array([1.0, 1.0, 0.01, 0.01])

    weighted = [replace(each, weights=weights) for each in (seldom, often)]

    assert choose([seldom, often]).kind == "seldom right"
    assert choose(weighted).kind == "often right"
    assert weighted[1].facts() == pytest.approx({"accuracy": 2 / 2.02, "log_loss": 0.24 / 2.02})
