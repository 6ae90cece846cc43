"""Metrics agree with scikit-learn's, and the calibration band with plain draws."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from featx.evaluate import metrics
from featx.evaluate.calibrated import calibration_band
from featx.evaluate.interval import wilson_interval
from featx.evaluate.measures import of_classes
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
    counts = metrics.class_counts(truth, predicted, 4)

    np.testing.assert_array_equal(confusion, oracle.confusion_matrix(truth, predicted))
    pairs = [
        (metrics.balanced_accuracy(counts), oracle.balanced_accuracy_score(truth, predicted)),
        (metrics.macro_f1(counts), oracle.f1_score(truth, predicted, average="macro")),
        (metrics.log_loss(probabilities, truth), oracle.log_loss(truth, probabilities)),
    ]
    for found, expected in pairs:
        assert found == pytest.approx(expected, abs=EXACT)


def test_classes_that_never_occur_are_left_out_of_the_means() -> None:
    truth, predicted = np.array([0, 0, 1]), np.array([0, 1, 1])

    counts = metrics.class_counts(truth, predicted, 5)

    assert metrics.balanced_accuracy(counts) == pytest.approx(0.75)
    expected = oracle.f1_score(truth, predicted, average="macro")
    assert metrics.macro_f1(counts) == pytest.approx(expected)


def test_the_table_of_classes_equals_scikit_learns() -> None:
    logits, truth = predictions()
    predicted = np.where(logits.argmax(axis=1) == 2, 4, logits.argmax(axis=1))

    table = metrics.class_measures(*metrics.class_counts(truth, predicted, 5))

    expected = oracle.precision_recall_fscore_support(truth, predicted, zero_division=0)
    for name, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert [row[name] for row in table] == pytest.approx(list(values), abs=EXACT)


def test_the_cells_of_a_confusion_matrix_are_those_that_are_not_zero() -> None:
    logits, truth = predictions()
    predicted = logits.argmax(axis=1)

    cells = metrics.confusion_cells(truth, predicted)

    matrix = np.zeros((4, 4), np.int64)
    matrix[cells[:, 0], cells[:, 1]] = cells[:, 2]
    np.testing.assert_array_equal(matrix, oracle.confusion_matrix(truth, predicted))
    assert (cells[:, 2] > 0).all()


def test_a_row_of_weight_two_counts_as_two_rows() -> None:
    logits, truth = predictions(300)
    weights = np.where(truth == 1, 2.0, 1.0)
    twice = np.append(np.arange(300), np.flatnonzero(truth == 1))
    likely, sets = softmax(logits), softmax(logits) > 0.3

    found = of_classes(likely, truth, sets, weights)

    wanted = of_classes(likely[twice], truth[twice], sets[twice])
    bounds = {"n", "interval", "calibration_error", "calibration_band"}
    assert {name: found[name] for name in found.keys() - bounds} == pytest.approx(
        {name: wanted[name] for name in wanted.keys() - bounds}, abs=EXACT
    )
    n_equal = weights.sum() ** 2 / (weights**2).sum()
    accuracy = float(np.average(likely.argmax(axis=1) == truth, weights=weights))
    assert found["interval"] == pytest.approx(wilson_interval(accuracy * n_equal, n_equal))
    assert found["n"] == 300


def test_weighted_calibration_is_that_of_weighted_bins() -> None:
    probabilities = np.array([[0.6, 0.4], [0.7, 0.3], [0.9, 0.1], [0.2, 0.8]])
    truth, weights = np.array([0, 1, 0, 1]), np.array([1.0, 0.5, 0.25, 1.0])

    error = metrics.calibration_error(probabilities, truth, bins=2, weights=weights)
    band = calibration_band(probabilities, bins=2, draws=20_000, weights=weights)

    assert error == pytest.approx((abs(0.4 - 0.35) + abs(0.2 + 0.025)) / 2.75)
    rng = np.random.default_rng(5)
    top, w = np.array([0.6, 0.7, 0.8, 0.9]), np.array([1.0, 0.5, 1.0, 0.25])
    gaps = w * ((rng.random((20_000, 4)) < top) - top)
    errors = (np.abs(gaps[:, :2].sum(axis=1)) + np.abs(gaps[:, 2:].sum(axis=1))) / w.sum()
    assert band.mean == pytest.approx(errors.mean(), abs=DRAWN)
    assert band.high == pytest.approx(np.quantile(errors, 0.95), abs=4 * DRAWN)


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
