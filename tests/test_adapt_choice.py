"""What ``auto`` trusts and what it refuses, and the head that comes of it."""

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from featx.errors import InputError, SpaceError
from featx.evaluate.evaluate import evaluate_head
from featx.fingerprint import digest
from featx.heads.moments import measure_classes
from featx.heads.predict import Head
from featx.train.recipe import Recipe as HeadRecipe
from featx.train.train import train
from featx.train.twins import find_twins
from featx.transfer.adapt.adapt import Outcome, adapt_head
from featx.transfer.adapt.alignment import ALIGNMENTS, moments_of
from featx.transfer.adapt.choose import Asked, Judged, choose, judge, why_none
from featx.transfer.adapt.domains import Source, source_of_rows
from featx.transfer.adapt.methods import Method
from featx.transfer.adapt.origin import read_source
from featx.transfer.adapt.priorshift import is_prior_shift
from featx.transfer.adapt.recipe import Recipe
from featx.transfer.adapt.referee import Referees, ask_neighbours, nearest
from featx.transfer.adapt.shift import measure_shift
from memory_set import MemorySet

Pixels = NDArray[np.float64]
DIGITS, NUMBERS = load_digits(return_X_y=True)
ORDER = np.random.default_rng(1).permutation(len(DIGITS))
PIXELS, NUMBERS = DIGITS[ORDER] / 16, NUMBERS[ORDER]


def features(pixels: Pixels) -> NDArray[np.float32]:
    rng = np.random.default_rng(0)
    return np.maximum(pixels @ rng.normal(size=(64, 96)) / 4, 0).astype(np.float32)


def as_set(pixels: Pixels, numbers: NDArray[Any] | None = None, **facts: Any) -> MemorySet:  # noqa: ANN401
    none: list[Any] = [None] * len(pixels)
    names = none if numbers is None else [f"digit {number}" for number in numbers]
    return MemorySet(features(pixels), np.array(names, dtype=object), **facts)


SOURCE = as_set(PIXELS[:500], NUMBERS[:500])
FADED = as_set(0.5 * PIXELS[500:1000] + 0.3)
SOURCE_DIGESTS = [digest(row.tobytes()).hex() for row in SOURCE.X]
TEST = features(0.5 * PIXELS[1000:] + 0.3)


@pytest.fixture(scope="module")
def head() -> Head:
    return train(SOURCE, HeadRecipe(head="ridge"))


@pytest.fixture(scope="module")
def source() -> Source:
    return source_of_rows(SOURCE.X, NUMBERS[:500], 10)


def adapted(head: Head, target: MemorySet, method: str = "auto", **given: Any) -> Outcome:  # noqa: ANN401
    return adapt_head(head, target, recipe=Recipe(method=method), **({"source": SOURCE} | given))


def accuracy(head: Head) -> float:
    names = np.array(head.classes)[head.logits(TEST).argmax(axis=1)]
    return float((names == [f"digit {number}" for number in NUMBERS[1000:]]).mean())


def test_neighbours_are_those_of_the_largest_cosine() -> None:
    rng = np.random.default_rng(0)
    Q, X = rng.normal(size=(30, 5)), rng.normal(size=(40, 5))
    centre = X.mean(axis=0)

    def oracle(A: Pixels, B: Pixels) -> Pixels:
        A, B = (each / np.linalg.norm(each, axis=1)[:, None] for each in (A - centre, B - centre))
        return np.asarray(A @ B.T)

    found, among = nearest(Q, X, 4, centre=centre), nearest(X, X, 4, centre=centre, is_same=True)

    near = np.argsort(-oracle(Q, X), axis=1)[:, :4]
    own = np.argsort(-oracle(X, X) + 9 * np.eye(40), axis=1)[:, :4]
    np.testing.assert_array_equal(np.sort(found), np.sort(near))
    np.testing.assert_array_equal(np.sort(among), np.sort(own))


def test_votes_are_means_over_neighbours_in_the_memory_of_a_few_tables_of_them() -> None:
    rng = np.random.default_rng(0)
    X, Z, y = rng.normal(size=(800, 8)), rng.normal(size=(1000, 8)), np.arange(800) % 400
    source = source_of_rows(X, y, 400)
    assert source.rows is not None
    tracemalloc.start()

    found = ask_neighbours(source, source.rows, Z)

    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 9 * found.own.nbytes
    moved = [align(source.moments, moments_of(Z))(Z) for align in ALIGNMENTS.values()]
    near = [nearest(each, X, 5, centre=X.mean(axis=0)) for each in moved]
    own = np.mean([np.eye(400)[y[each]].mean(axis=1) for each in near], axis=0)
    peers = nearest(Z, Z, 10, centre=Z.mean(axis=0), is_same=True)
    np.testing.assert_allclose(found.own, own, atol=1e-12)
    np.testing.assert_allclose(found.around, own[peers].mean(axis=1), atol=1e-12)


def test_a_method_is_judged_by_the_rows_that_it_changes() -> None:
    votes = np.array([[1.0, 0.0], [0.2, 0.8], [0.5, 0.5], [0.0, 1.0]] * 50)
    referees = Referees(own=votes, around=votes[:, ::-1], competence=1, agreement=1)
    before, after = np.zeros(200, dtype=np.int64), np.tile([0, 1, 0, 1], 50)

    both = judge("x", after, before, replace(referees, around=votes))
    torn = judge("x", after, before, referees)

    won = np.tile([0, 0.6, 0, 1], 50)
    assert both.gain == pytest.approx(0.4)
    assert both.least == pytest.approx(0.4 - 3 * won.std(ddof=1) / np.sqrt(200))
    assert both.changed == 0.5
    assert both.is_trusted
    assert torn.gain == pytest.approx(0)
    assert not torn.is_trusted
    assert not replace(both, changed=0.51).is_trusted
    assert not replace(both, gain=0.009).is_trusted


def test_a_method_that_changes_too_much_is_named() -> None:
    bold = Judged(name="zscore", gain=0.738, least=0.676, changed=0.835)
    vain = replace(bold, name="coral", gain=0.8, least=-0.1)

    assert why_none([vain, bold]) == (
        "zscore is expected to gain 73.8 points, but changes 83.5% of the classes, more than 50%:"
        " too much to be trusted; --method zscore takes it all the same"
    )
    assert why_none([vain]) == "no method is surely better than the head as it is"


def test_a_shift_that_neighbours_see_through_is_adapted_to(head: Head) -> None:
    found = adapted(head, FADED)

    assert found.is_adapted
    assert (found.expected_gain or 0) > 0.05
    assert accuracy(found.head) > accuracy(head) + 0.05
    first = found.compared[0]
    assert found.method == next(each.name for each in found.compared if each.is_trusted)
    assert first.gain >= found.compared[-1].gain


def test_domains_that_are_alike_are_left_alone(head: Head) -> None:
    found = adapted(head, as_set(PIXELS[500:1000]))

    assert found.head is head
    assert found.reason == "the domains cannot be told apart"


def test_a_shift_that_leaves_nothing_recognisable_is_refused(head: Head) -> None:
    found = adapted(head, as_set(1 - PIXELS[500:1000]))

    assert found.head is head
    assert found.reason.startswith("neighbours agree on ")


def test_neighbours_that_know_less_than_the_head_are_not_asked() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(600) % 2
    # A weak direction that a linear head finds and that distances drown in noise.
    X = rng.normal(size=(600, 80))
    X[:, 0] += 2 * y
    source = source_of_rows(X, y, 2)
    assert source.rows is not None

    referees = ask_neighbours(source, source.rows, X + 1)

    assert referees.competence < 0.7
    shift = measure_shift(source, X + 1, ("a", "b"))
    choice = choose(source, source.rows, Asked(X=X + 1, before=y), shift)
    assert choice.best is None
    assert choice.reason.endswith("of its own domain, less than 90%: too little to judge by")


def test_classes_that_are_rarer_move_the_prior_and_nothing_else() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(800) % 2
    X = rng.normal(size=(800, 40))
    X[:, 0] += 2 * y
    Z, z = rng.normal(size=(600, 40)), (np.arange(600) % 10 == 0).astype(np.int64)
    Z[:, 0] += 2 * z
    source = source_of_rows(X, y, 2)

    choice = chosen_among(source, Z)

    assert choice.best.name == "prior"
    assert choice.reason == "all that differs is how common the classes are"
    corrected = Method.named("prior").fit(source, Z).linear
    gain = (corrected.codes(Z) == z).mean() - (source.base.codes(Z) == z).mean()
    assert choice.best.gain == pytest.approx(gain, abs=0.03)
    assert gain > 0.05


def chosen_among(source: Source, Z: Pixels) -> Any:  # noqa: ANN401
    assert source.rows is not None
    shift = measure_shift(source, Z, ("a", "b"))
    return choose(source, source.rows, Asked(X=Z, before=source.base.codes(Z)), shift)


def test_a_shift_of_the_rows_is_no_shift_of_the_prior(source: Source) -> None:
    assert source.rows is not None
    assert not is_prior_shift(source, source.rows, FADED.X)


def test_a_ridge_head_stands_in_for_another_and_says_how_much_worse_it_is() -> None:
    rows = train(SOURCE, HeadRecipe(head="knn"))
    ridge = train(SOURCE, HeadRecipe(head="ridge"))

    known, found = read_source(rows, SOURCE), adapted(rows, FADED, "coral")

    lost = rows.header["metrics"]["accuracy"] - ridge.header["metrics"]["accuracy"]
    assert known.handicap == pytest.approx(lost, abs=1e-9)
    assert found.head.kind == "ridge"
    assert accuracy(found.head) > 0.8


def test_what_is_not_known_of_the_target_is_not_said(head: Head) -> None:
    found = adapted(head, FADED, "coral")

    assert found.head.conformal is None
    assert found.head.header.keys().isdisjoint({"metrics", "suspects", "curve", "coverage"})
    assert found.head.header["labels"] == head.header["labels"]
    assert found.head.temperature == head.temperature
    assert 0 < found.head.novelty.flags(TEST).mean() < 0.15  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        found.head.arrays["trained_digests"], head.arrays["trained_digests"]
    )
    assert any("without labels of the target" in note for note in found.notes)


def test_rows_kept_for_a_test_are_not_looked_at(head: Head) -> None:
    splits = ["test" if row % 2 else None for row in range(500)]
    whole = as_set(0.5 * PIXELS[500:1000] + 0.3, splits=splits)
    half = as_set(0.5 * PIXELS[500:1000:2] + 0.3)

    first, second = (adapted(head, each, "coral") for each in (whole, half))

    np.testing.assert_array_equal(first.head.arrays["coef"], second.head.arrays["coef"])


def test_rows_that_are_not_finite_are_left_out_and_told(head: Head) -> None:
    X = FADED.X.copy()
    X[7, 3] = np.nan

    found = adapted(head, replace(FADED, X=X), "centre")
    without = adapted(head, MemorySet(np.delete(X, 7, 0), np.delete(FADED.y, 7)), "centre")

    assert "1 rows that are NaN or infinite are left out" in found.notes
    np.testing.assert_array_equal(found.head.arrays["coef"], without.head.arrays["coef"])


def test_what_a_head_remembers_serves_in_place_of_its_rows(head: Head) -> None:
    with_rows, without = (adapted(head, FADED, "coral", source=each) for each in (SOURCE, None))

    assert accuracy(without.head) == pytest.approx(accuracy(with_rows.head), abs=0.02)
    kept = adapted(head, FADED, source=None)
    assert kept.head is head
    assert "name their set with --source" in kept.reason


def test_labels_of_the_target_give_measures_and_sets(head: Head) -> None:
    labels = [f"digit {n}" if row < 60 else None for row, n in enumerate(NUMBERS[500:1000])]
    target = replace(as_set(1 - PIXELS[500:1000]), y=np.array(labels, dtype=object))

    found = adapted(head, target, "labelled")

    rows = np.unique(find_twins(target.X[:60]).groups)
    assert found.head.header["metrics"]["n"] == len(rows) == 50
    assert getattr(found.head.conformal, "method", "") == "lac"
    assert len(found.head.arrays["trained_digests"]) == 560
    assert (found.expected_gain or 0) > 0.4
    was_right = head.logits(target.X[rows]).argmax(axis=1) == NUMBERS[500:560][rows]
    after = found.head.header["metrics"]["accuracy"]
    assert found.expected_gain == pytest.approx(after - was_right.mean())
    assert found.interval == found.head.header["adapted"]["interval"]
    low, high = found.interval or (0, 0)
    assert 0.3 < low < (found.expected_gain or 0) < high < 0.9
    fresh = features(1 - PIXELS[1000:])
    names = np.array(found.head.classes)[found.head.logits(fresh).argmax(axis=1)]
    hits = (names == [f"digit {number}" for number in NUMBERS[1000:]]).mean()
    assert found.head.header["metrics"]["accuracy"] == pytest.approx(hits, abs=0.15)


def test_copies_of_labelled_rows_make_a_head_no_better(head: Head) -> None:
    rng = np.random.default_rng(0)
    X = np.maximum(rng.normal(size=(40, 96)), 0).astype(np.float32)
    names = np.array([f"digit {code}" for code in rng.integers(0, 10, 40)], dtype=object)
    copies = np.repeat(X, 5, axis=0) + rng.normal(0, 1e-4, (200, 96)).astype(np.float32)

    found = adapted(head, MemorySet(copies, np.repeat(names, 5)), "labelled")

    assert found.head.header["metrics"]["n"] == 40
    assert found.head.header["metrics"]["accuracy"] < 0.35
    assert found.reason.startswith("of 40 labelled rows, nearly equal ones counted once, ")
    assert len(found.head.arrays["trained_digests"]) == 700  # copies are no items unseen


def test_items_that_a_head_was_adapted_to_are_scored_and_told(head: Head) -> None:
    made = adapted(head, FADED, "centre").head
    both = as_set(0.5 * PIXELS[700:1300] + 0.3, NUMBERS[700:1300])
    own, other = (
        as_set(0.5 * PIXELS[part] + 0.3, NUMBERS[part])
        for part in (slice(700, 1000), slice(1000, 1300))
    )

    mixed, seen, fresh = (evaluate_head(made, each) for each in (both, own, other))

    rest = fresh["accuracy"]
    told = "the head was adapted to"
    assert mixed["adapted_to"] == {"n": 300, "accuracy_without": rest}
    assert [note for note in mixed["notes"] if note.startswith(told)] == [
        f"{told} 300 of 600 scored items, without their labels; without them the accuracy is"
        f" {rest:.3f}"
    ]
    assert (seen["n"], seen["adapted_to"]) == (300, {"n": 300})
    assert f"{told} these items, without their labels" in seen["notes"]
    assert fresh["adapted_to"] == {"n": 0}
    assert not [note for note in fresh["notes"] if note.startswith(told)]


def test_rows_without_a_label_have_no_part_in_a_head_of_labels(head: Head) -> None:
    labels = [f"digit {n}" if row < 60 else None for row, n in enumerate(NUMBERS[500:1000])]
    target = replace(FADED, y=np.array(labels, dtype=object))

    made = adapted(head, target, "labelled").head

    assert made.arrays["adapted_digests"].shape == (0, 32)
    rest = as_set(0.5 * PIXELS[500:1000] + 0.3, NUMBERS[500:1000])
    found = evaluate_head(made, rest)
    assert (found["n"], found["excluded"], found["adapted_to"]) == (440, 60, {"n": 0})


@pytest.mark.parametrize("kept", [SOURCE, None])
def test_a_source_whose_rows_are_all_equal_is_refused(kept: MemorySet | None) -> None:
    blank = replace(SOURCE, X=np.full((500, 96), 0.1, np.float32), digests=SOURCE_DIGESTS)
    head = train(blank, HeadRecipe(head="ridge"))
    target = as_set(PIXELS[500:560], NUMBERS[500:560])
    given = None if kept is None else blank

    for method in ("labelled", "coral"):
        with pytest.raises(InputError, match=f"{method}: the classes of the source have one mean"):
            adapted(head, target, method, source=given)
    assert adapted(head, target, source=given).head is head


def test_what_cannot_be_adapted_is_refused_by_name(head: Head) -> None:
    tags = replace(head, task="multilabel")

    with pytest.raises(InputError, match="task is 'multilabel'; expected 'classify'"):
        adapted(tags, FADED)
    with pytest.raises(SpaceError, match="run: featx embed SOURCE -m other"):
        adapted(
            replace(head, header={**head.header, "space": "s2", "model": "other"}),
            replace(FADED, fingerprint="f2"),
        )
    with pytest.raises(InputError, match="no row that the head was trained on"):
        adapted(head, FADED, source=as_set(PIXELS[1000:1200], NUMBERS[1000:1200]))
    with pytest.raises(InputError, match="its labels are cat, and none is a class of the head"):
        adapted(head, replace(FADED, y=np.full(500, "cat", dtype=object)))


def test_moments_of_a_source_are_those_of_its_rows(source: Source) -> None:
    whole = measure_classes(SOURCE.X, NUMBERS[:500], 10)

    np.testing.assert_allclose(source.moments.scatter, whole.scatter)
    np.testing.assert_allclose(source.prior, np.bincount(NUMBERS[:500]) / 500)
