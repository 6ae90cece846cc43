"""Twins share a fold, unless nearness is in the nature of the rows."""

import numpy as np
import pytest

from featx.evaluate.duplicates import near_duplicates
from featx.train.twins import find_twins


def test_rows_that_are_nearly_equal_are_twins() -> None:
    X = np.random.default_rng(0).normal(size=(60, 30)).astype(np.float32)
    X[50:] = X[:10] * np.float32(1.01)

    expected = np.r_[np.arange(50), np.arange(10)]
    np.testing.assert_array_equal(find_twins(X).groups, expected)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_where_all_rows_are_near_only_equal_ones_are_twins(shift: float) -> None:
    X = np.random.default_rng(0).normal(size=(400, 3 if shift == 0 else 30)).astype(np.float32)
    X = np.float32(shift) + X
    X[399] = X[7]

    assert np.bincount(near_duplicates(X).groups).max() > 80
    expected = np.r_[np.arange(399), 7]
    np.testing.assert_array_equal(find_twins(X).groups, expected)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_of_rows_that_are_all_equal_none_has_a_twin(n: int) -> None:
    X = np.ones((n, 4), dtype=np.float32)

    np.testing.assert_array_equal(find_twins(X).groups, np.arange(n))


def test_of_few_rows_a_small_group_is_one() -> None:
    X = np.tile(np.eye(4, dtype=np.float32), (2, 1))

    assert find_twins(X).groups.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
