"""Temperatures and sigmoids are the optima that a general optimiser finds."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar  # type: ignore[import-untyped]
from scipy.special import log_softmax  # type: ignore[import-untyped]

from featx.heads.calibration import fit_platt, fit_temperature, sigmoid

CLOSE = 1e-5  # where a general optimiser and float32 logits stop
SAME = 1e-9  # the same sums in another order


def classified(n: int = 500, c: int = 4) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    codes = rng.integers(c, size=n)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), codes] += 1.5
    return logits, codes


def tagged(n: int = 400) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give logits that are boastful, timid, shifted, rare and on another scale."""
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(n, 5)) * [1, 10, 1, 2, 1e-3]
    true_logits = logits * [3, 0.1, 1, 1, 2e3] + [0, 0, 2, -3, 0]
    return logits, (rng.random((n, 5)) < sigmoid(true_logits)).astype(np.int64)


def smoothed_loss(logits: NDArray[Any], codes: NDArray[np.int64], temperature: float) -> float:
    """Return the log loss with two rows' worth of probability dealt out to all classes."""
    logs = log_softmax(logits / temperature, axis=1)
    dealt_out = 2 / (len(codes) + 2)
    own = logs[np.arange(len(codes)), codes]
    return -float(np.mean((1 - dealt_out) * own + dealt_out * logs.mean(axis=1)))


@pytest.mark.parametrize("scale", [0.05, 1, 7, 90])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_temperature_is_the_optimum(scale: float, dtype: str) -> None:
    logits, codes = classified()
    logits *= scale

    found = fit_temperature(logits.astype(dtype), codes)

    def loss(log_temperature: float) -> float:
        return smoothed_loss(logits, codes, float(np.exp(log_temperature)))

    best = minimize_scalar(loss, bounds=(np.log(0.01), np.log(100)), options={"xatol": 1e-8})
    assert found == pytest.approx(np.exp(best.x), rel=CLOSE)


def test_temperature_of_many_classes_is_summed_in_blocks() -> None:
    logits, codes = classified(n=300, c=1000)

    found = fit_temperature(logits, codes)

    grid = found * np.array([0.999, 1, 1.001])
    losses = [smoothed_loss(logits, codes, float(t)) for t in grid]
    assert np.argmin(losses) == 1


def test_weights_of_the_temperature_are_repeated_rows() -> None:
    logits, codes = classified()
    weights = np.arange(500) % 4

    found = fit_temperature(logits, codes, weights)

    repeated = np.repeat(np.arange(500), weights)
    assert found == pytest.approx(fit_temperature(logits[repeated], codes[repeated]), rel=SAME)
    assert found != pytest.approx(fit_temperature(logits, codes), rel=CLOSE)


@pytest.mark.parametrize("scale", [1, 20, 1000])
def test_rows_that_are_all_right_do_not_make_new_ones_certain(scale: float) -> None:
    truth = np.arange(30) % 3

    found = fit_temperature(scale * np.eye(3)[truth], truth)

    own, other = 1 - 2 / 32 * 2 / 3, 2 / 32 / 3
    assert found == pytest.approx(scale / np.log(own / other), rel=CLOSE)


@pytest.mark.parametrize("scale", [1, 20, 1000])
def test_temperature_stays_bounded_when_logits_are_wrong_or_say_nothing(scale: float) -> None:
    truth = np.arange(30) % 3

    assert fit_temperature(-scale * np.eye(3)[truth], truth) == pytest.approx(1e4, rel=CLOSE)
    assert 1e-4 <= fit_temperature(np.zeros((30, 3)), truth) <= 1e4


def test_sigmoids_are_the_optima_of_platts_smoothed_targets() -> None:
    logits, targets = tagged()

    scale, shift = fit_platt(logits, targets)

    for column in range(5):
        best = oracle_platt(logits[:, column], targets[:, column])
        assert (scale[column], shift[column]) == pytest.approx(tuple(best), rel=CLOSE, abs=CLOSE)


def oracle_platt(logits: NDArray[np.float64], targets: NDArray[np.int64]) -> NDArray[np.float64]:
    n_positive, spread = targets.sum(), logits.std()
    n_negative = len(targets) - n_positive
    smooth = np.where(targets, (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2))

    def loss(at: NDArray[np.float64]) -> float:
        z = at[0] / spread * logits + at[1]
        return float((np.logaddexp(0, z) - smooth * z).mean())

    found: Any = minimize(loss, np.zeros(2), tol=1e-10)
    return np.array([found.x[0] / spread, found.x[1]])


def test_weights_of_the_sigmoids_are_repeated_rows() -> None:
    logits, targets = tagged()
    weights = np.arange(400) % 3

    found = fit_platt(logits, targets, weights)

    repeated = np.repeat(np.arange(400), weights)
    np.testing.assert_allclose(found, fit_platt(logits[repeated], targets[repeated]), rtol=1e-6)


def test_columns_are_fitted_each_on_its_own() -> None:
    logits, targets = tagged()

    together = np.array(fit_platt(logits, targets))

    alone = [fit_platt(logits[:, [c]], targets[:, [c]]) for c in range(5)]
    np.testing.assert_allclose(together, np.hstack(alone), rtol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_a_tag_with_one_value_gets_its_smoothed_frequency(value: int) -> None:
    logits = np.random.default_rng(0).normal(size=(50, 1))

    scale, shift = fit_platt(logits, np.full((50, 1), value))

    expected = 51 / 52 if value else 1 / 52
    assert (scale[0], sigmoid(shift)[0]) == pytest.approx((0, expected), abs=CLOSE)


def test_equal_logits_get_the_frequency_of_the_tag() -> None:
    targets = (np.arange(40) % 4 == 0).astype(np.int64)[:, None]

    scale, shift = fit_platt(np.full((40, 1), 0.1), targets)

    smoothed = (10 * 11 / 12 + 30 / 32) / 40
    assert sigmoid(scale * 0.1 + shift)[0] == pytest.approx(smoothed)


def test_logits_that_fall_as_the_truth_rises_are_not_turned_round() -> None:
    logits, targets = tagged()

    scale, shift = fit_platt(-logits, targets)

    assert scale.tolist() == [0] * 5
    frequency = targets.mean(axis=0)
    np.testing.assert_allclose(sigmoid(shift), frequency, atol=0.01)


def test_logits_that_separate_a_tag_get_finite_sigmoids() -> None:
    logits = np.linspace(-1, 1, 20)[:, None]

    scale, shift = fit_platt(logits, (logits > 0).astype(np.int64))

    likely = sigmoid(scale * logits + shift)
    assert likely[0, 0] < 0.1
    assert likely[-1, 0] > 0.9
    assert scale[0] < 100


def test_sigmoid_keeps_the_dtype_and_never_overflows() -> None:
    logits = np.array([-1e30, -1, 0, 1, 1e30], dtype=np.float32)

    found = sigmoid(logits)

    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [0, 0.268941, 0.5, 0.731059, 1], rtol=1e-5)
