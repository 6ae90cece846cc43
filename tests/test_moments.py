"""The sums that heads are solved from, and rows in few coordinates."""

from dataclasses import astuple
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.errors import InputError
from featx.heads.moments import BLOCK_ROWS, Moments, measure, measure_classes
from featx.heads.rowspace import narrow, narrow_exactly

ROUNDING = 1e-10  # float64 sums of a few thousand numbers near one, in another order
HALF_ROUNDING = 2e-3  # the same in float32, of sums near a thousand

few_examples = settings(max_examples=20, deadline=None, derandomize=True)


def problem(n: int = 90, d: int = 4, c: int = 3) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(5)
    return rng.normal(size=(n, d)) + 2, rng.permutation(np.arange(n) % c)


def oracle(X: NDArray[Any], T: NDArray[Any], w: NDArray[Any]) -> Moments:
    total, mean, target_mean = w.sum(), w @ X / w.sum(), w @ T / w.sum()
    centred, off = X - mean, T - target_mean
    return Moments(
        float(total),
        mean,
        (centred * w[:, None]).T @ centred,
        target_mean,
        (centred * w[:, None]).T @ off,
        w @ off**2,
    )


def assert_close(found: Moments, expected: Moments, atol: float = ROUNDING) -> None:
    for mine, theirs in zip(astuple(found), astuple(expected), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=atol, rtol=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("dtype", "atol"), [("float64", ROUNDING), ("float32", HALF_ROUNDING)])
def test_moments_are_those_of_plain_numpy(weighted: bool, dtype: str, atol: float) -> None:
    rng = np.random.default_rng(0)
    n = BLOCK_ROWS + 100
    X, T = rng.normal(size=(n, 3)).astype(dtype), rng.normal(size=(n, 2))
    w = rng.random(n) * (rng.random(n) > 0.2) if weighted else None

    found = measure(X, T, w)

    assert_close(found, oracle(X.astype(np.float64), T, np.ones(n) if w is None else w), atol)
    assert {array.dtype for array in astuple(found)[1:]} == {np.dtype(np.float64)}


@pytest.mark.parametrize("weighted", [False, True])
def test_moments_of_classes_are_those_of_their_indicators(weighted: bool) -> None:
    X, y = problem(BLOCK_ROWS + 50)
    w = np.random.default_rng(1).random(len(X)) if weighted else None

    found = measure_classes(X, y, 4, w)

    assert_close(found, measure(X, np.eye(4)[y], w))


@few_examples
@given(st.lists(st.integers(1, 89), max_size=6), st.randoms(use_true_random=False))
def test_any_split_in_any_order_adds_up_to_one_pass(cuts: list[int], random: Any) -> None:  # noqa: ANN401
    X, y = problem()
    w = np.random.default_rng(2).random(len(X)) + 0.1
    edges = sorted({0, 90, *cuts})
    parts = [slice(a, b) for a, b in pairwise(edges)]
    random.shuffle(parts)

    joined = reduce(Moments.plus, [measure_classes(X[p], y[p], 3, w[p]) for p in parts])

    assert_close(joined, measure_classes(X, y, 3, w))


@few_examples
@given(st.integers(1, 89), st.booleans())
def test_what_was_added_can_be_taken_away(cut: int, weighted: bool) -> None:
    X, y = problem()
    w = np.random.default_rng(3).random(len(X)) + 0.1 if weighted else np.ones(len(X))
    first = measure_classes(X[:cut], y[:cut], 3, w[:cut])
    last = measure_classes(X[cut:], y[cut:], 3, w[cut:])

    left = measure_classes(X, y, 3, w).minus(last)

    # What is left of few rows holds the rounding errors of ninety.
    assert_close(left, first, 1e-9)
    assert_close(first.plus(last).minus(first), last, 1e-9)


def test_all_rows_cannot_be_taken_away() -> None:
    X, y = problem()
    w = np.full(90, 0.1)
    whole = measure_classes(X, y, 3, w)

    with pytest.raises(InputError, match="weight 9 taken from 9; at least one row must stay"):
        whole.minus(whole)
    with pytest.raises(InputError, match="at least one row must stay"):
        whole.minus(
            measure_classes(X[:50], y[:50], 3, w[:50]).plus(
                measure_classes(X[50:], y[50:], 3, w[50:])
            )
        )


def test_means_and_scatter_of_classes_are_those_of_plain_numpy() -> None:
    X, y = problem()
    w = np.random.default_rng(4).random(len(X))

    moments = measure_classes(X, y, 4, w)

    means = np.array([np.average(X[y == c], axis=0, weights=w[y == c]) for c in range(3)])
    off = X - means[y]
    np.testing.assert_allclose(moments.class_means()[:3], means, atol=ROUNDING)
    np.testing.assert_allclose(moments.class_means()[3], np.average(X, axis=0, weights=w))
    np.testing.assert_allclose(moments.within_scatter(), (off * w[:, None]).T @ off, atol=ROUNDING)
    np.testing.assert_allclose(moments.class_weights(), np.bincount(y, w, 4), atol=ROUNDING)


def test_rows_far_from_zero_lose_nothing() -> None:
    X, y = problem(500)

    far = measure_classes(X + 1e6, y, 3)

    # 1e6 in float64 leaves ten digits behind the point.
    np.testing.assert_allclose(far.scatter, measure_classes(X, y, 3).scatter, rtol=1e-6, atol=1e-6)


def test_a_row_of_weight_zero_is_no_row() -> None:
    X, y = problem()
    w = np.where(np.arange(90) < 60, 1.0, 0.0)
    X[60:] = 1e9

    assert_close(measure_classes(X, y, 3, w), measure_classes(X[:60], y[:60], 3))


def test_mapped_read_only_and_strided_rows_give_the_same(tmp_path: Path) -> None:
    X, y = problem(90, 8)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    plain = measure_classes(X, y, 3)

    assert_close(measure_classes(mapped, y, 3), plain, 0)
    assert_close(measure_classes(np.asfortranarray(X), y, 3), plain)
    assert_close(measure_classes(X[:, ::2], y, 3), measure_classes(X[:, ::2].copy(), y, 3))


def test_moments_follow_their_rows_into_another_basis() -> None:
    X, y = problem()
    basis, mean = np.random.default_rng(6).normal(size=(4, 7)), np.arange(7.0)

    wide = measure_classes(X, y, 3).widened(basis, mean)

    assert_close(wide, measure_classes(X @ basis + mean, y, 3), 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_few_rows_keep_their_distances_in_few_coordinates(dtype: str) -> None:
    X = np.random.default_rng(7).normal(size=(6, 20)).astype(dtype)
    X[5] = X[0]

    space = narrow(X)

    assert space.basis is not None
    assert space.rows.shape == (6, 4)
    assert space.rows.dtype == space.basis.dtype == X.dtype
    atol = 10 * float(np.finfo(dtype).eps) * 5  # rounding of values below five
    np.testing.assert_allclose(space.rows @ space.basis + space.mean, X, atol=atol)
    np.testing.assert_allclose(space.basis @ space.basis.T, np.eye(4), atol=atol)


def test_coefficients_of_few_coordinates_give_the_same_logits_on_the_rows() -> None:
    X = np.random.default_rng(8).normal(size=(6, 20))
    space = narrow(X)
    coef, intercept = np.ones((2, space.rows.shape[1])), np.array([1.0, 2.0])

    wide, shifted = space.widen(coef, intercept)

    np.testing.assert_allclose(X @ wide.T + shifted, space.rows @ coef.T + intercept)


def test_many_rows_are_left_as_they_are() -> None:
    X = np.random.default_rng(9).normal(size=(20, 20)).astype(np.float32)

    assert narrow(X).rows is X
    assert narrow_exactly(X).rows is X
    assert narrow_exactly(X[:19]).rows.dtype == np.float64


def test_equal_rows_span_nothing() -> None:
    space = narrow(np.full((3, 9), 0.1))

    assert space.rows.shape == (3, 0)
    coef, intercept = space.widen(np.empty((2, 0)), np.ones(2))
    np.testing.assert_array_equal(coef, np.zeros((2, 9)))
    np.testing.assert_array_equal(intercept, [1, 1])
