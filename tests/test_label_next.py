"""What to label next: typical items first, then those that a head is least sure of."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from featx.errors import InputError, SpaceError
from featx.heads.calibration import fit_temperature
from featx.heads.predict import Head
from featx.train.candidates import fit, kinds
from featx.train.material import read_material
from featx.transfer.labelnext.next import label_next
from featx.transfer.labelnext.picking import MOST, pick_different
from memory_set import MemorySet, digits

ROUNDS, STEP = 5, 20


def blobs(n: int = 12, each: int = 15, dim: int = 16) -> MemorySet:
    """Give rows of `n` directions without labels."""
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(n), each)
    X = 5 * np.eye(n, dim)[codes] + 0.3 * rng.normal(size=(len(codes), dim))
    return MemorySet(X.astype(np.float32), np.full(len(codes), None, dtype=object))


def labelled(data: MemorySet, rows: Any, names: Any) -> MemorySet:  # noqa: ANN401 - row numbers
    """Give a set in which some rows have a label."""
    y = np.full(len(data.X), None, dtype=object)
    y[rows] = names
    return replace(data, y=y)


def linear(dim: int = 16, **facts: Any) -> Head:  # noqa: ANN401 - of a head
    """Give a head whose logits are three columns."""
    arrays = {"coef": np.eye(3, dim), "intercept": np.zeros(3)}
    header = {"fingerprint": "f1", "space": "s1", "model": "relu"}
    return Head(kind="ridge", classes=("a", "b", "c"), arrays=arrays, header=header, **facts)


def oracle_margins(X: NDArray[np.float32]) -> NDArray[np.float64]:
    powers = np.exp(X[:, :3].astype(float))
    ranked = np.sort(powers / powers.sum(axis=1, keepdims=True), axis=1)
    return np.asarray(ranked[:, -1] - ranked[:, -2])


def test_without_labels_the_most_central_item_of_each_group_is_taken() -> None:
    data = blobs()
    unit = data.X / np.linalg.norm(data.X, axis=1, keepdims=True)

    found = label_next(data, 12)

    centres = unit.reshape(12, 15, -1).mean(axis=1)
    central = [
        15 * c + int(((unit[15 * c : 15 * c + 15] - m) ** 2).sum(axis=1).argmin())
        for c, m in enumerate(centres)
    ]
    assert sorted(found.rows.tolist()) == central
    assert (found.by, found.waiting, found.labelled, found.classes) == ("typical", 180, 0, 0)
    assert found.suggested == (None,) * 12
    assert np.isnan(found.margins).all()


def test_the_largest_group_comes_first() -> None:
    data = blobs()
    kept = np.r_[0:3, 15:30, 30:36]

    found = label_next(MemorySet(data.X[kept], data.y[kept]), 3)

    assert [int(kept[row]) // 15 for row in found.rows] == [1, 2, 0]


def test_margins_and_suggestions_are_those_of_the_head() -> None:
    data = labelled(blobs(), np.arange(9), ["a", "b", "c"] * 3)

    found = label_next(data, 10, head=linear())

    assert found.by == "margin"
    np.testing.assert_allclose(found.margins, oracle_margins(data.X[found.rows]), rtol=1e-6)
    winners = data.X[found.rows, :3].argmax(axis=1)
    assert found.suggested == tuple("abc"[code] for code in winners)


def test_picks_are_among_those_that_the_head_is_least_sure_of() -> None:
    rng = np.random.default_rng(0)
    X = 3 * rng.normal(size=(3000, 16)).astype(np.float32)
    data = labelled(MemorySet(X, np.empty(3000, object)), np.arange(60), ["a", "b", "c"] * 20)

    found = label_next(data, 10, head=linear())

    margins = oracle_margins(X[60:])
    assert found.searched < 300
    assert found.margins.max() <= np.sort(margins)[found.searched - 1] + 1e-6
    U = X[found.rows] / np.linalg.norm(X[found.rows], axis=1, keepdims=True)
    least = X[60 + np.argsort(margins)[:10]]
    least /= np.linalg.norm(least, axis=1, keepdims=True)
    assert np.triu(U @ U.T, 1).max() < np.triu(least @ least.T, 1).max()


def test_items_like_those_that_have_a_label_come_last() -> None:
    data = blobs()
    given = labelled(data, np.arange(0, 90, 15), "a")

    found = label_next(given, 6)

    assert found.by == "typical"
    assert sorted(row // 15 for row in found.rows.tolist()) == [6, 7, 8, 9, 10, 11]


def test_labels_of_one_class_give_no_margins_however_many_they_are() -> None:
    found = label_next(labelled(blobs(), np.arange(0, 180, 4), "a"), 5)

    assert (found.by, found.labelled, len(found.rows)) == ("typical", 45, 5)
    assert found.suggested == (None,) * 5


def test_a_head_of_many_labels_has_margins_where_the_set_has_no_labels() -> None:
    learned = replace(linear(), header={**linear().header, "labels": {"used": 6}})

    assert label_next(blobs(), 5, head=linear()).by == "typical"
    assert label_next(blobs(), 5, head=learned).by == "margin"


@pytest.mark.parametrize("labels", [[6], "6", 6, None, {"used": "6"}, {"used": None}, {}])
def test_a_head_file_that_counts_no_labels_is_one_of_few(labels: Any) -> None:  # noqa: ANN401
    odd = replace(linear(), header={**linear().header, "labels": labels})

    assert label_next(blobs(), 5, head=odd).by == "typical"


def test_what_is_held_back_or_has_a_label_is_left_alone() -> None:
    data = blobs()
    splits = [("train", "val", "test", None, None)[row % 5] for row in range(180)]
    given = labelled(replace(data, splits=splits), np.arange(0, 180, 10), "a")

    found = label_next(given, 200)

    left = [row for row in range(180) if splits[row] in {"train", None} and row % 10]
    assert sorted(found.rows.tolist()) == left
    assert (found.labelled, found.classes) == (18, 1)


def test_equal_items_are_asked_for_once_and_broken_ones_never() -> None:
    data = blobs()
    X = data.X.copy()
    X[100:110], X[120:125], X[130] = X[0], X[50], np.nan
    given = labelled(MemorySet(X, data.y), [0], "a")

    found = label_next(given, 180)

    waiting = set(range(1, 180)) - set(range(100, 110)) - set(range(120, 125)) - {130}
    assert set(found.rows.tolist()) == waiting
    assert found.notes == (
        "15 items without a label are equal to another and left out",
        "1 item without a label is left out, of NaN or infinite vectors: embed anew",
    )


def test_rows_that_differ_by_roundings_are_as_many_as_were_asked_for() -> None:
    X = np.ones((40, 3), np.float32)
    X[:, 0] += np.arange(40, dtype=np.float32) * 1e-7

    found = label_next(MemorySet(X, np.full(40, None, dtype=object)), 8)

    assert len(set(found.rows.tolist())) == 8 <= found.waiting


def test_of_many_items_a_sample_is_searched() -> None:
    X = np.random.default_rng(0).normal(size=(25_000, 4)).astype(np.float32)
    data = MemorySet(X, np.full(25_000, None, dtype=object), digests=[""] * 25_000)

    found = label_next(data, 5)

    assert (found.waiting, found.searched, len(found.rows)) == (25_000, 20_000, 5)


def test_of_many_unsure_items_only_as_many_are_searched() -> None:
    X = np.random.default_rng(0).normal(size=(25_000, 16)).astype(np.float32)
    data = labelled(MemorySet(X, np.empty(25_000, object)), np.arange(9), ["a", "b", "c"] * 3)

    found = label_next(data, 21_000, head=linear())
    fewer = label_next(data, 3_000, head=linear())

    assert (found.searched, len(set(found.rows.tolist()))) == (21_000, 21_000)
    assert (fewer.searched, len(set(fewer.rows.tolist()))) == (20_000, 3_000)


def test_more_items_than_clusters_are_taken_from_these_in_turns() -> None:
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(MOST), 4)
    X = 5 * np.eye(MOST)[groups] + rng.normal(scale=0.01, size=(len(groups), MOST))
    weights = rng.uniform(0.5, 1, len(groups))

    found = pick_different(X, 2 * MOST, weights=weights, seed=0)

    for group in range(MOST):
        rows = np.flatnonzero(groups == group)
        apart = np.square(X[rows] - np.average(X[rows], axis=0, weights=weights[rows])).sum(axis=1)
        rest = np.delete(rows, apart.argmin())
        first, second = (part[groups[part] == group].tolist() for part in np.split(found, 2))
        assert first == [rows[apart.argmin()]]
        assert second == [rest[weights[rest].argmax()]]


def test_the_same_is_said_twice_and_a_seed_changes_it() -> None:
    data = replace(digits(300), y=np.full(300, None, dtype=object))

    found = [label_next(data, 10, seed=seed).rows.tolist() for seed in (0, 0, 1)]

    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("n", "facts", "problem"),
    [
        (0, {}, "label next: n = 0; must be 1 or more"),
        (3, {"task": "regress"}, "label next: the head's task is 'regress'; expected one of"),
        (3, {"task": "multilabel"}, "label next: the head's task is 'multilabel'; expected one"),
    ],
)
def test_what_cannot_be_asked_is_refused(n: int, facts: dict[str, Any], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        label_next(blobs(), n, head=linear(**facts))


def test_a_head_of_another_space_is_refused() -> None:
    with pytest.raises(SpaceError, match="the head was trained on relu"):
        label_next(replace(blobs(), space="s2", fingerprint="f2"), 3, head=linear())


def test_a_set_with_nothing_left_says_why() -> None:
    data = blobs(2, 5)
    splits = ["train"] * 6 + ["test"] * 4
    given = labelled(replace(data, splits=splits), np.arange(6), "a")

    found = label_next(given, 3)

    assert (found.rows.tolist(), found.suggested, found.margins.tolist()) == ([], (), [])
    assert (found.waiting, found.labelled, found.classes) == (0, 6, 1)
    assert found.notes == (
        "embedding set: of 10 items none is left to label: 6 have a label; 4 are in split val or"
        " test",
    )


def test_a_set_of_which_nothing_can_be_labelled_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        label_next(replace(blobs(2, 5), y=np.full(10, None), splits=["test"] * 10), 3)

    assert str(caught.value) == (
        "embedding set: of 10 items none is left to label: 10 are in split val or test;"
        " add items with: featx embed"
    )


def accuracy(pool: MemorySet, known: NDArray[np.object_], test: MemorySet) -> float:
    material = read_material(replace(pool, y=known), "classify")
    fitted = fit(kinds(material)[0], material, seed=0)
    head = Head(kind=fitted.kind, classes=material.names, arrays=fitted.arrays)
    winners = head.logits(test.X).argmax(axis=1)
    return float((np.array(head.classes, dtype=object)[winners] == test.y).mean())


def test_five_rounds_bring_more_than_as_many_labels_at_random() -> None:
    gains = []
    for seed in range(2):
        data = digits(1000, seed=seed)
        pool = MemorySet(data.X[:500], data.y[:500])
        test = MemorySet(data.X[500:], data.y[500:])
        asked, drawn = np.full(500, None, dtype=object), np.full(500, None, dtype=object)
        for _ in range(ROUNDS):
            rows = label_next(replace(pool, y=asked), STEP, seed=seed).rows
            assert set(asked[rows]) == {None}
            asked[rows] = pool.y[rows]
        at = np.random.default_rng(seed).permutation(500)[: ROUNDS * STEP]
        drawn[at] = pool.y[at]
        assert sum(label is not None for label in asked) == ROUNDS * STEP
        gains.append(accuracy(pool, asked, test) - accuracy(pool, drawn, test))

    assert np.mean(gains) > 0.02


def test_without_a_head_one_is_fitted_as_auto_prefers() -> None:
    data = digits(200)
    given = labelled(data, np.arange(100), data.y[:100])
    material = read_material(given, "classify")
    fitted = fit("logreg", material, seed=0)
    head = Head(
        kind="logreg",
        classes=material.names,
        arrays=fitted.arrays,
        temperature=fit_temperature(fitted.logits, material.y),
        header={"fingerprint": "f1", "space": "s1"},
    )

    alone, led = label_next(given, 5), label_next(given, 5, head=head)

    assert alone.rows.tolist() == led.rows.tolist()
    assert alone.suggested == led.suggested
    np.testing.assert_array_equal(alone.margins, led.margins)
