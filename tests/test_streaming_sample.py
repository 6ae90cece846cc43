"""The sample of a set that is read in blocks: rare classes have a say, and weigh as they are."""

import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.heads.moments import measure_classes
from featx.heads.predict import Head
from featx.train.recipe import Recipe
from featx.train.streaming.plan import make_plan, parts_of
from featx.train.streaming.run import train_streamed
from featx.train.streaming.statistics import Sample, _ClassSums, statistics_of_segment
from test_streaming import write

if TYPE_CHECKING:
    from featx.heads.conformal import Conformal
    from featx.heads.novelty import Novelty

COMMON, RARE, EACH = 2500, 40, 12
"""Rows of either common class, rare classes, and rows of each of those."""

DIM = 8


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> EmbeddingSet:
    """Give a set of two common classes, and of rare ones that nothing tells apart."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(2 + RARE), [COMMON, COMMON, *[EACH] * RARE])
    rng.shuffle(codes)
    X = rng.normal(size=(len(codes), DIM)).astype(np.float32)
    X[codes == 0, 0] += 5
    X[codes == 1, 1] += 5
    names = np.array(["a", "b", *(f"rare {number}" for number in range(RARE))], dtype=object)
    return write(tmp_path_factory.mktemp("set") / "a.emb", X, names[codes], segment=2000)


def sample_of(opened: EmbeddingSet, sample_rows: int) -> tuple[Sample, NDArray[np.float64] | None]:
    plan = make_plan(opened, map, seed=0, sample_rows=sample_rows)
    each = [statistics_of_segment(part, plan).samples for part in parts_of(opened)]
    sample = Sample.joined(one for several in each for one in several)
    return sample, plan.weights(sample.codes)


def test_rows_of_a_rare_class_are_in_the_sample_and_weigh_as_much_as_there_are(
    opened: EmbeddingSet,
) -> None:
    sample, weights = sample_of(opened, 840)

    assert weights is not None
    share = 840 / len(opened)
    counts = np.bincount(sample.codes)
    np.testing.assert_array_equal(counts[2:], EACH)  # fewer than 20: all of them
    assert counts[:2] == pytest.approx(np.full(2, share * COMMON), rel=0.1)
    rows = np.bincount(sample.codes, weights) / share
    assert rows[2:] == pytest.approx(np.full(RARE, EACH))
    assert rows[:2] == pytest.approx(np.full(2, COMMON), rel=0.1)


def test_no_more_rows_of_rare_classes_are_kept_than_there_are_of_common_ones(
    opened: EmbeddingSet,
) -> None:
    plan = make_plan(opened, map, seed=0, sample_rows=84)

    assert plan.kept == 2
    sample, _ = sample_of(opened, 84)
    assert 84 < len(sample.rows) < 2.5 * 84


def test_rows_of_a_set_that_is_all_in_the_sample_weigh_alike(opened: EmbeddingSet) -> None:
    sample, weights = sample_of(opened, 10_000)

    assert weights is None
    np.testing.assert_array_equal(sample.rows, np.arange(len(opened)))


def both(opened: EmbeddingSet, recipe: Recipe) -> tuple[Head, Head]:
    """Return heads that are judged by all rows, and by a sample half of which is rare."""
    return train_streamed(opened, recipe), train_streamed(opened, recipe, sample_rows=600)


@pytest.mark.parametrize("kind", ["ridge", "lda", "centroid"])
def test_a_sample_says_of_a_head_what_all_rows_say(kind: str, opened: EmbeddingSet) -> None:
    of_all, of_some = both(opened, Recipe(head=kind))

    all_say, some_say = of_all.header["metrics"], of_some.header["metrics"]
    for name in ("accuracy", "set_coverage"):
        assert some_say[name] == pytest.approx(all_say[name], abs=0.03)
    assert some_say["log_loss"] == pytest.approx(all_say["log_loss"], rel=0.15)
    assert some_say["macro_f1"] == pytest.approx(all_say["macro_f1"], abs=0.02)
    assert some_say["interval"][0] < all_say["accuracy"] < some_say["interval"][1]
    assert of_some.temperature == pytest.approx(of_all.temperature, rel=0.2)
    some, every = (cast("Novelty", head.novelty).threshold for head in (of_some, of_all))
    assert some == pytest.approx(every, rel=0.25)


def test_kinds_of_heads_are_compared_by_what_rows_weigh(opened: EmbeddingSet) -> None:
    of_all, of_some = (head.header["chosen"]["compared"] for head in both(opened, Recipe()))

    for kind, facts in of_all.items():
        assert of_some[kind]["accuracy"] == pytest.approx(facts["accuracy"], abs=0.03)


def test_sets_that_cover_each_class_say_something_of_rare_ones(opened: EmbeddingSet) -> None:
    head = train_streamed(opened, Recipe(head="ridge", conformal="class"), sample_rows=840)

    quantiles = cast("Conformal", head.conformal).quantiles
    assert quantiles.shape == (2 + RARE,)
    assert (quantiles < 1).all()
    assert not any("rows in the sample" in note for note in head.header["warnings"])


def test_class_sums_of_blocks_are_the_moments_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(5, size=900))  # a block has some of the classes
    X = (rng.normal(size=(900, 6)) + 10 + codes[:, None]).astype(np.float32)
    sums = _ClassSums(7)
    for start in range(0, 900, 100):
        sums.add(X[start : start + 100], codes[start : start + 100])

    found = sums.moments()

    wanted = measure_classes(X.astype(np.float64), codes, 7)
    for name in ("weight", "mean", "scatter", "target_mean", "cross", "target_square"):
        np.testing.assert_allclose(getattr(found, name), getattr(wanted, name), 1e-5, 1e-3)


def test_a_block_costs_the_classes_that_it_has() -> None:
    X, codes = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32), np.arange(200)
    sums = _ClassSums(200_000)
    sums.add(X, codes)
    tracemalloc.start()

    sums.add(X, codes + 7)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20  # numbers of all classes take 13 MB


def test_nothing_is_known_of_a_segment_without_labelled_rows(tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    y = np.array(["a", "b"], dtype=object)[np.arange(300) % 2]
    y[100:200] = None
    made = write(tmp_path / "a.emb", X, y, segment=100)
    plan = make_plan(made, map, seed=0)

    assert statistics_of_segment(parts_of(made)[1], plan).moments is None
    assert train_streamed(made, Recipe(head="ridge")).header["labels"]["used"] == 200
