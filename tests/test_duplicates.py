"""Equal and nearly equal items are grouped, as plain searches over all pairs say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate import duplicates
from featx.evaluate.duplicates import SAME, between, near_duplicates
from featx.types import Vectors


def scattered(n: int = 300, dim: int = 12, seed: int = 0) -> Vectors:
    """Give rows of which some are near others, in chains, at other lengths."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim))
    copied = rng.integers(n, size=n // 2)
    X[: n // 2] = X[copied] + rng.normal(size=(n // 2, dim)) * rng.choice(
        [0, 0.05, 0.2], (n // 2, 1)
    )
    return (X * rng.uniform(0.1, 10, (n, 1))).astype(np.float32)


def oracle_groups(X: NDArray[np.floating], threshold: float) -> list[int]:
    U = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    cosines = U @ U.T
    is_near = cosines >= threshold
    groups = list(range(len(X)))
    for _ in groups:  # the longest chain
        groups = [min(groups[j] for j in np.flatnonzero(row)) for row in is_near]
    return groups


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), threshold=st.sampled_from([0.5, 0.9, SAME, 0.999]))
def test_groups_are_those_of_all_pairs(seed: int, threshold: float) -> None:
    X = scattered(60, seed=seed)

    found = near_duplicates(X, threshold=threshold)

    assert found.groups.tolist() == oracle_groups(X, threshold)


def test_tiles_do_not_change_the_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    X = scattered()
    whole = near_duplicates(X)

    monkeypatch.setattr(duplicates, "_TILE", 7)

    np.testing.assert_array_equal(near_duplicates(X).groups, whole.groups)
    assert 50 < len(np.unique(whole.groups)) < 300


def test_a_pair_at_the_threshold_is_settled_in_float64() -> None:
    angles = np.arccos(SAME) * np.array([1 - 1e-6, 1 + 1e-6])
    X = np.array([[1, 0], *np.column_stack([np.cos(angles), -np.sin(angles)])])

    found = [near_duplicates(X[[0, row]].astype(np.float32)).groups.tolist() for row in (1, 2)]

    assert found == [[0, 0], [0, 1]]


def test_rows_of_zeros_are_equal_to_each_other_only() -> None:
    X = np.array([[0, 0], [1, 0], [-0.0, 0]], np.float32)

    assert near_duplicates(X).groups.tolist() == [0, 1, 0]


def test_of_too_many_rows_some_are_compared_and_equal_ones_still_found() -> None:
    X = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    X = np.concatenate([X, X, X * 1.001])

    found = near_duplicates(X, max_rows=100)

    assert (found.searched, found.different) == (100, 800)
    np.testing.assert_array_equal(found.groups[400:800], np.arange(400))
    whole = near_duplicates(X)
    assert whole.searched == whole.different == 800


def test_thousands_of_equal_rows_are_one_group() -> None:
    X = np.ones((5000, 4), np.float32)
    X[::2] *= 1 + np.arange(2500, dtype=np.float32)[:, None] * 1e-4

    found = near_duplicates(X)

    assert (found.groups == 0).all()
    assert found.searched == 2500


def test_matches_between_two_sets_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "_TILE", 13)
    X = scattered()
    Q = np.concatenate([X[50:70] * 3, scattered(40, seed=9), X[:30] + np.float32(0.02)])

    found = between(Q, X)

    cosines = np.array([[q @ x / np.linalg.norm(q) / np.linalg.norm(x) for x in X] for q in Q])
    expected = np.flatnonzero(cosines.max(axis=1) >= SAME)
    np.testing.assert_array_equal(found.queries, expected)
    np.testing.assert_allclose(found.similarities, cosines[expected].max(axis=1), atol=1e-6)
    np.testing.assert_allclose(cosines[found.queries, found.rows], found.similarities, atol=1e-6)


@pytest.mark.parametrize("rows", [0, 1])
def test_small_sets_have_no_duplicates(rows: int) -> None:
    X = np.ones((rows, 3), np.float32)

    assert near_duplicates(X).groups.tolist() == list(range(rows))
    assert near_duplicates(X).clusters() == []
    assert len(between(X, -X)) == 0
    assert len(between(np.ones((2, 3), np.float32), X)) == 2 * rows


def test_a_row_that_is_not_finite_is_named() -> None:
    X = np.ones((3, 2), np.float32)
    X[1, 0] = np.nan

    with pytest.raises(InputError, match="rows: row 1 is NaN or infinite"):
        near_duplicates(X)
