"""Folds: every row once, classes spread evenly, groups together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.errors import InputError
from featx.heads.folds import deal_folds, group_folds, read_splits, stratified_sample

few_examples = settings(max_examples=40, deadline=None, derandomize=True)
labels = st.lists(st.integers(0, 5), min_size=1, max_size=60)


def counts(codes: NDArray[Any], folds: NDArray[Any]) -> NDArray[np.int64]:
    """Return the number of rows of each class in each fold."""
    table = np.zeros((codes.max() + 1, folds.max() + 1), dtype=np.int64)
    np.add.at(table, (codes, folds), 1)
    return table


@few_examples
@given(labels, st.integers(2, 12))
def test_folds_differ_by_one_row_at_most_and_so_does_each_class(
    given_labels: list[int], n_folds: int
) -> None:
    codes = np.array(given_labels)

    folds = deal_folds(codes, n_folds)

    table = counts(codes, folds)
    assert table.shape[1] == min(n_folds, len(codes))
    assert np.ptp(table.sum(axis=0)) <= 1
    assert np.ptp(table, axis=1).max() <= 1


def test_folds_depend_on_the_seed_alone() -> None:
    codes = np.arange(50) % 3

    np.testing.assert_array_equal(deal_folds(codes, 5, seed=1), deal_folds(codes, 5, seed=1))
    assert (deal_folds(codes, 5, seed=1) != deal_folds(codes, 5, seed=2)).any()


@few_examples
@given(labels, st.integers(2, 6), st.data())
def test_groups_stay_together_and_no_number_of_them_is_refused(
    given_labels: list[int], n_folds: int, data: st.DataObject
) -> None:
    codes = np.array(given_labels)
    groups = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(codes),
                                         max_size=len(codes))))  # fmt: skip
    if len(np.unique(groups)) < 2:
        return

    folds = group_folds(codes, groups, n_folds)

    assert all(len(np.unique(folds[groups == group])) == 1 for group in groups)
    assert folds.min() >= 0
    assert folds.max() < n_folds
    assert len(np.unique(folds)) == min(n_folds, len(np.unique(groups)))


def test_classes_are_spread_over_folds_of_groups() -> None:
    codes, groups = np.repeat([0, 1], 30), np.arange(60) // 3

    table = counts(codes, group_folds(codes, groups, 5))

    np.testing.assert_array_equal(table, np.full((2, 5), 6))


def test_a_few_groups_among_many_single_rows_leave_those_to_be_dealt_like_cards() -> None:
    codes, groups = np.arange(1000) % 4, np.arange(1000)
    groups[[8, 12, 16]], groups[[1, 5]] = 0, 1

    folds = group_folds(codes, groups, 5)

    is_alone = np.bincount(groups)[groups] == 1
    np.testing.assert_array_equal(folds[is_alone], deal_folds(codes[is_alone], 5))
    assert len(set(folds[groups == 0])) == len(set(folds[groups == 1])) == 1
    table = counts(codes, folds)
    assert np.ptp(table, axis=1).max() <= 4
    np.testing.assert_array_equal(group_folds(codes, groups, 5), folds)


def test_a_group_goes_where_its_commonest_class_is_rare_and_no_fold_stays_empty() -> None:
    codes, groups = np.array([0, 0, 0, 1, 1, 1, 1]), np.array([0, 1, 2, 3, 3, 3, 4])

    folds = group_folds(codes, groups, 5)

    assert len(np.unique(folds)) == 5
    assert len(set(folds[groups == 3])) == 1


@pytest.mark.parametrize("codes", [[0, 1, 2, 3], [0, 0, 1, 1]])
def test_classes_smaller_than_the_number_of_folds_are_dealt_by_group(codes: list[int]) -> None:
    folds = group_folds(np.array(codes), ["a", "b", "c", "d"], 5)

    assert sorted(folds.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (["a"] * 4, "1 in 4 values for 4 rows; expected one value a row and two groups or more"),
        (["a", "b"], "2 in 2 values for 4 rows"),
        (np.array(["a", None, 1, "b"], dtype=object), "groups: values of mixed types"),
    ],
)
def test_groups_that_cannot_be_used_are_refused(groups: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=message):
        group_folds(np.array([0, 0, 1, 1]), groups, 2)


def test_pairs_of_row_numbers_or_masks_are_read() -> None:
    first, last = np.array([0, 1]), np.array([2, 3, 4])
    mask = np.arange(5) < 2

    np.testing.assert_array_equal(read_splits([(first, last), (last, first)], 5), [1, 1, 0, 0, 0])
    np.testing.assert_array_equal(read_splits([(mask, ~mask), (~mask, mask)], 5), [1, 1, 0, 0, 0])


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ([([0, 1], [2, 3])], "1 folds hold 2 of 4 rows once"),
        ([([0, 1], [2, 3]), ([0, 1], [2, 3])], "2 folds hold 0 of 4 rows once"),
        ([([0], [2, 3]), ([2, 3], [0, 1])], "fold 0 does not train on all rows but its test rows"),
        ([([0, 1, 2], [2, 3]), ([2, 3], [0, 1])], "fold 0 does not train on all rows"),
        ([([0, 1, 2, 3], []), ([], [0, 1, 2, 3])], "fold 1 does not train on .* one at least"),
        ([([0, 1], [2, 9]), ([2, 3], [0, 1])], "cv: index 9 is out of bounds"),
        ([("ab", "cd"), ("cd", "ab")], "cv: .*; expected row numbers below 4, or masks of 4 rows"),
    ],
)
def test_splits_that_are_no_partition_are_refused(splits: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(InputError, match=message):
        read_splits(splits, 4)


@few_examples
@given(labels, st.integers(1, 70))
def test_a_sample_thins_all_classes_alike_and_loses_none(
    given_labels: list[int], size: int
) -> None:
    codes = np.array(given_labels)

    rows = stratified_sample(codes, size)

    np.testing.assert_array_equal(rows, np.unique(rows))
    np.testing.assert_array_equal(np.unique(codes[rows]), np.unique(codes))
    wanted = np.bincount(codes) * min(1, size / len(codes))
    assert (np.abs(np.bincount(codes[rows]) - wanted) <= 1).all()
