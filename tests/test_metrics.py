"""Metrics agree with scikit-learn's, and the calibration band with plain draws."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from featx.evaluate import metrics
from featx.evaluate.calibrated import calibration_band
from featx.evaluate.interval import wilson_interval
from featx.heads.calibration import softmax
from featx.heads.folds import deal_folds, stratified_sample

EXACT = 1e-12  # the same sums in another order
DRAWN = 0.004  # standard errors of a quantile of 1000 draws, at 300 rows


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


def test_the_table_of_classes_equals_scikit_learns() -> None:
    logits, truth = predictions()
    predicted = np.where(logits.argmax(axis=1) == 2, 4, logits.argmax(axis=1))

    table = metrics.per_class(metrics.confusion_matrix(truth, predicted, 5))

    expected = oracle.precision_recall_fscore_support(truth, predicted, zero_division=0)
    for name, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert [row[name] for row in table] == pytest.approx(list(values), abs=EXACT)


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


def draw_labels(probabilities: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.int64]:
    drawn = rng.random(len(probabilities))[:, None] > probabilities.cumsum(axis=1)
    return np.asarray(np.minimum(drawn.sum(axis=1), probabilities.shape[1] - 1))


def test_the_band_is_that_of_labels_drawn_from_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    probabilities = softmax(2 * rng.normal(size=(300, 5)))

    band = calibration_band(probabilities)

    errors = [
        metrics.calibration_error(probabilities, draw_labels(probabilities, rng))
        for _ in range(1000)
    ]
    expected = [np.mean(errors), np.quantile(errors, 0.95)]
    np.testing.assert_allclose(band, expected, atol=DRAWN)


def test_the_band_holds_honest_probabilities_and_not_boastful_ones() -> None:
    rng = np.random.default_rng(1)
    probabilities = softmax(2 * rng.normal(size=(2000, 5)))
    boastful = softmax(2 * np.log(probabilities))
    truth = draw_labels(probabilities, rng)

    band, band_of_boasts = calibration_band(probabilities), calibration_band(boastful)

    assert metrics.calibration_error(probabilities, truth) < band.high
    assert metrics.calibration_error(boastful, truth) > 2 * band_of_boasts.high


def test_the_band_is_repeatable_at_any_size() -> None:
    few, many = np.full((3, 2), 0.5), np.full((20_000, 2), 0.5)

    assert calibration_band(few).high == 0.5
    assert calibration_band(many) == calibration_band(many)
    assert calibration_band(many).high < 0.02


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(0, 0, 0, 1), (0, 10, 0, 0.2775), (50, 100, 0.4038, 0.5962)]
)
def test_wilson_interval_equals_published_values(
    hits: int, n: int, low: float, high: float
) -> None:
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=1e-4)


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
