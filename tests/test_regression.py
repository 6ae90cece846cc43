"""Measures of numbers agree with scikit-learn's and SciPy's."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr  # type: ignore[import-untyped]
from sklearn import metrics as oracle

from featx.evaluate import regression

EXACT = 1e-12  # the same sums in another order
DRAWN = 0.01  # what the ends of an interval of 1000 draws differ by


def estimated(n: int = 200) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give three outputs that are estimated well, in coarse steps and not at all."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(n, 3)) * [1, 10, 1] + [0, 1000, 5]
    truth[:, 1] = truth[:, 1].round()
    estimates = truth + rng.normal(size=(n, 3)) * [0.3, 8, 2]
    return truth, np.round(estimates, 1)


def test_measures_equal_scikit_learns_and_scipys() -> None:
    truth, estimates = estimated()

    pairs = [
        (regression.r2, oracle.r2_score),
        (regression.mean_absolute_error, oracle.mean_absolute_error),
        (regression.root_mean_square_error, oracle.root_mean_squared_error),
    ]
    for measure, expected in pairs:
        np.testing.assert_allclose(
            measure(truth, estimates), expected(truth, estimates, multioutput="raw_values")
        )
    ranks = [spearmanr(truth[:, t], estimates[:, t]).statistic for t in range(3)]
    np.testing.assert_allclose(regression.spearman(truth, estimates), ranks, atol=EXACT)


def test_the_interval_is_that_of_rows_drawn_again() -> None:
    truth, estimates = estimated()
    rng = np.random.default_rng(1)

    found = regression.r2_interval(truth, estimates)

    drawn = [rng.integers(200, size=200) for _ in range(1000)]
    means = [oracle.r2_score(truth[rows], estimates[rows]) for rows in drawn]
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975]), atol=4 * DRAWN)
    assert found == regression.r2_interval(truth, estimates)
    assert found.low < oracle.r2_score(truth, estimates) < found.high


def test_the_interval_of_good_estimates_is_narrow() -> None:
    truth, _ = estimated()

    found = regression.r2_interval(truth, truth + 1e-3)

    assert found == pytest.approx((1, 1), abs=1e-5)


def test_a_constant_output_has_an_answer() -> None:
    truth = np.array([[3.0, 3.0], [3.0, 3.0]])
    estimates = np.array([[3.0, 2.0], [3.0, 4.0]])

    assert regression.r2(truth, estimates).tolist() == [1, 0]
    assert all(math.isnan(each) for each in regression.spearman(truth, estimates))
    assert regression.r2_interval(truth, estimates) == (0.5, 0.5)


def test_the_table_of_outputs_holds_json_values() -> None:
    truth = np.array([[1.0, 3.0], [2.0, 3.0], [4.0, 3.0]])

    table = regression.per_output(truth, truth)

    good = {"r2": 1.0, "mae": 0.0, "rmse": 0.0}
    assert table == [{**good, "spearman": pytest.approx(1)}, {**good, "spearman": None}]
