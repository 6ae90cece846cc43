"""What is wrong with a set on purpose is found, and little else."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from featx.errors import InputError
from featx.evaluate.curation import classes
from featx.evaluate.curation.alike import compare_rows
from featx.evaluate.curation.facts import inspection_facts
from featx.evaluate.curation.inspect import inspect_set
from featx.evaluate.curation.judged import why_not_judged
from featx.evaluate.curation.outliers import find_outliers
from featx.evaluate.interval import wilson_interval
from featx.types import Vectors
from memory_set import MemorySet, digits, noise


def flipped(share: float, n: int = 800, seed: int = 0) -> tuple[MemorySet, NDArray[np.bool_]]:
    """Give digits of which some have another label, and which those are."""
    clean = digits(n, d=96)
    rng = np.random.default_rng(seed)
    names = np.unique(clean.y)
    codes = np.searchsorted(names, clean.y)
    is_wrong = rng.random(n) < share
    wrong = (codes + rng.integers(1, 10, n)) % 10
    return replace(clean, y=names[np.where(is_wrong, wrong, codes)]), is_wrong


def oracle_likeness(X: Vectors) -> NDArray[np.float64]:
    U = X.astype(np.float64) / np.linalg.norm(X, axis=1, keepdims=True)
    cosines = U @ U.T
    np.fill_diagonal(cosines, -np.inf)
    return np.asarray(np.sort(cosines)[:, -5:].mean(axis=1))


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_flipped_labels_are_found_and_hardly_any_other_is_suspected(share: float) -> None:
    embedding_set, is_wrong = flipped(share)

    found = inspect_set(embedding_set)

    assert roc_auc_score(is_wrong, -found.confidence) > 0.99
    assert is_wrong[found.suspects.rows].mean() > 0.85
    assert is_wrong[found.suspects.rows].sum() > 0.75 * is_wrong.sum()
    confidence = found.suspects.confidence
    np.testing.assert_allclose(confidence, 1 - found.confidence[found.suspects.rows])
    assert (np.diff(confidence) <= 0).all()


def test_where_so_many_labels_are_wrong_that_no_doubt_is_sure_a_note_says_so() -> None:
    clean = digits(1_600, d=96)
    two = np.isin(clean.y, ["digit 3", "digit 8"])
    is_wrong = np.random.default_rng(0).random(int(two.sum())) < 0.25
    other = np.where(clean.y[two] == "digit 3", "digit 8", "digit 3")
    mixed = MemorySet(clean.X[two], np.where(is_wrong, other, clean.y[two]))

    found = inspect_set(mixed)

    assert roc_auc_score(is_wrong, -found.confidence) > 0.9
    assert len(found.suspects.rows) < 0.2 * is_wrong.sum()
    assert any("featx train --suspects lists more" in note for note in found.notes)


def test_suggestions_are_the_labels_before_they_were_flipped() -> None:
    embedding_set, is_wrong = flipped(0.1)
    truth = digits(800, d=96).y

    found = inspect_set(embedding_set)

    rows = found.suspects.rows
    is_hit = is_wrong[rows]
    suggested = np.array(found.classes)[found.suspects.suggested]
    assert (suggested == truth[rows])[is_hit].mean() > 0.9


def test_a_wrong_label_is_found_though_its_copies_share_it() -> None:
    X, y, _ = blobs()
    copies = np.concatenate([np.arange(480), np.repeat([7, 300], 25)])
    is_wrong = np.isin(copies, [7, 300])
    y = np.where(is_wrong, "class 1", y[copies])

    found = inspect_set(MemorySet(X[copies], y))

    assert sorted(found.suspects.rows.tolist()) == np.flatnonzero(is_wrong).tolist()
    suggested = np.array(found.classes)[found.suspects.suggested]
    assert set(suggested) == {"class 0", "class 2"}


def test_duplicates_come_in_groups_that_say_what_differs() -> None:
    clean = digits(200, d=96)
    X = np.concatenate([clean.X, clean.X[[3, 3, 9]] * np.array([[1], [2], [1]], np.float32)])
    y = np.concatenate([clean.y, [clean.y[3], "digit x", clean.y[9]]])
    embedding_set = MemorySet(X, y)

    found = inspect_set(embedding_set)

    named = [(each.rows.tolist(), each.is_exact, each.labels_differ) for each in found.duplicates]
    assert ([3, 200, 201], False, True) in named
    assert ([9, 202], True, False) in named
    np.testing.assert_allclose(found.duplicates[0].similarities, 1, atol=1e-6)


def test_leaks_are_the_nearest_rows_of_earlier_splits() -> None:
    X = np.eye(12, dtype=np.float32)
    X = np.concatenate([X, X[:3] + np.float32(0.01) * X[3:6], X[1:2]])
    splits = [*["train"] * 10, None, "val", "test", "val", "test", "test"]

    found = inspect_set(MemorySet(X, np.array(["a", "b"] * 8, dtype=object), splits=splits))

    assert found.leaks.rows.tolist() == [12, 13, 14, 15]
    assert found.leaks.others.tolist() == [0, 1, 2, 1]
    assert found.leaks.earlier.tolist() == [0, 1, 2, 13]
    np.testing.assert_allclose(found.leaks.similarities, [1 / np.sqrt(1.0001)] * 3 + [1], atol=1e-6)


def test_what_has_no_label_is_not_trained_on_and_leaks_nothing() -> None:
    X = np.eye(6, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]
    y = np.array([None, "a", "a", "b", "a", "b"], dtype=object)

    found = inspect_set(MemorySet(X, y, splits=[*["train"] * 4, "test", "test"]))

    assert (found.leaks.rows.tolist(), found.leaks.others.tolist()) == ([5], [1])


def test_without_a_train_split_rows_of_no_split_are_trained_on() -> None:
    X = np.eye(6, dtype=np.float32)
    embedding_set = MemorySet(
        np.concatenate([X, X[:1]]),
        np.array([None] * 7, dtype=object),
        splits=[None] * 6 + ["test"],
    )

    found = inspect_set(embedding_set)

    assert (found.leaks.rows.tolist(), found.leaks.others.tolist()) == ([6], [0])


def test_likeness_is_the_mean_cosine_to_the_five_nearest_others() -> None:
    embedding_set = digits(300)

    found = inspect_set(embedding_set)

    np.testing.assert_allclose(found.likeness, oracle_likeness(embedding_set.X), atol=1e-6)


def test_items_from_elsewhere_are_the_strangest() -> None:
    clean = digits(400, d=96)
    strange = np.random.default_rng(0).normal(size=(4, 96)).astype(np.float32)
    y = np.concatenate([clean.y, clean.y[:4]])

    found = inspect_set(MemorySet(np.concatenate([clean.X, strange]), y))

    assert set(found.outliers.rows[:4].tolist()) == {400, 401, 402, 403}
    assert (np.diff(found.outliers.likeness) >= 0).all()
    np.testing.assert_allclose(found.outliers.likeness, found.likeness[found.outliers.rows])


def test_outliers_are_those_below_tukeys_fence() -> None:
    likeness = np.random.default_rng(0).normal(0.8, 0.05, 500)
    likeness[7] = np.nan

    found = find_outliers(likeness)

    low, high = np.nanpercentile(likeness, [25, 75])
    expected = np.flatnonzero(likeness < low - 1.5 * (high - low))
    assert sorted(found.rows.tolist()) == expected.tolist()
    assert len(found) == 5


@pytest.mark.parametrize("likeness", [np.full(50, 0.9), np.linspace(0, 1, 19), np.full(30, np.nan)])
def test_where_it_is_not_known_how_like_items_are_none_is_strange(
    likeness: NDArray[np.float64],
) -> None:
    assert len(find_outliers(likeness)) == 0


def blobs(seed: int = 0) -> tuple[Vectors, NDArray[np.object_], NDArray[np.int64]]:
    """Give 12 blobs of 40 rows: four classes of three blobs, which share a direction."""
    rng = np.random.default_rng(seed)
    blob = np.repeat(np.arange(12), 40)
    centres = 3 * np.eye(4, 40)[np.arange(12) // 3] + 2 * np.eye(12, 40, k=8)
    X = centres[blob] + 0.15 * rng.normal(size=(480, 40))
    y = np.array([f"class {each // 3}" for each in blob], dtype=object)
    return X.astype(np.float32), y, blob


def test_a_blob_labelled_as_another_class_is_a_mislabelled_cluster() -> None:
    X, y, blob = blobs()
    y[blob == 5] = "class 3"

    found = inspect_set(MemorySet(X, y))

    (cluster,) = found.clusters
    assert (cluster.label, cluster.suggested) == ("class 3", "class 1")
    assert set(cluster.rows.tolist()) <= set(np.flatnonzero(blob == 5).tolist())
    assert len(cluster.rows) >= 20
    assert cluster.confidence > 0.5


def test_right_labels_make_no_mislabelled_cluster() -> None:
    X, y, _ = blobs()

    assert inspect_set(MemorySet(X, y)).clusters == ()


def test_classes_that_cannot_be_told_apart_overlap() -> None:
    clean = digits(600, d=96)
    rng = np.random.default_rng(0)
    is_four = clean.y == "digit 4"
    y = np.where(is_four & (rng.random(600) < 0.5), "digit 4b", clean.y)

    found = inspect_set(MemorySet(clean.X, y))

    first = found.overlaps[0]
    assert (first.first, first.second) == ("digit 4", "digit 4b")
    own = np.array(found.classes)[found.predicted]
    confused = ((y == "digit 4") & (own == "digit 4b")) | ((y == "digit 4b") & (own == "digit 4"))
    assert first.times == confused.sum()
    assert first.share == pytest.approx(confused.sum() / is_four.sum())


def test_balance_counts_classes_and_names_small_ones() -> None:
    X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    y = np.array(["a"] * 40 + ["b"] * 16 + ["c"] * 2 + [None] * 2, dtype=object)

    found = inspect_set(MemorySet(X, y))

    assert found.balance.counts == {"a": 40, "b": 16, "c": 2}
    assert (found.balance.ratio, found.balance.small, found.balance.unlabelled) == (20, ("c",), 2)
    assert "1 class has fewer than 5 items: c" in found.notes


def test_noise_accuses_nobody() -> None:
    found = inspect_set(noise(200))

    assert len(found.suspects) == len(found.clusters) == 0
    assert found.accuracy == pytest.approx(0.5, abs=0.15)
    assert any(note.startswith("no label is doubted") for note in found.notes)


def test_unlabelled_rows_are_not_judged_but_looked_at() -> None:
    clean = digits(300)
    y = clean.y.copy()
    y[::2] = None

    found = inspect_set(replace(clean, y=y))

    assert np.isnan(found.confidence[::2]).all()
    assert np.isfinite(found.confidence[1::2]).all()
    assert (found.predicted[::2] == -1).all()
    np.testing.assert_allclose(found.likeness, oracle_likeness(clean.X), atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([None] * 40, "no item has a label"),
        (["a"] * 40, "the only class is 'a'"),
        ([str(i) for i in range(40)], "most of the 40 classes have one item"),
        (["a"] + [None] * 39, "the only class is 'a'"),
    ],
)
def test_labels_that_cannot_be_judged_are_said_to_be(labels: list[str | None], reason: str) -> None:
    X = digits(40).X

    found = inspect_set(MemorySet(X, np.array(labels, dtype=object)))

    assert f"labels are not judged: {reason}" in found.notes
    assert (found.classes, found.accuracy, found.interval) == ((), None, None)
    assert np.isnan(found.confidence).all()


def test_rows_that_are_not_finite_are_left_out_and_named() -> None:
    clean = digits(200)
    X = clean.X.copy()
    X[[4, 9], 0] = np.nan, np.inf
    rest = np.delete(np.arange(200), [4, 9])

    found = inspect_set(MemorySet(X, clean.y))

    whole = inspect_set(MemorySet(clean.X[rest], clean.y[rest]))
    assert found.unfit.tolist() == [4, 9]
    assert any(note.startswith("2 vectors are NaN or infinite") for note in found.notes)
    np.testing.assert_array_equal(found.confidence[rest], whole.confidence)
    np.testing.assert_array_equal(found.likeness[rest], whole.likeness)
    assert found.suspects.rows.tolist() == rest[whole.suspects.rows].tolist()
    assert found.outliers.rows.tolist() == rest[whole.outliers.rows].tolist()


def test_no_items_and_no_finite_ones_are_refused() -> None:
    empty = MemorySet(np.empty((0, 3), np.float32), np.empty(0, dtype=object))
    unfit = MemorySet(np.full((2, 3), np.nan, np.float32), np.array(["a", "b"], dtype=object))

    with pytest.raises(InputError, match="holds no item"):
        inspect_set(empty)
    with pytest.raises(InputError, match="all 2 vectors are NaN or infinite"):
        inspect_set(unfit)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_a_few_items_are_inspected(n: int) -> None:
    clean = digits(n)

    found = inspect_set(clean)

    assert found.n == n
    assert len(found.suspects) == len(found.outliers) == 0


def test_where_nearness_says_nothing_only_equal_items_are_duplicates() -> None:
    X = digits(200).X + np.float32(100)
    X[7] = X[8]

    found = compare_rows(X, threshold=0.98)

    assert [each.rows.tolist() for each in found.clusters()] == [[7, 8]]
    assert len(found.notes) == 1
    assert found.notes[0].startswith("a cosine of 0.98 puts more than a fifth")


def test_where_the_threshold_joins_too_many_a_nearer_one_is_taken() -> None:
    rng = np.random.default_rng(0)
    X = 1 + np.eye(60) + 0.001 * rng.normal(size=(60, 60))
    rows: Vectors = np.concatenate([X, X[:1] + 0.001]).astype(np.float32)

    found = compare_rows(rows, threshold=0.96)

    assert [each.rows.tolist() for each in found.clusters()] == [[0, 60]]
    assert found.threshold == pytest.approx(0.99)
    assert found.notes[0].endswith("one group of duplicates; 0.99 is taken instead")


def test_equal_rows_are_duplicates_and_leaks_however_many_they_are() -> None:
    X = np.random.default_rng(0).normal(size=(100, 16)).astype(np.float32)
    X[:30] = X[0]
    splits = ["test" if row % 3 == 0 else "train" for row in range(100)]
    y = np.array(["a", "b"] * 50, dtype=object)

    found = inspect_set(MemorySet(X, y, splits=splits))

    assert [group.rows.tolist() for group in found.duplicates] == [list(range(30))]
    assert found.duplicates[0].is_exact
    assert found.leaks.rows.tolist() == list(range(0, 30, 3))
    assert not any("more than a fifth" in note for note in found.notes)


def test_equal_rows_stay_duplicates_where_nearness_says_nothing() -> None:
    X = digits(200).X + np.float32(5000)
    X[:60] = X[0]

    found = compare_rows(X, threshold=0.98)

    assert [each.rows.tolist() for each in found.clusters()] == [list(range(60))]
    assert found.notes[0].endswith("only equal ones count")


def test_accuracy_counts_near_duplicates_once() -> None:
    clean, is_wrong = flipped(0.2, n=120)
    once = inspect_set(clean)

    found = inspect_set(MemorySet(np.tile(clean.X, (9, 1)), np.tile(clean.y, 9)))

    assert (found.distinct, found.accuracy) == (once.distinct, once.accuracy)
    assert found.interval == once.interval
    assert 115 <= found.distinct <= 120
    hits = round(float(once.accuracy or 0) * once.distinct)
    assert once.interval == wilson_interval(hits, once.distinct)
    assert is_wrong.sum() > 10


def test_a_class_of_copies_of_other_classes_is_not_judged_and_said_to_be() -> None:
    X, y, _ = blobs()
    X, y = np.concatenate([X, X[:6]]), np.concatenate([y, ["copy"] * 6])

    found = inspect_set(MemorySet(X, y))

    assert "copy" not in found.classes
    assert (found.predicted[480:] == -1).all()
    assert np.isfinite(found.confidence[:480]).all()
    assert not set(range(480, 486)) & set(found.suspects.rows.tolist())
    assert (
        "1 class is not judged, since each item is nearly one of another class: copy" in found.notes
    )


@pytest.mark.parametrize(("n", "is_judged"), [(5000, True), (50_000, False)])
def test_more_items_and_classes_than_memory_holds_are_not_judged(n: int, is_judged: bool) -> None:
    names = tuple(map(str, range(n)))

    reason = why_not_judged(np.repeat(np.arange(n), 2), names)

    expected = "100,000 items of 50,000 classes are too many; up to 2,684 items of so many"
    assert reason.startswith(expected) == (not is_judged)
    assert bool(reason) == (not is_judged)


def test_coarse_clusters_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y, _ = blobs()
    monkeypatch.setattr(classes, "MOST_CLUSTERS", 10)

    found = inspect_set(MemorySet(X, y))

    told = [note for note in found.notes if note.startswith("mislabelled clusters")]
    assert told == [
        "mislabelled clusters are looked for among groups of about 48 items, not finer; inspect a"
        " part of the set to find smaller ones"
    ]


def test_classes_that_only_test_holds_are_told() -> None:
    clean = digits(300)
    splits = ["test" if label == "digit 8" else "train" for label in clean.y]

    found = inspect_set(replace(clean, splits=splits))

    assert "1 class is in val or test but not in train: digit 8" in found.notes


def test_a_seed_settles_everything() -> None:
    embedding_set, _ = flipped(0.1, n=300)

    first, second = (
        inspection_facts(inspect_set(embedding_set, seed=5), embedding_set) for _ in range(2)
    )

    assert first == second


def test_facts_name_items_and_hold_what_was_found() -> None:
    embedding_set, _ = flipped(0.1, n=300)
    found = inspect_set(embedding_set)

    facts = inspection_facts(found, embedding_set)

    assert [each["id"] for each in facts["suspects"]] == [str(r) for r in found.suspects.rows]
    assert facts["suspects"][0]["label"] == embedding_set.y[found.suspects.rows[0]]
    assert sum(facts["classes"].values()) == facts["labelled"] == facts["items"] == 300
    assert facts["accuracy"] == found.accuracy
