"""When a set is streamed, and what is said of the head."""

from functools import reduce
from operator import add
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.train.recipe import Recipe
from featx.train.streaming.plan import make_plan, parts_of
from featx.train.streaming.run import is_streamed, train_streamed
from featx.train.streaming.statistics import Sample, Statistics, statistics_of_segment
from featx.types import Vectors
from test_streaming import write

Numbers = tuple[Vectors, NDArray[np.object_]]


@pytest.fixture(scope="module")
def numbers() -> Numbers:
    rng = np.random.default_rng(0)
    codes = rng.integers(10, size=1000)
    X = rng.normal(size=(1000, 48)) + 0.7 * rng.normal(size=(10, 48))[codes]
    return X.astype(np.float32), np.array([f"digit {code}" for code in codes], dtype=object)


@pytest.fixture(scope="module")
def opened(numbers: Numbers, tmp_path_factory: pytest.TempPathFactory) -> EmbeddingSet:
    return write(tmp_path_factory.mktemp("set") / "a.emb", *numbers)


def test_notes_tell_the_items_of_a_class_and_not_those_of_the_sample(
    numbers: Numbers, tmp_path: Path
) -> None:
    y = np.array(["a", "b"], dtype=object)[np.arange(1000) % 2]
    y[7:27] = "seldom"
    y[[101, 103]] = "rare"
    made = write(tmp_path / "a.emb", numbers[0], y)
    plan = make_plan(made, map, seed=0, sample_rows=14)
    chance = plan.chances()[plan.classes.index("seldom")]
    drawn = int(plan.is_sampled(np.arange(7, 27), np.full(20, chance)).sum())

    notes = train_streamed(made, Recipe(head="ridge"), sample_rows=14).header["warnings"]

    assert drawn < 5
    assert notes[0].startswith("1 class has fewer than 5 items: rare (2); what is said")
    (note,) = [note for note in notes if "rows in the sample" in note]
    assert note.startswith(f"1 class has fewer than 5 rows in the sample: seldom ({drawn}); what")


def test_duplicates_that_were_not_looked_for_are_not_counted(opened: EmbeddingSet) -> None:
    assert train_streamed(opened, Recipe(head="lda")).header["duplicates"] is None


def test_statistics_are_joined_as_they_add_up(opened: EmbeddingSet) -> None:
    plan = make_plan(opened, map, seed=3, sample_rows=200)
    each = [statistics_of_segment(part, plan) for part in parts_of(opened)]

    found, wanted = Statistics.joined(iter(each)), reduce(add, each, Statistics())

    assert found.moments is not None
    assert wanted.moments is not None
    np.testing.assert_array_equal(found.moments.scatter, wanted.moments.scatter)
    np.testing.assert_array_equal(found.all_digests(), wanted.all_digests())
    np.testing.assert_array_equal(
        Sample.joined(found.samples).rows, Sample.joined(wanted.samples).rows
    )


def test_a_large_set_of_few_labels_is_not_streamed(
    numbers: Numbers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, y = numbers[0], numbers[1].copy()
    y[40:] = None
    few = write(tmp_path / "few.emb", X, y)
    y[:100] = numbers[1][:100]
    more = write(tmp_path / "more.emb", X, y)

    found = []
    for most in (0, 4 * 99 * 48, 4 * 100 * 48):
        monkeypatch.setattr("featx.train.streaming.run.STREAMED_BYTES", most)
        found.append([is_streamed(made, Recipe()) for made in (few, more)])

    assert found == [[False, True], [False, True], [False, False]]
