"""Twins share a fold, unless nearness is in the nature of the rows."""

import numpy as np
import pytest

from featx.evaluate.duplicates import near_duplicates
from featx.train.material import read_material
from featx.train.twins import find_twins, one_of_each
from memory_set import MemorySet, noise


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


def test_the_first_of_each_group_is_kept_and_each_class() -> None:
    labels = np.array(["a", "b", "a", "b", "c", "c"], dtype=object)
    material = read_material(MemorySet(noise(6).X, labels), "classify")

    kept, groups = one_of_each(material, np.array([0, 1, 0, 3, 1, 1]))

    assert kept.rows.rows.tolist() == [0, 1, 3, 4]
    assert groups.tolist() == [0, 1, 3, 1]
    whole, _ = one_of_each(material, np.arange(6))
    assert whole is material


def test_values_that_only_twins_tell_apart_are_all_kept() -> None:
    labels = np.array(["1", "1", "2", "2"], dtype=object)
    material = read_material(MemorySet(noise(4).X, labels), "regress")

    assert one_of_each(material, np.array([0, 1, 0, 1]))[0] is material
