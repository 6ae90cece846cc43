"""A few labelled items of each class are drawn, and the others judge the head."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import call, done, refused
from featx.errors import InputError
from featx.evaluate.interval import wilson_interval
from featx.heads.headfile import load_head
from featx.train.material import Material, read_material
from featx.train.recipe import Recipe
from featx.train.shots import draw_shots
from featx.train.train import train
from featx.train.twins import find_twins
from memory_set import MemorySet, digits, noise


def material(data: MemorySet) -> Material:
    return read_material(data, "classify")


def drawn_of(data: MemorySet, shots: int, seed: int = 0) -> Any:  # noqa: ANN401 - a mask
    return draw_shots(material(data), shots, seed=seed)


@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_as_many_of_each_class_are_drawn(shots: int) -> None:
    data = digits(400)

    labels, counts = np.unique(data.y[drawn_of(data, shots)], return_counts=True)

    assert labels.tolist() == [f"digit {n}" for n in range(10)]
    assert counts.tolist() == [shots] * 10


def test_all_are_drawn_of_a_class_that_has_fewer() -> None:
    labels = np.array(["a"] * 9 + ["rare"] * 2 + ["b"] * 9, dtype=object)
    data = MemorySet(noise(20).X, labels)

    drawn = drawn_of(data, 4)

    assert [int((labels[drawn] == name).sum()) for name in ("a", "b", "rare")] == [4, 4, 2]
    warnings = train(data, Recipe(shots=4, head="ridge")).header["warnings"]
    assert warnings[0] == "1 class has fewer than 4 labelled items, all drawn: rare (2)"


def test_fewer_shots_of_a_seed_are_among_more_and_another_seed_draws_others() -> None:
    data = digits(400)

    draws = [drawn_of(data, shots) for shots in (1, 2, 4, 8)]

    assert all((more | few).tolist() == more.tolist() for few, more in pairwise(draws))
    assert (draws[3] & drawn_of(data, 8, seed=1)).sum() < 40


def test_every_row_of_a_class_is_drawn_as_often_as_another() -> None:
    data = digits(100)

    times = sum(drawn_of(data, 2, seed).astype(int) for seed in range(600))

    counts = dict(zip(*np.unique(data.y, return_counts=True), strict=True))
    expected = np.array([1200 / counts[label] for label in data.y])
    np.testing.assert_allclose(times / expected, 1, atol=0.35)


def test_a_head_of_shots_is_one_of_those_rows_alone() -> None:
    data = digits(300)
    drawn = drawn_of(data, 4, seed=5)

    head = train(data, Recipe(shots=4, seed=5))

    alone = train(MemorySet(data.X[drawn], data.y[drawn]), Recipe(seed=5))
    assert head.header["chosen"] == alone.header["chosen"]
    assert head.arrays.keys() == alone.arrays.keys()
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(head.arrays[name], array)
    assert head.header["labels"]["used"] == 40


def test_the_rest_judges_the_head() -> None:
    data = digits(300)
    drawn = drawn_of(data, 2)

    head = train(data, Recipe(shots=2))

    groups = find_twins(data.X).groups
    rest = [row for row, group in enumerate(groups) if row == group and group not in groups[drawn]]
    found = np.array(head.classes)[head.logits(data.X[rest]).argmax(axis=1)]
    n, hits = len(rest), int((found == data.y[rest]).sum())
    assert 240 < n < 280
    assert head.header["shots"] == {
        "asked": 2,
        "drawn": 20,
        "rest": {"n": n, "accuracy": hits / n, "interval": list(wilson_interval(hits, n))},
    }


def test_copies_of_drawn_rows_do_not_judge_the_head() -> None:
    one = noise(40)
    copied = MemorySet(np.repeat(one.X, 5, axis=0), np.repeat(one.y, 5))

    rest = train(copied, Recipe(shots=8, head="centroid")).header["shots"]["rest"]

    assert 24 <= rest["n"] <= 38
    assert rest["interval"][0] < 0.5 < rest["interval"][1]


def test_without_a_rest_nothing_is_said_of_it() -> None:
    data = digits(60)

    head = train(data, Recipe(shots=100, head="centroid"))

    assert head.header["shots"] == {"asked": 100, "drawn": 60, "rest": {"n": 0}}
    assert "shots" not in train(data, Recipe(head="centroid")).header


@pytest.mark.parametrize(
    ("shots", "tried"),
    [
        (1, ["centroid"]),
        (2, ["logreg"]),
        (4, ["logreg"]),
        (8, ["logreg", "lda", "ridge", "centroid"]),
        (16, ["logreg", "lda", "ridge", "centroid"]),
    ],
)
def test_what_is_tried_depends_on_the_shots(shots: int, tried: list[str]) -> None:
    head = train(digits(400), Recipe(shots=shots))

    assert list(head.header["chosen"]["compared"]) == tried


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        ({"shots": 0}, "shots: found 0; must be 1 or more, or left out"),
        ({"shots": 2, "task": "regress"}, "shots: task 'regress' has no classes to draw from"),
        ({"shots": 2, "task": "multilabel"}, "shots: task 'multilabel' has no classes"),
    ],
)
def test_shots_of_no_classes_are_refused(recipe: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        Recipe(**recipe)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a set of digits, all of them labelled."""
    folder = tmp_path_factory.mktemp("shots")
    data = digits(300)
    np.savez(folder / "x.npz", X=data.X, y=data.y.astype(str))
    done("embed", folder / "x.npz", "-m", "identity", "-o", folder / "x.emb")
    return folder / "x.emb"


@pytest.mark.usefixtures("own_cache")
def test_the_command_says_what_the_rest_says(embedded: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.head"

    lines = done("train", embedded, "-o", out, "--shots", 4, "--head", "lda").splitlines()

    rest = load_head(out).header["shots"]["rest"]
    low, high = rest["interval"]
    assert lines[0].endswith("10 classes, 40 of 300 rows used")
    assert lines[-1] == (
        f"accuracy of the rest   {rest['accuracy']:.3f}  [{low:.3f}, {high:.3f}]"
        f"  n={rest['n']}, labelled and not drawn"
    )
    report = json.loads(done("train", embedded, "-o", out, "--shots", 4, "--json"))
    assert report["shots"]["rest"]["n"] == rest["n"] < 260  # some are nearly equal
    scored = json.loads(done("evaluate", out, embedded, "--json"))
    assert scored["n"] == 260
    assert scored["accuracy"] == pytest.approx(rest["accuracy"], abs=0.03)


@pytest.mark.usefixtures("own_cache")
def test_one_shot_is_judged_by_the_rest_alone(embedded: Path, tmp_path: Path) -> None:
    command = ("train", embedded, "-o", tmp_path / "x.head", "--shots", 1)

    lines = done(*command).splitlines()

    header = load_head(tmp_path / "x.head").header
    assert "metrics" not in header
    assert header["suspects"] == {"n": 0, "first": []}
    assert lines[0].endswith("centroid, 10 classes, 10 of 300 rows used")
    said = "not measured: half of the classes or more have one item"
    assert lines[1].split(maxsplit=1) == ["accuracy", said]
    assert lines[2].startswith("accuracy of the rest")
    report = json.loads(done(*command, "--json"))
    assert (report["accuracy"], report["interval"], report["n"]) == (None, None, 0)
    assert report["shots"] == header["shots"]
    assert report["chosen"]["head"] == "centroid"


@pytest.mark.parametrize(("lone", "is_judged"), [(6, False), (5, False), (4, True), (0, True)])
def test_heads_of_classes_that_mostly_have_one_item_are_not_judged(
    lone: int, is_judged: bool
) -> None:
    codes = [code for code in range(10) for _ in range(1 if code < lone else 2)]
    labels = np.array([f"class {code}" for code in codes], dtype=object)

    header = train(MemorySet(noise(len(labels)).X, labels)).header

    assert ("metrics" in header) == is_judged


@pytest.mark.usefixtures("own_cache")
def test_a_command_that_draws_all_says_so(embedded: Path, tmp_path: Path) -> None:
    command = ("train", embedded, "-o", tmp_path / "x.head", "--head", "centroid")

    lines = done(*command, "--shots", 500).splitlines()

    assert lines[-1] == "every labelled item was drawn, so there are no others to judge by"


@pytest.mark.usefixtures("own_cache")
def test_shots_that_cannot_be_are_refused(embedded: Path, tmp_path: Path) -> None:
    command = ("train", embedded, "-o", tmp_path / "x.head")

    assert call(*command, "--shots", 0).exit_code == 2
    line = refused(*command, "--shots", 2, "--task", "multilabel")
    assert line == "shots: task 'multilabel' has no classes to draw from; leave shots out"
    line = refused(*command, "--shots", 2, "--curve")
    assert line.startswith("curve: 20 different rows of 10 classes; needs 50 or more")
    assert list(tmp_path.iterdir()) == []
