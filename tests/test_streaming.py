"""Heads of sets that are read in blocks."""

import contextlib
import json
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from command_line import call
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.errors import InputError
from featx.evaluate.evaluate import evaluate_head
from featx.heads.calibration import fit_temperature
from featx.heads.centroid import CentroidProbe
from featx.heads.headfile import load_head, save_head
from featx.heads.lda import LDAProbe
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.ridge import RidgeProbe
from featx.train.recipe import Recipe
from featx.train.streaming.plan import Part, Plan, labelled_blocks, make_plan, parts_of
from featx.train.streaming.run import is_streamed, train_streamed
from featx.train.streaming.statistics import Sample, Statistics, statistics_of_segment
from featx.train.train import train
from featx.types import Vectors

MODEL = {"name": "relu", "modality": "array", "normalize": False}
MODEL |= {"fingerprint": "f" * 64, "space": "5" * 64}

TOLERANCE = 1e-5
"""Of arrays of a head, as a share of the largest value: sums in another order."""

PROBES: dict[str, Callable[[], Any]] = {
    "ridge": RidgeProbe,
    "lda": LDAProbe,
    "centroid": CentroidProbe,
}


def write(
    path: Path,
    X: Vectors,
    labels: Iterable[str | None],
    *,
    splits: Iterable[str | None] = (),
    segment: int = 150,
) -> EmbeddingSet:
    told = list(splits) or [None] * len(X)
    rows = [
        Row(id=f"i{number}", digest=f"{number + 1:064x}", label=label, split=split)
        for number, (label, split) in enumerate(zip(labels, told, strict=True))
    ]
    with SetWriter(path, model=MODEL | {"dim": X.shape[1]}, segment_rows=segment) as writer:
        for start in range(0, len(X), segment):
            part = slice(start, start + segment)
            writer.append(rows[part], X[part])
        writer.seal()
    return EmbeddingSet.open(path)


@pytest.fixture(scope="module")
def numbers() -> tuple[Vectors, NDArray[np.object_]]:
    rng = np.random.default_rng(0)
    codes = rng.integers(10, size=1000)
    X = rng.normal(size=(1000, 48)) + 0.7 * rng.normal(size=(10, 48))[codes]
    return X.astype(np.float32), np.array([f"digit {code}" for code in codes], dtype=object)


@pytest.fixture(scope="module")
def opened(
    numbers: tuple[Vectors, NDArray[np.object_]], tmp_path_factory: pytest.TempPathFactory
) -> EmbeddingSet:
    return write(tmp_path_factory.mktemp("set") / "a.emb", *numbers)


def assert_near(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE * np.abs(wanted).max())


@pytest.mark.parametrize("kind", PROBES)
@pytest.mark.parametrize("sample_rows", [10_000, 300])
def test_a_streamed_head_is_that_of_all_rows(
    kind: str,
    sample_rows: int,
    opened: EmbeddingSet,
    numbers: tuple[Vectors, NDArray[np.object_]],
) -> None:
    wanted = PROBES[kind]().fit(*numbers)

    head = train_streamed(opened, Recipe(head=kind), sample_rows=sample_rows)

    if kind != "lda" or sample_rows > len(opened):  # its shrinkage is chosen by the sample
        chosen = {name: head.header["chosen"][name] for name in wanted.tuned_}
        assert chosen == pytest.approx(wanted.tuned_, rel=TOLERANCE)
        for name, array in wanted.head_arrays().items():
            assert_near(head.arrays[name], array)
    assert head.classes == tuple(wanted.classes_)


@pytest.mark.parametrize("kind", PROBES)
def test_what_is_said_of_a_head_is_what_training_on_all_rows_says(
    kind: str, opened: EmbeddingSet, numbers: tuple[Vectors, NDArray[np.object_]]
) -> None:
    X, y = numbers
    wanted, codes = train(opened, Recipe(head=kind)), np.unique(y, return_inverse=True)[1]

    head = train_streamed(opened, Recipe(head=kind))

    assert head.temperature == pytest.approx(wanted.temperature, rel=1e-3)
    assert head.conformal is not None
    assert wanted.conformal is not None
    np.testing.assert_allclose(head.conformal.quantiles, wanted.conformal.quantiles, rtol=1e-3)
    for name in ("accuracy", "n", "log_loss", "set_size"):
        assert head.header["metrics"][name] == pytest.approx(
            wanted.header["metrics"][name], rel=1e-3
        )
    assert head.header["labels"] == wanted.header["labels"]
    assert head.header["suspects"]["n"] == wanted.header["suspects"]["n"]
    np.testing.assert_array_equal(head.arrays["trained_digests"], wanted.arrays["trained_digests"])
    assert isinstance(head.novelty, Novelty)
    novelty = fit_novelty(X, codes, n_classes=10)
    assert_near(head.novelty.distances(X), novelty.distances(X))
    assert head.novelty.threshold == pytest.approx(novelty.threshold, rel=1e-4)


def test_logits_of_the_sample_are_those_of_each_row_left_out(
    opened: EmbeddingSet, numbers: tuple[Vectors, NDArray[np.object_]]
) -> None:
    plan = make_plan(opened, map, seed=0, sample_rows=300)
    sample = Sample.joined(
        each for part in parts_of(opened) for each in statistics_of_segment(part, plan).samples
    )
    probe = RidgeProbe().fit(*numbers)

    head = train_streamed(opened, Recipe(head="ridge"), sample_rows=300)

    logits = probe.held_out_logits_[sample.rows]
    assert head.header["streamed"] == {"rows": 1000, "sample": len(sample.rows)}
    assert head.temperature == pytest.approx(fit_temperature(logits, sample.codes), rel=1e-3)
    assert head.header["metrics"]["accuracy"] == float(
        (logits.argmax(axis=1) == sample.codes).mean()
    )


def test_auto_compares_the_kinds_on_the_sample(opened: EmbeddingSet) -> None:
    tried = []

    head = train_streamed(opened, on_tried=lambda each: tried.append(each.kind))

    assert tried == ["ridge", "lda", "centroid"]
    assert list(head.header["chosen"]["compared"]) == tried
    best = max(each["accuracy"] for each in head.header["chosen"]["compared"].values())
    assert head.header["metrics"]["accuracy"] >= best - 0.01


def test_a_streamed_head_is_saved_and_scored_on_other_items_alone(
    opened: EmbeddingSet, tmp_path: Path
) -> None:
    head = train_streamed(opened, Recipe(head="ridge"))
    save_head(tmp_path / "x.head", head)

    again = load_head(tmp_path / "x.head")

    assert again.header["streamed"] == {"rows": 1000, "sample": 1000}
    np.testing.assert_array_equal(again.logits(opened.X[:9]), head.logits(opened.X[:9]))
    with pytest.raises(InputError, match="trained on"):
        evaluate_head(again, opened)


@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(7)))
def test_sums_and_sample_do_not_depend_on_the_order_of_segments(
    order: list[int], opened: EmbeddingSet
) -> None:
    parts = parts_of(opened)
    plan = make_plan(opened, map, seed=3, sample_rows=200)
    each = [statistics_of_segment(part, plan) for part in parts]

    one, other = (
        reduce(add, (each[number] for number in numbers), Statistics())
        for numbers in (range(7), order)
    )

    assert one.moments is not None
    assert other.moments is not None
    np.testing.assert_allclose(one.moments.scatter, other.moments.scatter, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(one.moments.cross, other.moments.cross, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(
        Sample.joined(one.samples).rows, Sample.joined(other.samples).rows
    )


def test_the_sample_is_the_same_however_a_set_is_cut(
    numbers: tuple[Vectors, NDArray[np.object_]], tmp_path: Path
) -> None:
    X, y = numbers
    rows = []
    for segment in (100, 1000):
        made = write(tmp_path / f"{segment}.emb", X, y, segment=segment)
        plan = make_plan(made, map, seed=0, sample_rows=400)
        samples = (statistics_of_segment(part, plan).samples for part in parts_of(made))
        rows.append(Sample.joined(each for found in samples for each in found).rows.tolist())

    assert rows[0] == rows[1]
    assert 330 < len(rows[0]) < 470


def test_the_sample_takes_rows_alike() -> None:
    facts: dict[str, Any] = {"rows": 10**6, "unlabelled": 0, "of_train": False, "kept": 20}
    rows = np.arange(10**6)
    plans = [
        Plan(classes=("a",), counts=(10**6,), share=0.05, seed=seed, **facts) for seed in (0, 1)
    ]

    kept = [plan.is_sampled(rows, np.repeat(plan.chances(), 10**6)) for plan in plans]

    assert kept[0].mean() == pytest.approx(0.05, rel=0.02)
    assert kept[0][::2].mean() == pytest.approx(0.05, rel=0.03)
    assert (kept[0] & kept[1]).mean() == pytest.approx(0.05**2, rel=0.1)


def test_statistics_travel_between_processes(opened: EmbeddingSet) -> None:
    plan = make_plan(opened, map, seed=0)
    part = parts_of(opened)[2]
    wanted = statistics_of_segment(part, plan)

    asked = pickle.loads(pickle.dumps((part, plan)))
    found = pickle.loads(pickle.dumps(statistics_of_segment(*asked)))

    assert found.moments is not None
    assert wanted.moments is not None
    np.testing.assert_array_equal(found.moments.scatter, wanted.moments.scatter)
    np.testing.assert_array_equal(found.samples[0].X, wanted.samples[0].X)


def test_any_engine_may_read_the_segments(opened: EmbeddingSet) -> None:
    asked = []

    def backwards(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
        for part in reversed(list(parts)):
            asked.append(part.name)
            yield function(part)

    head = train_streamed(opened, Recipe(head="ridge"), each=backwards)

    assert len(asked) == 3 * 7
    for name, array in train_streamed(opened, Recipe(head="ridge")).arrays.items():
        assert_near(head.arrays[name], array)


def test_lda_alone_is_read_once(opened: EmbeddingSet) -> None:
    asked = []

    def counting(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
        asked.append(getattr(function, "func", function).__name__)
        return map(function, parts)

    train_streamed(opened, Recipe(head="lda"), each=counting)

    assert asked == ["count_labels", "statistics_of_segment"]


def test_only_labelled_finite_rows_of_split_train_count(
    numbers: tuple[Vectors, NDArray[np.object_]], tmp_path: Path
) -> None:
    X, y = numbers[0].copy(), numbers[1].copy()
    splits = np.array(["train", "val", "test", None], dtype=object)[np.arange(len(X)) % 4]
    y[8::40] = None
    X[4] = np.nan
    made = write(tmp_path / "a.emb", X, y, splits=splits)
    kept = np.flatnonzero((splits == "train") & (y != None) & np.isfinite(X).all(axis=1))  # noqa: E711

    plan = make_plan(made, map, seed=0)
    blocks = [block for part in parts_of(made) for block in labelled_blocks(part, plan)]
    head = train_streamed(made, Recipe(head="ridge"))

    assert np.concatenate([block.rows for block in blocks]).tolist() == kept.tolist()
    assert_near(head.arrays["coef"], RidgeProbe().fit(X[kept], y[kept]).coef_)
    assert head.header["labels"]["used"] == len(kept)
    assert head.header["labels"]["unlabelled"] == 25
    (note,) = [note for note in head.header["warnings"] if "NaN" in note]
    assert note.startswith("1 labelled vector is NaN or infinite and left out, first that of row 4")


def test_without_train_rows_those_of_test_and_val_are_left_out(
    numbers: tuple[Vectors, NDArray[np.object_]], tmp_path: Path
) -> None:
    X, y = numbers
    splits = np.array([None, "test"], dtype=object)[np.arange(len(X)) % 2]
    made = write(tmp_path / "a.emb", X, y, splits=splits)

    plan = make_plan(made, map, seed=0)

    assert plan.used == 500
    assert [b.rows[0] for p in parts_of(made)[:1] for b in labelled_blocks(p, plan)] == [0]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(head="knn"), "head 'knn': needs all rows at once; choose one of: auto, ridge"),
        (Recipe(task="regress"), "task regress: needs all rows at once"),
        (Recipe(shots=4), "shots: needs all rows at once; leave it out, or leave --streaming out"),
        (Recipe(strict=True), "strict: needs all rows at once"),
    ],
)
def test_what_needs_all_rows_is_refused(recipe: Recipe, message: str, opened: EmbeddingSet) -> None:
    with pytest.raises(InputError, match=message):
        train_streamed(opened, recipe)


def test_labels_that_are_no_classes_are_refused(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    one = write(tmp_path / "one.emb", X, ["a"] * 40)
    few = write(tmp_path / "few.emb", np.tile(X[:2], (1, 12)), ["a", "b"])

    with pytest.raises(InputError, match="labels to train on: 'a'; expected two classes or more"):
        train_streamed(one)
    with pytest.raises(InputError, match="2 labelled rows of 48 numbers; streaming needs as many"):
        train_streamed(few)


def test_large_sets_are_streamed_unless_the_recipe_needs_all_rows(
    opened: EmbeddingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_streamed(opened, Recipe())

    monkeypatch.setattr("featx.train.streaming.run.STREAMED_BYTES", 4 * len(opened) * 48 - 1)

    assert [is_streamed(opened, Recipe(head=kind)) for kind in ("auto", "lda", "knn")] == [
        True,
        True,
        False,
    ]
    assert not is_streamed(opened, Recipe(curve=True))


def test_a_head_of_too_many_items_is_not_scored_on_its_own_set(
    numbers: tuple[Vectors, NDArray[np.object_]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.train.streaming.statistics.MOST_DIGESTS", 10)
    monkeypatch.setattr("featx.train.streaming.run.MOST_DIGESTS", 10)
    splits = np.array(["train", "train", "test"], dtype=object)[np.arange(1000) % 3]
    split = write(tmp_path / "split.emb", *numbers, splits=splits)
    whole = write(tmp_path / "whole.emb", *numbers)

    of_split, of_whole = (train_streamed(made, Recipe(head="ridge")) for made in (split, whole))

    assert of_whole.arrays["trained_digests"].shape == (0, 32)
    assert any("more than 10 items" in note for note in of_whole.header["warnings"])
    assert evaluate_head(of_split, split)["n"] == 333
    with pytest.raises(InputError, match="was trained on this set, and on too many items to know"):
        evaluate_head(of_whole, whole)


def test_the_command_says_that_it_streamed(opened: EmbeddingSet, tmp_path: Path) -> None:
    out = tmp_path / "x.head"

    told = call("train", opened.path, "-o", out, "--head", "ridge", "--streaming", "--json")

    assert told.exit_code == 0, told.stderr
    assert "note: read in blocks: what is said of the head comes from 1,000 of 1,000" in told.stderr
    assert json.loads(told.stdout)["n"] == 1000
    wanted = train_streamed(opened, Recipe(head="ridge"))
    np.testing.assert_array_equal(load_head(out).arrays["coef"], wanted.arrays["coef"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--address", "x:1"], "--address: is of a Ray cluster; add --engine ray."),
        (["--engine", "ray", "--no-streaming"], "--engine ray: reads blocks; leave --no-streaming"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], message: str, opened: EmbeddingSet, tmp_path: Path
) -> None:
    result = call("train", opened.path, "-o", tmp_path / "x.head", *options)

    assert result.exit_code == 2
    assert message in result.stderr


def test_tasks_that_run_in_another_folder_find_the_segments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    write(Path("x.emb"), rng.normal(size=(400, 8)).astype(np.float32), ["a", "b"] * 200)

    def elsewhere(function: Callable[[Part], Any], parts: Iterable[Part]) -> Iterator[Any]:
        for part in parts:
            with contextlib.chdir("there"):
                yield function(part)

    opened, recipe = EmbeddingSet.open("x.emb"), Recipe(head="ridge")
    here = train_streamed(opened, recipe)
    there = train_streamed(opened, recipe, each=elsewhere)

    assert here.arrays.keys() == there.arrays.keys()
    for name, array in here.arrays.items():
        np.testing.assert_array_equal(there.arrays[name], array)
