"""Metrics agree with scikit-learn's, and calibration with plain searches."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from featx.evaluate import metrics
from featx.evaluate.interval import wilson_interval
from featx.heads.calibration import conformal_quantile, fit_temperature, log_softmax, softmax
from featx.heads.folds import deal_folds, stratified_sample

EXACT = 1e-12  # the same sums in another order
GRID_STEP = 0.02  # spacing of the oracle's temperatures, relative


def predictions(
    n: int = 500, c: int = 4, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(c, size=n)
    logits = rng.normal(size=(n, c))
    logits[np.arange(n), truth] += 1.5
    return logits, truth


def test_metrics_equal_scikit_learns() -> None:
    logits, truth = predictions()
    probabilities, predicted = softmax(logits), logits.argmax(axis=1)

    confusion = metrics.confusion_matrix(truth, predicted, 4)

    np.testing.assert_array_equal(confusion, oracle.confusion_matrix(truth, predicted))
    pairs = [
        (metrics.accuracy(confusion), oracle.accuracy_score(truth, predicted)),
        (metrics.balanced_accuracy(confusion), oracle.balanced_accuracy_score(truth, predicted)),
        (metrics.macro_f1(confusion), oracle.f1_score(truth, predicted, average="macro")),
        (metrics.log_loss(probabilities, truth), oracle.log_loss(truth, probabilities)),
    ]
    for found, expected in pairs:
        assert found == pytest.approx(expected, abs=EXACT)


def test_classes_that_never_occur_are_left_out_of_the_means() -> None:
    truth, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])

    confusion = metrics.confusion_matrix(truth, predicted, 5)

    assert metrics.balanced_accuracy(confusion) == pytest.approx(0.75)
    expected = oracle.f1_score(truth, predicted, average="macro")
    assert metrics.macro_f1(confusion) == pytest.approx(expected)


def test_calibration_error_is_the_gap_of_equal_bins() -> None:
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    truth = np.array([0, 1, 0, 1])

    error = metrics.calibration_error(probabilities, truth, bins=2)

    assert error == pytest.approx((abs(0.5 - 0.65) + abs(1 - 0.85)) / 2)


def test_calibration_error_of_honest_probabilities_is_small() -> None:
    rng = np.random.default_rng(0)
    probabilities = softmax(rng.normal(size=(20_000, 3)))
    truth = (rng.random(20_000)[:, None] > probabilities.cumsum(axis=1)).sum(axis=1)

    honest = metrics.calibration_error(probabilities, truth)
    boastful = metrics.calibration_error(softmax(3 * np.log(probabilities)), truth)

    assert honest < 0.02
    assert boastful > 0.15


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (50, 100, 0.4038, 0.5962)]
)
def test_wilson_interval_equals_published_values(
    hits: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=1e-4)


def test_temperature_is_the_best_of_a_grid() -> None:
    logits, truth = predictions()

    found = fit_temperature(5 * logits, truth)

    grid = np.exp(np.arange(np.log(0.1), np.log(50), GRID_STEP))
    losses = [-log_softmax(5 * logits / t)[np.arange(len(truth)), truth].mean() for t in grid]
    assert found == pytest.approx(grid[np.argmin(losses)], rel=GRID_STEP)


def test_temperature_stays_bounded_when_logits_separate_or_say_nothing() -> None:
    truth = np.arange(30) % 3

    assert fit_temperature(np.eye(3)[truth], truth) == pytest.approx(0.01, rel=1e-3)
    assert fit_temperature(-np.eye(3)[truth], truth) == pytest.approx(100, rel=1e-3)


def test_conformal_sets_cover_as_promised() -> None:
    logits, truth = predictions(4000)
    probabilities = softmax(logits)

    quantile = conformal_quantile(probabilities[:2000], truth[:2000])

    covered = 1 - probabilities[np.arange(2000, 4000), truth[2000:]] <= quantile
    assert 0.88 < covered.mean() < 0.92


def test_too_few_items_promise_nothing() -> None:
    assert conformal_quantile(np.full((8, 2), 0.5), np.zeros(8, dtype=np.int64)) == 1.0


def test_folds_are_balanced_by_size_and_class() -> None:
    codes = np.repeat([0, 1, 2], [23, 11, 1])

    folds = deal_folds(codes, 5, seed=4)

    assert np.bincount(folds).tolist() == [7, 7, 7, 7, 7]
    for code in range(3):
        counts = np.bincount(folds[codes == code], minlength=5)
        assert counts.max() - counts.min() <= 1
    np.testing.assert_array_equal(folds, deal_folds(codes, 5, seed=4))


def test_a_sample_keeps_every_class() -> None:
    codes = np.repeat([0, 1, 2], [800, 199, 1])

    rows = stratified_sample(codes, 100)

    assert np.bincount(codes[rows]).tolist() in ([80, 20, 1], [80, 19, 1])
    assert (np.diff(rows) > 0).all()
