"""L-BFGS for one convex function, told what is found at the points that it asks for."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from featx.heads.descent import Descent

Function = Callable[[NDArray[Any]], tuple[float, NDArray[Any]]]

few_examples = settings(max_examples=20, deadline=None, derandomize=True)


def quadratic(bends: NDArray[Any], centre: NDArray[Any]) -> Function:
    """Return the function ``(x - centre)' diag(bends) (x - centre) / 2 + 1`` and its gradient."""

    def evaluate(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        slope = bends * (x - centre)
        return float(np.vdot(slope, x - centre)) / 2 + 1, slope

    return evaluate


def steep(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
    """Return log cosh(30 (x - 1)): a first step from afar goes too far, and there is no end."""
    z = 30 * (x - 1)
    return float((np.abs(z) + np.log1p(np.exp(-2 * np.abs(z)))).sum()), 30 * np.tanh(z)


def descend(function: Function, start: NDArray[Any], steps: int = 200) -> Descent:
    descent = Descent(start)
    for _ in range(steps):
        descent.tell(*function(descent.trial))
        if descent.is_stuck or descent.gap <= 1e-18:
            break
    return descent


def test_the_first_step_is_newtons_where_the_hessian_is_the_identity() -> None:
    centre = np.arange(6.0).reshape(2, 3)
    function = quadratic(np.ones((2, 3)), centre)
    descent = Descent(np.zeros((2, 3)))

    assert descent.tell(*function(descent.trial))
    np.testing.assert_array_equal(descent.trial, centre)
    assert descent.gap == pytest.approx(function(np.zeros((2, 3)))[0] - 1)
    assert descent.tell(*function(descent.trial))
    assert (descent.loss, descent.gap, descent.steps) == (1, 0, 1)


def test_a_change_whose_square_vanishes_is_not_remembered() -> None:
    function = quadratic(np.full(3, 1e-24, np.float32), np.ones(3, np.float32))
    descent = Descent(np.zeros(3, np.float32))

    assert [descent.tell(*function(descent.trial)) for _ in range(3)] == [True] * 3
    np.testing.assert_allclose(descent.point, 0, atol=1e-20)


@few_examples
@given(st.lists(st.floats(0.05, 20), min_size=1, max_size=12), st.integers(0, 99))
def test_the_minimum_of_a_quadratic_is_found(bends: list[float], seed: int) -> None:
    centre = np.random.default_rng(seed).normal(size=len(bends))

    descent = descend(quadratic(np.array(bends), centre), np.zeros(len(bends)))

    np.testing.assert_allclose(descent.point, centre, atol=1e-6)
    assert descent.loss == pytest.approx(1)


@pytest.mark.parametrize("start", [-3.0, 0.999, 40.0])
def test_a_step_that_goes_too_far_is_shortened(start: float) -> None:
    descent = descend(steep, np.full(3, start))

    np.testing.assert_allclose(descent.point, 1, atol=1e-6)


def test_the_loss_of_the_point_never_rises_beyond_rounding() -> None:
    descent, losses = Descent(np.array([-3.0, 5.0])), []

    for _ in range(30):
        descent.tell(*steep(descent.trial))
        losses.append(descent.loss)

    assert (np.diff(losses) <= 4 * np.finfo(np.float64).eps * np.abs(losses[:-1])).all()
    assert descent.loss == steep(descent.point)[0]


def test_an_infinite_loss_is_stepped_back_from() -> None:
    def walled(x: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        if (x <= 0).any() or (x >= 2).any():
            return float("inf"), np.zeros_like(x)
        return -float(np.log(x * (2 - x)).sum()), 1 / (2 - x) - 1 / x

    start = np.array([0.1, 1.8])
    first = Descent(start)
    first.tell(*walled(start))

    assert walled(first.trial)[0] == float("inf")
    np.testing.assert_allclose(descend(walled, start).point, 1, atol=1e-6)


@few_examples
@given(st.integers(0, 99))
def test_the_gap_estimates_the_distance_to_the_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    function = quadratic(rng.uniform(0.5, 2, size=20), rng.normal(size=20))
    descent = Descent(np.zeros(20))

    for _ in range(4):
        descent.tell(*function(descent.trial))

    assert 0.25 * descent.gap <= descent.loss - 1 <= 4 * descent.gap


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_descent_ends_where_rounding_errors_are_all_that_is_left(dtype: str) -> None:
    bends = np.logspace(-1, 1, 8).astype(dtype)
    function = quadratic(bends, np.ones(8, dtype=dtype))
    descent = Descent(np.full(8, 9, dtype=dtype))

    for _ in range(400):
        descent.tell(*function(descent.trial))
        if descent.is_stuck:
            break

    assert descent.is_stuck
    assert descent.point.dtype == np.dtype(dtype)
    assert descent.loss == pytest.approx(1, rel=4 * float(np.finfo(dtype).eps))


def test_descents_side_by_side_are_those_alone() -> None:
    functions = [quadratic(np.array([1.0, 3.0]), np.array([i, 2.0])) for i in range(3)]
    together = [Descent(np.zeros(2)) for _ in functions]

    for _ in range(5):
        found = [function(each.trial) for function, each in zip(functions, together, strict=True)]
        for each, (loss, slope) in zip(together, found, strict=True):
            each.tell(loss, slope)

    for function, each in zip(functions, together, strict=True):
        alone = descend(function, np.zeros(2), steps=5)
        np.testing.assert_array_equal(each.point, alone.point)
