"""Rows that are left out with their group get what a fit to the other rows gives them."""

import numpy as np
import pytest
from numpy.typing import NDArray

from featx import RidgeProbe
from featx.evaluate.curation.leavegroups import GroupsOut
from featx.types import Rows

Reals = NDArray[np.float64]
Problem = tuple[Reals, Rows, Rows]


def problem(n: int = 60, d: int = 7, *, largest: int = 6, seed: int = 0) -> Problem:
    """Give rows, their classes, and groups of up to `largest` rows."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(3, size=n)
    X = rng.normal(size=(n, d)) + np.eye(3, d)[codes] + 4
    groups = np.repeat(np.arange(n), rng.integers(1, largest + 1, size=n))[:n]
    return X, codes, rng.permutation(groups)


def refitted(X: Reals, codes: Rows, groups: Rows, alpha: float) -> Reals:
    rows = np.column_stack([X, np.ones(len(X))])
    targets = 2.0 * (codes[:, None] == np.arange(3)) - 1
    penalty = np.diag([alpha] * X.shape[1] + [0])
    found = np.empty((len(X), 3))
    for group in np.unique(groups):
        A, B = rows[groups != group], targets[groups != group]
        coef = np.linalg.solve(A.T @ A + penalty, A.T @ B)
        found[groups == group] = rows[groups == group] @ coef
    return found


@pytest.mark.parametrize("largest", [1, 6, 20], ids=["alone", "small groups", "more than columns"])
def test_rows_get_what_a_fit_to_all_other_groups_gives(largest: int) -> None:
    X, codes, groups = problem(largest=largest)

    found = GroupsOut.of(X, codes, n_classes=3, alpha=0.7).without(groups)

    np.testing.assert_allclose(found, refitted(X, codes, groups, 0.7), atol=1e-5)


def test_fewer_rows_than_columns_are_left_out_as_exactly() -> None:
    X, codes, groups = problem(n=30, d=50, largest=4)

    found = GroupsOut.of(X, codes, n_classes=3, alpha=0.1).without(groups)

    np.testing.assert_allclose(found, refitted(X, codes, groups, 0.1), atol=1e-5)


def test_rows_that_are_alone_get_the_leave_one_out_logits_of_the_probe() -> None:
    X, codes, _ = problem(n=200)
    probe = RidgeProbe().fit(X, codes)

    found = GroupsOut.of(X, codes, n_classes=3, alpha=probe.alpha_).without(np.arange(200))

    np.testing.assert_allclose(found, probe.held_out_logits_, atol=1e-5)


def test_float32_rows_far_from_zero_lose_little() -> None:
    X, codes, groups = problem(n=500, d=20)
    X += 100

    found = GroupsOut.of(X.astype("f4"), codes, n_classes=3, alpha=5).without(groups)

    np.testing.assert_allclose(found, refitted(X, codes, groups, 5), atol=1e-4)


@pytest.mark.parametrize("n", [4, 40], ids=["few", "more than columns"])
def test_a_group_that_is_everything_is_told_nothing(n: int) -> None:
    X, codes, _ = problem(n=n)

    found = GroupsOut.of(X, codes, n_classes=3, alpha=1).without(np.zeros(n, np.int64))

    assert not found.any()
