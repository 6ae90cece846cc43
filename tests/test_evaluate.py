"""Scoring says how good a head is for each task, and warns of what spoils the figures."""

import json
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as oracle

from featx.errors import InputError
from featx.evaluate.evaluate import MATRIX_CLASSES, NOT_SEARCHED, evaluate_head
from featx.evaluate.measures import beaten, of_classes
from featx.train.recipe import Recipe
from featx.train.train import train
from memory_set import MemorySet, digits, noise


def parts(data: MemorySet, n: int) -> tuple[MemorySet, MemorySet]:
    return MemorySet(data.X[:n], data.y[:n]), MemorySet(data.X[n:], data.y[n:])


def relabelled(data: MemorySet, name: Any) -> MemorySet:  # noqa: ANN401 - a function of a number
    numbers = [int(str(label).split()[1]) for label in data.y]
    return replace(data, y=np.array([name(number) for number in numbers], dtype=object))


def tagged(data: MemorySet) -> MemorySet:
    def name(number: int) -> str:
        even = "even" if number % 2 == 0 else ""
        return f"{even}|{'big' if number > 4 else ''}"

    return relabelled(data, name)


def test_measures_of_classes_equal_scikit_learns() -> None:
    known, new = parts(digits(500), 200)
    head = train(known, Recipe(head="ridge"))

    found = evaluate_head(head, new)

    truth, predicted = new.y.astype(str), [item.label for item in head.predict(new.X)]
    assert found["accuracy"] == oracle.accuracy_score(truth, predicted)
    assert found["balanced_accuracy"] == pytest.approx(
        oracle.balanced_accuracy_score(truth, predicted)
    )
    assert found["macro_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="macro"))
    likely = head.probabilities(new.X)
    assert found["log_loss"] == pytest.approx(oracle.log_loss(truth, likely))
    expected = oracle.confusion_matrix(truth, predicted, labels=head.classes)
    assert found["confusion"] == {"labels": list(head.classes), "counts": expected.tolist()}
    sets = [item.set for item in head.predict(new.X)]
    held = [label in each for label, each in zip(truth, sets, strict=True)]
    assert found["set_coverage"] == np.mean(held)
    assert found["set_size"] == pytest.approx(np.mean([len(each) for each in sets]))
    assert found["empty_sets"] == np.mean([not each for each in sets])
    assert found["novel"] == np.mean([item.novel for item in head.predict(new.X)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_many_classes_have_the_cells_of_their_confusions_and_no_matrix() -> None:
    C = MATRIX_CLASSES + 1
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(C, 8))
    known, new = (many_classes(centres, each, rng) for each in (2, 3))
    head = train(known, Recipe(head="centroid"))

    found = evaluate_head(head, new)["confusion"]

    predicted = [item.label for item in head.predict(new.X)]
    matrix = oracle.confusion_matrix(new.y.astype(str), predicted, labels=head.classes)
    assert list(found) == ["labels", "cells", "note"]
    assert found["cells"] == [[i, j, matrix[i, j]] for i, j in np.argwhere(matrix).tolist()]
    assert len(found["cells"]) > C
    assert found["labels"] == list(head.classes)
    assert found["note"].startswith("1,001 classes: 'cells' are those of the matrix that are not 0")


def many_classes(centres: Any, each: int, rng: np.random.Generator) -> MemorySet:  # noqa: ANN401
    """Return so many rows of each class, around its centre."""
    X = np.repeat(centres, each, axis=0)
    X = (X + 0.5 * rng.normal(size=X.shape)).astype(np.float32)
    y = np.repeat([f"c{code:04}" for code in range(len(centres))], each)
    return MemorySet(X, y.astype(object))


def test_memory_does_not_grow_with_the_square_of_the_classes() -> None:
    C, N = 20_000, 50
    truth = np.arange(N) * 400
    likely, sets = np.zeros((N, C), np.float32), np.zeros((N, C), np.bool_)
    likely[np.arange(N), truth] = 1
    tracemalloc.start()

    found = of_classes(likely, truth, sets)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (found["accuracy"], found["macro_f1"]) == (1, 1)
    assert peak < 64 << 20  # a matrix would take 3.2 GB


def test_tags_are_scored_by_the_measures_of_tags() -> None:
    known, new = parts(tagged(digits(500)), 300)
    head = train(known, Recipe(head="ridge", task="multilabel"))

    found = evaluate_head(head, new)

    truth = np.array([[name in label.split("|") for name in head.classes] for label in new.y])
    predicted = np.array([[name in item.tags for name in head.classes] for item in head.tag(new.X)])
    assert found["micro_f1"] == pytest.approx(oracle.f1_score(truth, predicted, average="micro"))
    assert found["accuracy"] == (truth == predicted).all(axis=1).mean()
    assert found["per_class"]["big"]["support"] == truth[:, 0].sum()
    assert found["baselines"]["majority"] < found["micro_f1"]
    assert found["n"] == 200


def test_values_are_scored_by_the_measures_of_values() -> None:
    known, new = parts(relabelled(digits(500), str), 300)
    head = train(known, Recipe(task="regress"))

    found = evaluate_head(head, new)

    truth = new.y.astype(float)
    items = head.estimate(new.X)
    assert found["r2"] == pytest.approx(oracle.r2_score(truth, [item.values[0] for item in items]))
    ends = [item.intervals[0] for item in items]
    covered = [low <= value <= high for value, (low, high) in zip(truth, ends, strict=True)]
    assert found["interval_coverage"] == pytest.approx(np.mean(covered))
    assert 0.84 < found["interval_coverage"] < 0.96
    assert found["baselines"] == {"mean": 0.0}
    promised = head.header["metrics"]
    assert promised["interval"][0] - 0.05 < found["r2"] < promised["interval"][1] + 0.05


def test_tags_that_no_scored_item_has_leave_no_nan() -> None:
    known, new = parts(tagged(digits(320)), 300)
    head = train(known, Recipe(head="ridge", task="multilabel"))

    found = evaluate_head(head, replace(new, y=np.full(20, "|", dtype=object)))

    assert found["mean_average_precision"] is None
    assert found["baselines"] == {"majority": 0.0}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_tags_that_the_head_does_not_know_count_as_missed() -> None:
    known, new = parts(tagged(digits(320)), 300)
    head = train(known, Recipe(head="ridge", task="multilabel"))

    found = evaluate_head(head, replace(new, y=np.full(20, "even|new", dtype=object)))

    assert found["unknown_labels"] == ["new"]
    assert found["accuracy"] == 0.0
    assert found["per_class"]["new"]["recall"] == 0.0


def test_labels_that_are_no_numbers_cannot_be_scored_by_a_head_of_values() -> None:
    known, new = parts(relabelled(digits(320), str), 300)
    head = train(known, Recipe(task="regress"))

    with pytest.raises(InputError, match="the head's task is regress"):
        evaluate_head(head, replace(new, y=np.full(20, "cat", dtype=object)))


def test_items_that_are_nearly_items_trained_on_are_told() -> None:
    data = noise(300)
    data.X[200:240] = data.X[:40] * np.float32(1.001)
    both = replace(data, splits=["train"] * 200 + ["test"] * 100)
    head = train(both, Recipe(head="knn"))

    found = evaluate_head(head, both)

    predicted = head.predict(data.X[240:])
    hits = [item.label == label for item, label in zip(predicted, data.y[240:], strict=True)]
    assert found["leaks"] == {"n": 40, "accuracy_without": np.mean(hits)}
    (note,) = [note for note in found["notes"] if "nearly" in note]
    without = f"{np.mean(hits):.3f}"
    assert note == (
        f"40 scored items are nearly items trained on; without them the accuracy is {without}"
    )


@dataclass(frozen=True)
class NamedSet(MemorySet):
    """A set whose items have ids."""

    @property
    def items(self) -> pa.Table:
        return super().items.append_column(
            "id", pa.array([f"i{row}" for row in range(len(self.X))])
        )


def test_sets_are_scored_as_they_are_predicted() -> None:
    known, new = parts(digits(500), 300)
    head = train(known, Recipe(head="ridge", conformal="aps", coverage=0.6))
    named = NamedSet(new.X, new.y)

    for data, ids in ((named, [f"i{row}" for row in range(200)]), (new, None)):
        found = evaluate_head(head, data)
        sets = [item.set for item in head.predict(new.X, ids=ids)]
        assert found["set_size"] == pytest.approx(np.mean([len(each) for each in sets]))
        held = [label in each for label, each in zip(new.y, sets, strict=True)]
        assert found["set_coverage"] == np.mean(held)
    assert evaluate_head(head, named)["set_size"] != evaluate_head(head, new)["set_size"]


def test_a_set_without_rows_trained_on_is_not_said_to_be_free_of_leaks() -> None:
    known, new = parts(digits(300), 200)
    new.X[0] = known.X[0] * np.float32(1.001)

    found = evaluate_head(train(known, Recipe(head="ridge")), new)

    assert found["leaks"] == {"n": None}
    assert found["notes"][-1] == NOT_SEARCHED


def test_a_raw_baseline_of_fewer_rows_says_so() -> None:
    both = replace(noise(4200), splits=["train"] * 2150 + ["test"] * 2050)
    head = train(both, Recipe(head="ridge"))

    found = evaluate_head(head, both, contents=lambda rows: [f"w{row % 2}" for row in rows])

    assert found["notes"][-1] == (
        "the raw baseline was fitted to 2,000 of 2,150 rows and scored on 2,000 of 2,050 rows"
    )


def test_tiny_classes_are_named() -> None:
    known, new = parts(digits(250), 200)
    head = train(known, Recipe(head="ridge"))

    (note, *_) = evaluate_head(head, new)["notes"]

    counts = {name: int((new.y == name).sum()) for name in head.classes}
    tiny = [name for name, n in counts.items() if 0 < n < 10]
    assert note.startswith(f"{len(tiny)} of 10 classes have fewer than 10 scored items: {tiny[0]}")


def test_a_head_that_may_only_guess_is_told() -> None:
    known, new = parts(noise(200), 100)

    notes = evaluate_head(train(known, Recipe(head="ridge")), new)["notes"]

    assert any("may be no better than the majority baseline, 0.500" in note for note in notes)


def test_the_raw_baseline_is_fitted_to_the_rows_trained_on_and_scored_on_the_same() -> None:
    data = noise(120)
    both = replace(data, splits=["train"] * 80 + ["test"] * 40)
    head = train(both, Recipe(head="ridge"))
    asked: list[list[int]] = []

    def fetch(rows: Sequence[int]) -> list[str]:
        asked.append(list(rows))
        return [f"word {data.y[row]}a" for row in rows]

    found = evaluate_head(head, both, contents=fetch)

    assert asked == [list(range(80)), list(range(80, 120))]
    assert found["baselines"] == {"majority": 0.5, "raw": 1.0}
    assert any("may be no better than the raw baseline, 1.000" in note for note in found["notes"])


def test_another_set_has_no_rows_to_fit_a_raw_baseline_to() -> None:
    known, new = parts(noise(60), 30)
    head = train(known, Recipe(head="ridge"))

    found = evaluate_head(head, new, contents=lambda rows: ["text"] * len(rows))

    assert found["baselines"].keys() == {"majority"}


def test_a_head_without_sets_or_novelty_is_scored_without_them() -> None:
    known, new = parts(digits(300), 200)
    head = train(known, Recipe(head="ridge"))

    bare = replace(head, conformal=None, novelty=None, header={"fingerprint": "f1"})
    found = evaluate_head(bare, new)

    assert found["set_size"] == 1.0
    assert found["set_coverage"] == found["accuracy"]
    assert "novel" not in found
    assert found["chosen"] == {"head": "ridge"}


@pytest.mark.parametrize(
    ("task", "found", "is_noted"),
    [
        ("classify", {"accuracy": 0.9, "interval": [0.8, 0.95]}, False),
        ("classify", {"accuracy": 0.9, "interval": [0.7, 0.95]}, True),
        ("regress", {"r2": 0.9, "interval": [0.7, 0.95]}, True),
        ("multilabel", {"micro_f1": 0.71, "accuracy": 0.2, "interval": [0.1, 0.3]}, False),
        ("multilabel", {"micro_f1": 0.7, "accuracy": 0.9, "interval": [0.8, 0.95]}, True),
    ],
)
def test_the_better_baseline_is_the_one_to_beat(
    task: Any,  # noqa: ANN401 - a task
    found: dict[str, Any],
    is_noted: bool,
) -> None:
    note = beaten(task, {**found, "baselines": {"majority": 0.5, "raw": 0.7}})

    assert (note is not None) == is_noted
    if note is not None:
        assert note.endswith("may be no better than the raw baseline, 0.700")
