"""Calibration comes from rows held out, and is measured on others."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from featx.errors import InputError
from featx.heads.calibration import fit_temperature, softmax
from featx.heads.conformal import Method, fit_conformal
from featx.heads.folds import deal_folds
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.recipe import Recipe


def classified(n: int = 600, seed: int = 0, sharpness: float = 4.0) -> HeldOut:
    """Give logits that are too sure of themselves by `sharpness`."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n, 5))
    chances = softmax(logits).cumsum(axis=1)
    y = (rng.random((n, 1)) > chances).sum(axis=1).clip(max=4).astype(np.int64)
    return HeldOut(task="classify", logits=sharpness * logits, y=y, jitter=rng.random(n))


def estimated(n: int = 500, seed: int = 0) -> HeldOut:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(n, 2))
    logits = y + rng.normal(size=(n, 2)) * [0.1, 2.0]
    return HeldOut(task="regress", logits=logits, y=y, jitter=rng.random(n))


def test_the_temperature_undoes_what_makes_logits_too_sure() -> None:
    calibration = calibrate(classified(20_000, sharpness=4.0), Recipe())

    assert calibration.temperature == pytest.approx(4.0, rel=0.05)


def test_what_is_measured_of_a_part_comes_from_the_other_parts() -> None:
    rows, recipe = classified(), Recipe(seed=2, coverage=0.8)

    found = measure(rows, recipe)

    parts = deal_folds(rows.y, 5, seed=2)
    losses, covered = np.empty(len(rows.y)), np.empty(len(rows.y))
    for part in range(5):
        own, rest = parts == part, parts != part
        temperature = fit_temperature(rows.logits[rest], rows.y[rest])
        likely = softmax(rows.logits / temperature)
        made = fit_conformal(likely[rest], rows.y[rest], coverage=0.8)
        truth = np.arange(own.sum()), rows.y[own]
        losses[own] = -np.log(likely[own][truth])
        covered[own] = made.sets(likely[own], rows.jitter[own])[truth]
    assert found["log_loss"] == pytest.approx(losses.mean())
    assert found["set_coverage"] == covered.mean()


@pytest.mark.parametrize("method", ["lac", "aps", "class"])
def test_the_coverage_that_is_reported_is_what_new_items_get(method: Method) -> None:
    recipe = Recipe(conformal=method, coverage=0.85)

    for seed in range(5):
        calibration = calibrate(classified(800, seed), recipe)
        reported = measure(classified(800, seed), recipe)["set_coverage"]
        new = classified(4_000, seed + 100)
        assert calibration.conformal is not None
        sets = calibration.conformal.sets(calibration.answers(new.logits), new.jitter)
        covered = sets[np.arange(4_000), new.y].mean()
        assert covered == pytest.approx(0.85, abs=0.05)
        assert reported == pytest.approx(covered, abs=0.05)


def test_sets_of_a_strict_head_come_from_rows_set_aside() -> None:
    fitting, setting = classified(400, 1), classified(200, 2)

    calibration = calibrate(fitting, Recipe(), setting)

    likely = softmax(setting.logits / fit_temperature(fitting.logits, fitting.y))
    assert calibration.conformal is not None
    expected = fit_conformal(likely, setting.y).quantiles
    np.testing.assert_allclose(calibration.conformal.quantiles, expected)
    found = measure(fitting, Recipe(), setting)
    alone = measure(fitting, Recipe())
    assert found["n"] == 400
    assert found["log_loss"] == alone["log_loss"]
    assert found["set_size"] != alone["set_size"]


def test_intervals_are_the_residual_of_the_rank_that_promises_the_coverage() -> None:
    rows = estimated(99)

    calibration = calibrate(rows, Recipe(task="regress", coverage=0.8))

    residuals = np.sort(np.abs(rows.logits - rows.y), axis=0)
    np.testing.assert_array_equal(calibration.arrays["spread"], residuals[79])


def test_a_rank_that_is_whole_is_not_rounded_up() -> None:
    rows = estimated(99)

    calibration = calibrate(rows, Recipe(task="regress", coverage=0.55))

    assert 100 * 0.55 > 55
    residuals = np.sort(np.abs(rows.logits - rows.y), axis=0)
    np.testing.assert_array_equal(calibration.arrays["spread"], residuals[54])


def test_measuring_takes_about_twice_the_memory_of_the_logits() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    logits = rng.normal(size=(n, 200)).astype(np.float32)
    y = logits[:, ::10].argmax(axis=1) * 10
    rows = HeldOut(task="classify", logits=logits, y=y, jitter=np.zeros(n))
    tracemalloc.start()

    measure(rows, Recipe())

    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Blocks of rows and draws of labels take so much whatever the number of rows.
    assert peak_bytes < 2 * logits.nbytes + 50e6


def test_intervals_cover_new_values_as_often_as_promised() -> None:
    recipe = Recipe(task="regress", coverage=0.9)

    calibration = calibrate(estimated(), recipe)

    new = estimated(5_000, 1)
    covered = (np.abs(new.logits - new.y) <= calibration.arrays["spread"]).mean(axis=0)
    np.testing.assert_allclose(covered, 0.9, atol=0.04)
    found = measure(estimated(), recipe)
    assert found["interval_coverage"] == pytest.approx(0.9, abs=0.03)


def test_tags_that_are_scaled_and_shifted_become_likely() -> None:
    rng = np.random.default_rng(0)
    true = 2 * rng.normal(size=(4_000, 3)) - 1
    y = (rng.random((4_000, 3)) < 1 / (1 + np.exp(-true))).astype(np.float64)
    rows = HeldOut(task="multilabel", logits=(true - 3) / 5, y=y, jitter=np.zeros(4_000))

    calibration = calibrate(rows, Recipe(task="multilabel"))

    likely = calibration.answers(rows.logits)
    np.testing.assert_allclose(likely, 1 / (1 + np.exp(-true)), atol=0.05)
    assert measure(rows, Recipe(task="multilabel"))["n"] == 4_000


def test_answers_of_values_are_the_values() -> None:
    rows = estimated(50)

    np.testing.assert_array_equal(calibrate(rows, Recipe()).answers(rows.logits), rows.logits)


def test_two_rows_are_measured_each_by_the_other() -> None:
    rows = classified(2)
    rows = replace(rows, y=np.array([0, 1]))

    found = measure(rows, Recipe())

    assert found["n"] == 2
    assert found["set_coverage"] == 1.0
    assert found["set_size"] == 5.0


@pytest.mark.parametrize(
    ("coverage", "least"), [(0.9, 9), (0.95, 19), (0.8, 4), (0.5, 2), (0.99, 99), (0.1, 2)]
)
def test_a_coverage_needs_so_many_rows(coverage: float, least: int) -> None:
    assert Recipe(coverage=coverage).least_rows == least
    if least > 2:
        for n, is_enough in ((least - 1, False), (least, True)):
            codes = np.zeros(n, dtype=np.int64)
            made = fit_conformal(np.full((n, 2), 0.5), codes, coverage=coverage)
            assert (made.quantiles[0] < 1) == is_enough


@pytest.mark.parametrize("name", ["coverage", "novelty"])
@pytest.mark.parametrize("value", [0.0, 1.0, 1.5, -0.1, float("nan")])
def test_shares_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name}: found {value}; must be above 0 and below 1"):
        Recipe(**{name: value})  # type: ignore[arg-type]
