"""Training chooses, measures and calibrates; scoring looks only at what is new."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.errors import InputError, SpaceError, UnknownNameError
from featx.evaluate.duplicates import Duplicates
from featx.evaluate.evaluate import evaluate_head
from featx.heads.conformal import Method
from featx.heads.foreign import SklearnHead
from featx.heads.headfile import load_head, save_head
from featx.train import train as trainer
from featx.train.recipe import Recipe
from featx.train.record import twin_warnings
from featx.train.train import train
from featx.train.twins import find_twins
from featx.types import Task
from memory_set import MemorySet, digits, noise


@pytest.mark.parametrize("kind", ["ridge", "logreg", "knn"])
def test_reported_accuracy_is_what_new_items_get(kind: str) -> None:
    everything = digits(1200)
    known = MemorySet(everything.X[:300], everything.y[:300])
    new = MemorySet(everything.X[300:], everything.y[300:])

    head = train(known, Recipe(head=kind))

    promised = head.header["metrics"]
    measured = evaluate_head(head, new)
    assert promised["n"] == head.header["duplicates"]["distinct"] == 279
    assert measured["n"] == 900
    assert promised["interval"][0] - 0.02 < measured["accuracy"] < promised["interval"][1] + 0.04
    assert measured["accuracy"] > 0.8
    assert measured["set_coverage"] > 0.85
    assert measured["calibration_error"] < 0.1


def test_auto_takes_the_most_accurate_kind_and_says_how_each_did() -> None:
    head = train(digits(200))

    chosen = head.header["chosen"]
    ranks = {
        kind: (-held["accuracy"], held["log_loss"]) for kind, held in chosen["compared"].items()
    }
    assert set(ranks) == {"ridge", "lda", "logreg", "knn", "centroid"}
    assert chosen["head"] == head.kind == min(ranks, key=lambda kind: ranks[kind])
    metrics = head.header["metrics"]
    assert chosen["compared"][head.kind]["accuracy"] == metrics["accuracy"]
    assert chosen["compared"][head.kind]["log_loss"] == pytest.approx(metrics["log_loss"])


def test_noise_is_not_called_signal() -> None:
    metrics = train(noise(), Recipe(head="ridge")).header["metrics"]

    assert metrics["interval"][0] < 0.5 < metrics["interval"][1] + 0.1
    assert metrics["baselines"]["majority"] == 0.5


@pytest.mark.parametrize("kind", ["ridge", "logreg", "knn"])
def test_a_trained_head_survives_its_file(kind: str, tmp_path: Path) -> None:
    data = digits(150)
    head = train(data, Recipe(head=kind, command="featx train x.emb"))

    save_head(tmp_path / "x.head", head)
    back = load_head(tmp_path / "x.head")

    np.testing.assert_array_equal(back.probabilities(data.X), head.probabilities(data.X))
    assert back.header == json.loads(json.dumps(head.header))
    assert back.header["command"] == "featx train x.emb"
    assert back.arrays["trained_digests"].shape == (150, 32)


def test_training_twice_gives_equal_files(tmp_path: Path) -> None:
    save_head(tmp_path / "a.head", train(noise(), Recipe(head="logreg", seed=3)))
    save_head(tmp_path / "b.head", train(noise(), Recipe(head="logreg", seed=3)))

    assert (tmp_path / "a.head").read_bytes() == (tmp_path / "b.head").read_bytes()


def test_unlabelled_rows_other_splits_and_repeats_are_left_out() -> None:
    data = noise(60)
    labels = data.y.copy()
    labels[:5] = None
    splits = ["train"] * 40 + ["test"] * 20
    X = np.concatenate([data.X[:39], data.X[38:39], data.X[40:]])
    labels[39] = labels[38]

    head = train(MemorySet(X, labels, splits), Recipe(head="ridge"))

    assert head.header["labels"]["used"] == 34
    assert head.header["labels"]["unlabelled"] == 5
    assert head.header["labels"]["rows"] == 60


def test_a_class_with_one_item_is_named_and_kept() -> None:
    data = noise(21)
    labels = data.y.copy()
    labels[0] = "rare"

    for kind in ("ridge", "logreg", "knn"):
        head = train(replace(data, y=labels), Recipe(head=kind))
        assert head.classes == ("a", "b", "rare")
        assert "1 class has fewer than 5 items: rare (1)" in head.header["warnings"][0]


def test_two_items_are_enough_and_promise_nothing() -> None:
    head = train(MemorySet(np.eye(2, dtype=np.float32), np.array(["a", "b"], dtype=object)))

    assert "metrics" not in head.header  # either class is gone when its item is held out
    assert any("nothing tells how good the head is" in each for each in head.header["warnings"])
    assert head.conformal is not None
    assert head.conformal.quantiles.tolist() == [1.0]
    assert "every class is in every set" in head.header["warnings"][-1]
    assert set(head.predict(np.eye(2, dtype=np.float32))[0].set) == {"a", "b"}


def test_labels_are_needed_of_two_classes() -> None:
    data = noise(10)

    with pytest.raises(InputError, match=r"no labels; run: featx label SET labels\.csv"):
        train(replace(data, y=np.full(10, None)))
    with pytest.raises(InputError, match="one class, 'a'; expected two classes or more"):
        train(replace(data, y=np.full(10, "a", dtype=object)))
    with pytest.raises(UnknownNameError, match="unknown head 'rigde'; did you mean 'ridge'"):
        train(data, Recipe(head="rigde"))


def test_the_raw_baseline_gets_the_contents_of_the_rows_used() -> None:
    data = noise(40)
    labels = data.y.copy()
    labels[:4] = None
    asked: list[int] = []

    def fetch(rows: Sequence[int]) -> list[str]:
        asked.extend(rows)
        return [f"word {data.y[row]}a" for row in rows]

    head = train(replace(data, y=labels), Recipe(head="ridge"), contents=fetch)

    assert asked == list(range(4, 40))
    assert head.header["baselines"]["raw"] == 1.0


def test_scoring_prefers_the_test_split_and_skips_what_was_trained_on() -> None:
    data = digits(300)
    splits = ["train"] * 200 + ["val"] * 50 + ["test"] * 50
    head = train(replace(data, splits=splits), Recipe(head="ridge"))

    assert evaluate_head(head, replace(data, splits=splits))["n"] == 50
    assert evaluate_head(head, replace(data, splits=splits), "val")["n"] == 50
    everything = evaluate_head(head, data)
    assert (everything["n"], everything["excluded"]) == (100, 200)
    with pytest.raises(InputError, match="was trained on all 200 labelled rows"):
        evaluate_head(head, replace(data, splits=splits), "train")
    with pytest.raises(InputError, match="no labelled row in split 'dev'"):
        evaluate_head(head, replace(data, splits=splits), "dev")


def test_scoring_keeps_the_rule_of_spaces() -> None:
    data = digits(200)
    head = train(MemorySet(data.X[:100], data.y[:100]), Recipe(head="ridge"))
    new = MemorySet(data.X[100:], data.y[100:])

    plain = evaluate_head(head, new)["notes"]
    noted = evaluate_head(head, replace(new, fingerprint="f2"))["notes"]
    assert noted[1:] == plain
    assert "same space" in noted[0]
    with pytest.raises(SpaceError, match="-m relu"):
        evaluate_head(head, replace(new, fingerprint="f2", space="s2"))


def test_labels_that_the_head_does_not_know_count_as_wrong() -> None:
    data = digits(200)
    head = train(MemorySet(data.X[:150], data.y[:150]), Recipe(head="ridge"))
    labels = data.y[150:].copy()
    before = evaluate_head(head, MemorySet(data.X[150:], labels))
    hits = [p.label == t for p, t in zip(head.predict(data.X[150:]), labels, strict=True)]
    labels[int(np.argmax(hits))] = "new"

    after = evaluate_head(head, MemorySet(data.X[150:], labels))

    assert after["unknown_labels"] == ["new"]
    assert round(50 * (before["accuracy"] - after["accuracy"])) == 1
    assert json.loads(json.dumps(after)) == after


def test_a_set_of_unknown_labels_is_all_wrong_and_has_no_log_loss() -> None:
    data = digits(120)
    head = train(MemorySet(data.X[:100], data.y[:100]), Recipe(head="ridge"))

    result = evaluate_head(head, MemorySet(data.X[100:], np.full(20, "new", dtype=object)))

    assert result["accuracy"] == 0
    assert "log_loss" not in result


@pytest.mark.parametrize("method", ["lac", "aps"])
def test_sets_cover_as_often_as_promised_on_average(method: Method) -> None:
    everything = digits(1797)
    covered = []

    for seed in range(20):
        order = np.random.default_rng(seed).permutation(1797)
        X, y = everything.X[order], everything.y[order]
        head = train(MemorySet(X[:500], y[:500]), Recipe(head="ridge", conformal=method))
        covered.append(evaluate_head(head, MemorySet(X[500:], y[500:]))["set_coverage"])

    assert np.mean(covered) == pytest.approx(0.9, abs=0.01)


def test_probabilities_are_as_calibrated_as_chance_allows() -> None:
    data = digits(1797)
    head = train(MemorySet(data.X[:500], data.y[:500]))

    found = evaluate_head(head, MemorySet(data.X[500:], data.y[500:]))

    assert found["calibration_error"] <= max(0.03, found["calibration_band"][1])
    promised = head.header["metrics"]
    assert promised["calibration_error"] <= promised["calibration_band"][1]


def test_a_strict_head_sets_rows_aside_for_its_sets() -> None:
    data = digits(400)

    plain = train(data, Recipe(head="ridge"))
    strict = train(data, Recipe(head="ridge", strict=True))

    assert strict.header["strict"] is True
    assert plain.header["metrics"]["n"] == 372
    assert 270 <= strict.header["metrics"]["n"] <= 290
    assert strict.arrays["trained_digests"].shape == (400, 32)
    assert strict.classes == plain.classes
    assert strict.header["metrics"]["set_coverage"] == pytest.approx(0.9, abs=0.06)


def test_twins_are_set_aside_together() -> None:
    data = noise(60)
    X = np.concatenate([data.X, data.X])
    labels = np.concatenate([data.y, data.y])

    head = train(MemorySet(X, labels, digests=[""] * 120), Recipe(head="knn", strict=True))

    # One that knew a twin of each row set aside would make small sets of them.
    assert head.header["metrics"]["set_size"] > 1.5
    assert head.header["metrics"]["n"] == 44
    assert head.header["duplicates"]["n"] == 88


def test_too_few_rows_for_strict_sets_are_refused() -> None:
    with pytest.raises(InputError, match="strict: 3 of 12 rows would make the sets or intervals"):
        train(noise(12), Recipe(head="ridge", strict=True))
    numbers = np.array([str(i) for i in range(12)], dtype=object)
    with pytest.raises(InputError, match=r"coverage 0\.9 needs 9 or more; label more"):
        train(replace(noise(12), y=numbers), Recipe(task="regress", strict=True))


def test_few_rows_make_intervals_that_promise_less() -> None:
    numbers = np.array([str(i) for i in range(6)], dtype=object)

    head = train(replace(noise(6), y=numbers), Recipe(task="regress"))

    (note, *_) = [each for each in head.header["warnings"] if "intervals" in each]
    assert note == "intervals of 6 rows cannot promise a coverage of 0.9; label 9 or more"


def test_two_values_are_enough() -> None:
    numbers = np.array(["1", "2"], dtype=object)

    head = train(replace(noise(2), y=numbers), Recipe(task="regress"))

    assert head.header["metrics"]["n"] == 2


def test_twins_of_small_classes_can_be_trained_on() -> None:
    X = np.tile(np.eye(4, 6, dtype=np.float32), (2, 1))
    labels = np.tile(np.array(["a", "b", "c", "d"], dtype=object), 2)
    data = MemorySet(X, labels, digests=[""] * 8)

    for kind in ("auto", "logreg", "sklearn:linear_model.LogisticRegression"):
        head = train(data, Recipe(head=kind))
        assert head.header["duplicates"]["n"] == 8


def test_columns_that_tell_nothing_do_no_harm() -> None:
    data = digits(150)
    X = np.hstack([data.X, np.zeros((150, 2)), np.full((150, 1), 7.0), data.X[:, :3]])

    head = train(replace(data, X=X.astype(np.float32)))

    assert head.header["metrics"]["accuracy"] > 0.8
    assert np.isfinite(head.probabilities(X)).all()


def test_rows_that_are_all_equal_are_guessed() -> None:
    data = noise(40)

    head = train(replace(data, X=np.ones((40, 5), dtype=np.float32), digests=[""] * 40))

    assert head.header["metrics"]["interval"][0] <= 0.5
    assert head.header["suspects"]["n"] == 0
    np.testing.assert_allclose(head.probabilities(np.ones((1, 5))), 0.5, atol=0.1)


def test_the_only_item_of_a_class_is_not_accused() -> None:
    data = digits(200)
    labels = data.y.copy()
    labels[labels == "digit 3"] = "digit 1"
    labels[0] = "alone"

    suspects = train(replace(data, y=labels), Recipe(head="ridge")).header["suspects"]

    assert "alone" not in [each["label"] for each in suspects["first"]]


def test_labels_that_were_changed_are_found() -> None:
    data = digits(400)
    labels = data.y.copy()
    changed = np.arange(0, 400, 20)
    labels[changed] = [f"digit {(int(label.split()[1]) + 1) % 10}" for label in labels[changed]]

    found = train(replace(data, y=labels), Recipe(head="ridge")).header["suspects"]

    accused = [int(each["id"]) for each in found["first"]]
    assert found["n"] == len(accused) < 40
    assert len(set(accused) & set(changed.tolist())) >= 10
    right = [each["suggested"] == data.y[int(each["id"])] for each in found["first"]]
    assert np.mean(right[:10]) >= 0.7


@pytest.mark.parametrize("head", ["auto", "logreg", "knn", "sklearn:naive_bayes.GaussianNB"])
def test_what_is_said_of_a_head_does_not_change_if_its_rows_have_twins(head: str) -> None:
    data = digits(150, 64)
    is_first = find_twins(data.X).groups == np.arange(150)
    data = MemorySet(data.X[is_first][:120], data.y[is_first][:120])
    doubled = MemorySet(np.tile(data.X, (2, 1)), np.tile(data.y, 2), digests=[""] * 240)
    recipe = Recipe(head=head, curve=head in {"auto", "knn"})

    single, double = train(data, recipe), train(doubled, recipe)

    for fact in ("metrics", "suspects", "curve"):
        assert double.header[fact] == single.header[fact]
    assert double.header["duplicates"]["n"] == 240
    assert double.header["duplicates"]["distinct"] == single.header["metrics"]["n"] == 120
    assert (
        "240 rows have a twin; what is said of the head comes from 120 distinct rows"
        in double.header["warnings"]
    )
    assert not any("twin" in note for note in single.header["warnings"])
    assert double.temperature == single.temperature
    np.testing.assert_allclose(
        double.probabilities(data.X), single.probabilities(data.X), atol=1e-3
    )


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_tags_and_values_are_judged_by_distinct_rows(task: Task) -> None:
    data = noise(60)
    labels = np.array(
        ["1|0" if task == "regress" else "a|b", "0|2" if task == "regress" else "b|c"]
    )
    data = replace(data, y=labels[np.arange(60) % 2].astype(object))
    doubled = MemorySet(np.tile(data.X, (2, 1)), np.tile(data.y, 2), digests=[""] * 120)

    single, double = train(data, Recipe(task=task)), train(doubled, Recipe(task=task))

    assert double.header["metrics"] == single.header["metrics"]
    np.testing.assert_allclose(double.logits(data.X), single.logits(data.X), atol=1e-4)


@pytest.mark.parametrize("kind", ["ridge", "logreg", "knn"])
def test_what_is_promised_holds_where_each_item_is_there_three_times(kind: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_300, 32))
    y = (0.9 * X[:, :4] + 0.8 * rng.gumbel(size=(2_300, 4))).argmax(axis=1)
    names = np.array(list("abcd"), dtype=object)
    known = np.repeat(X[:300], 3, axis=0) + 0.03 * rng.normal(size=(900, 32))

    head = train(
        MemorySet(known.astype(np.float32), np.repeat(names[y[:300]], 3)), Recipe(head=kind)
    )

    found = evaluate_head(head, MemorySet(X[300:].astype(np.float32), names[y[300:]]))
    promised = head.header["metrics"]
    assert promised["n"] == 300
    assert promised["interval"][0] < found["accuracy"] < promised["interval"][1]
    assert found["set_coverage"] == pytest.approx(0.9, abs=0.05)
    assert found["log_loss"] == pytest.approx(promised["log_loss"], abs=0.1)


def test_a_class_whose_items_are_all_twins_of_others_is_kept() -> None:
    data = noise(60)
    X, labels = np.concatenate([data.X, data.X[:9]]), np.array([*data.y, *["c"] * 9], dtype=object)

    head = train(MemorySet(X, labels, digests=[""] * 69), Recipe(head="ridge"))

    assert head.classes == ("a", "b", "c")
    assert head.header["metrics"]["n"] == 61
    assert head.header["labels"]["counts"] == {"a": 30, "b": 30, "c": 9}


def test_twins_that_were_not_looked_for_are_told() -> None:
    found = Duplicates(np.arange(60_000), different=60_000, searched=20_000)

    (note,) = twin_warnings(found, {"n": 0, "distinct": 60_000})

    assert note.startswith("twins were looked for among 20,000 of 60,000 rows")
    assert twin_warnings(Duplicates(np.arange(9), 9, 9), {"n": 0, "distinct": 9}) == []


def test_a_raw_baseline_of_fewer_rows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer, "RAW_ROWS", 20)
    data = noise(50)

    head = train(data, Recipe(head="ridge"), contents=lambda rows: [f"w{row % 2}" for row in rows])

    assert "the raw baseline was fitted to 20 of 50 rows" in head.header["warnings"]


def test_a_foreign_head_of_many_rows_is_the_same_whatever_the_processes() -> None:
    # Of four columns most rows have one of the same direction, which is no reason to group them.
    rng = np.random.default_rng(0)
    codes = np.arange(2_100) % 3
    X = (rng.normal(size=(2_100, 4)) + 2 * np.eye(3, 4)[codes]).astype(np.float32)
    labels = np.array(["a", "b", "c"], dtype=object)[codes]
    name = "naive_bayes.GaussianNB"

    head = train(MemorySet(X, labels), Recipe(head=f"sklearn:{name}"))

    alone = SklearnHead(name).fit(X, codes)
    hits = alone.held_out_logits_.argmax(axis=1) == codes
    assert head.header["metrics"]["accuracy"] == hits.mean()
    np.testing.assert_array_equal(head.arrays["graph"], alone.head_arrays()["graph"])


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_other_tasks_survive_their_file_and_are_the_same_twice(task: Task, tmp_path: Path) -> None:
    data = digits(120)
    numbers = [int(label.split()[1]) for label in data.y]
    labels = [f"t{n % 2}|u{n % 3}" if task == "multilabel" else f"{n}|{n % 3}" for n in numbers]
    data = replace(data, y=np.array(labels, dtype=object))

    for name in ("a", "b"):
        save_head(tmp_path / f"{name}.head", train(data, Recipe(task=task)))

    assert (tmp_path / "a.head").read_bytes() == (tmp_path / "b.head").read_bytes()
    head, back = train(data, Recipe(task=task)), load_head(tmp_path / "a.head")
    answer = "tag" if task == "multilabel" else "estimate"
    assert getattr(back, answer)(data.X) == getattr(head, answer)(data.X)
    assert back.header["coverage"] == 0.9


def test_labels_of_another_task_are_pointed_at() -> None:
    data = digits(60)
    tags = replace(data, y=np.array([f"x|{label}" for label in data.y], dtype=object))
    numbers = replace(data, y=np.array([str(n % 30) for n in range(60)], dtype=object))

    assert any("add --task multilabel" in each for each in train(tags).header["warnings"])
    assert any("add --task regress" in each for each in train(numbers).header["warnings"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "multilabel", "strict": True}, "strict: tags have neither"),
        ({"task": "regress", "conformal": "aps"}, "has no sets; leave it out"),
    ],
)
def test_options_that_mean_nothing_to_a_task_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Recipe(**options)


def test_rows_of_equal_contents_are_counted_aloud() -> None:
    data = digits(80)
    twice = MemorySet(np.concatenate([data.X, data.X[:7]]), np.concatenate([data.y, data.y[:7]]))

    head = train(twice, Recipe(head="ridge"))

    assert "7 rows hold the contents of another and are left out" in head.header["warnings"]
