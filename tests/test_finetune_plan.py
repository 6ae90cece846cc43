"""Which rows train and judge, how fast they train, when that stops, and what is chosen."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import InputError
from featx.finetune.choice import choose, pooled
from featx.finetune.comparison import Gain, Scored
from featx.finetune.folds import plan
from featx.finetune.guard import SMOOTHED, Guard
from featx.finetune.material import Material
from featx.finetune.recipe import Recipe
from featx.finetune.schedule import learning_rate
from featx.finetune.training import Epoch, Training
from featx.zoo import catalog
from featx.zoo.manifest import Manifest, Tuned
from featx.zoo.writing import manifest_text, write_manifest


def material(
    y: list[int], *, splits: list[str] | None = None, groups: list[int] | None = None
) -> Material:
    n = len(y)
    return Material(
        names=tuple(f"class {code}" for code in range(max(y) + 1)),
        y=np.array(y, dtype=np.int64),
        X=np.zeros((n, 2), dtype=np.float32),
        digests=np.zeros((n, 32), dtype=np.uint8),
        ids=[str(row) for row in range(n)],
        contents=["" for _ in range(n)],
        splits=np.array([each or None for each in splits or [""] * n], dtype=object),
        groups=np.arange(n) if groups is None else np.array(groups),
        tokens=0,
        rows=n,
        unlabelled=0,
        notes=(),
    )


def logits(hits: list[int], y: NDArray[np.int64]) -> Scored:
    """Return what gets these of the rows right, of two classes."""
    right = np.array(hits, dtype=bool)
    said = np.where(right, y, 1 - y)
    return Scored(np.eye(2)[said] * 2, y)


def test_a_fifth_is_held_out_with_all_classes_thinned_alike() -> None:
    found = plan(material([0] * 400 + [1] * 200), share=0.2, seed=3)

    (part,) = found.parts
    assert not found.is_folded
    assert np.bincount(found.parts[0].val // 400).tolist() == [80, 40]
    np.testing.assert_array_equal(np.union1d(part.train, part.val), np.arange(600))
    assert len(part.train) == 480
    np.testing.assert_array_equal(found.trained, part.train)


def test_rows_that_are_nearly_equal_are_not_torn_apart() -> None:
    groups = np.repeat(np.arange(300), 2).tolist()

    found = plan(material([0, 0, 1, 1] * 150, groups=groups), share=0.2, seed=0)

    in_val = np.isin(np.arange(600), found.parts[0].val)
    np.testing.assert_array_equal(in_val[::2], in_val[1::2])
    assert in_val.sum() == 120


def test_few_rows_are_dealt_into_folds_and_it_is_said() -> None:
    found = plan(material([0, 1] * 30), share=0.2, seed=0)

    assert [len(part.val) for part in found.parts] == [12] * 5
    np.testing.assert_array_equal(np.sort(found.judged), np.arange(60))
    np.testing.assert_array_equal(found.trained, np.arange(60))
    for part in found.parts:
        np.testing.assert_array_equal(np.sort(np.concatenate([part.train, part.val])), found.rows)
    assert found.notes == (
        "a validation part of 12 rows is too small to choose by (100 or more are needed);"
        " 5 folds of all 60 rows choose instead",
    )


def test_a_class_of_one_row_always_trains() -> None:
    found = plan(material([0, 1] * 30 + [2]), share=0.2, seed=0)

    assert all(60 in part.train and 60 not in part.val for part in found.parts)
    assert found.notes[1:] == (
        "no item judges the class class 2: how well it is told is not known, and a tuned head"
        " calls no item novel",
    )


def test_classes_of_which_a_split_val_has_no_row_are_told() -> None:
    y = [0, 1, 2, 3] * 50 + [0, 1] * 60
    splits = ["train"] * 200 + ["val"] * 120

    found = plan(material(y, splits=splits), share=0.2, seed=0)

    assert found.notes == (
        "no item judges the classes class 2, class 3: how well they are told is not known, and a"
        " tuned head calls no item novel",
    )


def test_splits_are_used_as_they_are() -> None:
    splits = ["train"] * 200 + ["val"] * 120 + ["test"] * 30 + [""] * 10

    found = plan(material([0, 1] * 180, splits=splits), share=0.2, seed=0)

    np.testing.assert_array_equal(found.parts[0].train, np.arange(200))
    np.testing.assert_array_equal(found.parts[0].val, np.arange(200, 320))
    np.testing.assert_array_equal(found.test, np.arange(320, 350))


def test_a_small_split_val_joins_the_folds_and_test_never_does() -> None:
    splits = ["train"] * 60 + ["val"] * 20 + ["test"] * 20

    found = plan(material([0, 1] * 50, splits=splits), share=0.2, seed=0)

    assert found.is_folded
    np.testing.assert_array_equal(found.rows, np.arange(80))
    assert found.notes[0].startswith("split val of 20 rows is too small to choose by")


@pytest.mark.parametrize(
    ("y", "splits", "said"),
    [
        ([0] * 40, None, "source: 40 rows of 1 class to train on;"),
        ([0, 1] * 4, None, "source: 8 rows of 2 classes to train on;"),
        ([0, 1] * 10, ["test"] * 20, "source: 0 rows of 0 classes to train on beside 20 of split"),
        (list(range(30)), None, "source: 30 rows of 30 classes, one row a class"),
    ],
)
def test_too_little_to_train_on_is_one_line(
    y: list[int], splits: list[str] | None, said: str
) -> None:
    with pytest.raises(InputError) as caught:
        plan(material(y, splits=splits), share=0.2, seed=0)

    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_classes_of_one_item_over_and_over_are_refused() -> None:
    with pytest.raises(InputError, match="each class is one item over and over"):
        plan(material([0] * 5 + [1] * 5, groups=[0] * 5 + [5] * 5), share=0.2, seed=0)


def test_the_rate_rises_for_a_tenth_and_falls_to_nothing() -> None:
    rates = np.array([learning_rate(step, 100, 2.0) for step in range(100)])

    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 5)
    np.testing.assert_allclose(rates[10:], 2 * (100 - np.arange(10, 100)) / 90)


def test_one_step_is_taken_at_full_rate() -> None:
    assert learning_rate(0, 1, 0.5) == 0.5


def test_a_loss_that_is_no_number_stops_at_once() -> None:
    assert Guard(1.0).problem(float("inf")) == "the loss is not a number"


def test_a_loss_three_times_as_large_stops_once_it_lasts() -> None:
    guard = Guard(0.5)
    quiet = [guard.problem(loss) for loss in [0.1] * 20 + [1.6] * (SMOOTHED - 1)]

    assert quiet == [""] * (20 + SMOOTHED - 1)
    assert guard.problem(1.6) == "the loss grew to 1.6, more than 3 times that at the start"


def test_one_hard_batch_is_no_divergence() -> None:
    guard = Guard(0.5)

    assert [guard.problem(loss) for loss in [0.4] * 10 + [6.0] + [0.4] * 10] == [""] * 21


def test_the_interval_of_a_gain_is_that_of_matched_pairs() -> None:
    rng = np.random.default_rng(0)
    y = np.zeros(80, dtype=np.int64)
    frozen, tuned = logits(rng.integers(0, 2, 80).tolist(), y), logits([1] * 60 + [0] * 20, y)

    gain = Gain.between(frozen, tuned)

    pairs = tuned.hits.astype(int) - frozen.hits.astype(int)
    mean, apart = pairs.sum() / 82, np.abs(pairs).sum() + 1
    half = 1.96 * np.sqrt(apart - pairs.sum() ** 2 / 82) / 82
    assert gain.difference == pytest.approx(pairs.mean())
    np.testing.assert_allclose(gain.interval, [mean - half, mean + half], atol=1e-5)


@pytest.mark.parametrize(
    ("gain", "sentence"),
    [
        (Gain(1000, 60, 20), "+4.0 points [+2.2, +5.7] on 1,000 rows: more than chance would give"),
        (Gain(100, 5, 3), "+2.0 points [-3.8, +7.7] on 100 rows: the gain may be chance"),
        (Gain(100, 3, 3), "fine-tuning did not help: +0.0 points [-5.1, +5.1] on 100 rows"),
    ],
)
def test_what_a_gain_is_worth_is_said(gain: Gain, sentence: str) -> None:
    assert gain.sentence() == sentence


def test_the_frozen_head_wins_ties() -> None:
    y = np.arange(40) % 2
    frozen, equal = logits([1] * 30 + [0] * 10, y), logits([0] * 10 + [1] * 30, y)
    run = Training(frozen=frozen)
    run.add(Epoch(1, 0.1, equal), lambda: None)

    choice = choose(run)

    assert not choice.is_tuned
    assert choice.sentence().endswith("on 40 rows; the frozen head is kept")


def test_the_best_epoch_is_that_of_the_least_log_loss() -> None:
    y = np.arange(40) % 2
    run = Training(frozen=logits([1] * 20 + [0] * 20, y))
    for number, hits in enumerate([25, 35, 30], start=1):
        run.add(Epoch(number, 0.1, logits([1] * hits + [0] * (40 - hits), y)), lambda: None)

    choice = choose(run)

    assert choice.best is not None
    assert (choice.best.number, choice.is_tuned) == (2, True)


def test_folds_count_as_far_as_every_one_came() -> None:
    y = np.arange(10) % 2
    runs = [Training(frozen=logits([1] * 5 + [0] * 5, y)) for _ in range(2)]
    for run, epochs in zip(runs, (3, 2), strict=True):
        for number in range(1, epochs + 1):
            run.add(Epoch(number, number / 10, logits([1] * 8 + [0] * 2, y)), lambda: None)
    runs[1].stopped = "the loss is not a number"

    together = pooled(runs)

    assert [epoch.number for epoch in together.epochs] == [1, 2]
    assert together.epochs[1].scored.accuracy == 0.8
    assert len(together.frozen.y) == 20
    assert together.stopped == "the loss is not a number"


@pytest.mark.parametrize(
    "wrong",
    [{"val": 0.0}, {"val": 0.6}, {"epochs": 0}, {"views": 0}, {"lr": 0.0}, {"mixup": -1.0}],
)
def test_a_recipe_out_of_range_names_what_is_allowed(wrong: dict[str, float]) -> None:
    (name,) = wrong

    with pytest.raises(InputError, match=rf"{name}: found .*; (expected|must be)"):
        Recipe(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["minilm-l6", "efficientnet-lite0", "ge2e"])
def test_a_written_manifest_is_read_back(name: str, tmp_path: Path) -> None:
    tuned = Tuned(
        parent=name,
        parent_fingerprint="ab" * 32,
        cut='a "quoted"\tvalue\x7f',
        tune="norm",
        epochs=3,
        items=12,
        classes=("cat", "日本 🙂"),
    )
    whole = replace(catalog.find(name), tuned=tuned, prompts={"a b": "query: "})

    write_manifest(tmp_path / "x.toml", whole)

    assert Manifest.read(tmp_path / "x.toml") == replace(whole, folder=tmp_path)
    assert tomllib.loads(manifest_text(whole))["tuned"]["classes"] == ["cat", "日本 🙂"]
