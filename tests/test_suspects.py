"""Labels that were flipped on purpose are found."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict

from featx.evaluate.suspects import suspect_labels
from featx.heads.calibration import fit_temperature, softmax


@pytest.fixture(scope="module", params=[0.05, 0.2])
def flipped(
    request: pytest.FixtureRequest,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Give held-out probabilities, labels of which a share is wrong, and the truth."""
    digits = load_digits()
    rng = np.random.default_rng(0)
    features = np.maximum(digits.data / 16 @ rng.normal(size=(64, 384)), 0)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    truth = digits.target.astype(np.int64)
    is_wrong = rng.random(len(truth)) < request.param
    codes = np.where(is_wrong, (truth + rng.integers(1, 10, len(truth))) % 10, truth)
    logits = cross_val_predict(
        RidgeClassifier(alpha=0.1), features, codes, method="decision_function"
    )
    return softmax(logits / fit_temperature(logits, codes)), codes, truth


Flipped = tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]


def test_most_flipped_labels_are_found_and_nearly_all_suspects_are_flipped(
    flipped: Flipped,
) -> None:
    probabilities, codes, truth = flipped

    found = suspect_labels(probabilities, codes)

    is_wrong = codes != truth
    assert is_wrong[found.rows].mean() > 0.9
    assert is_wrong[found.rows].sum() > 0.75 * is_wrong.sum()
    is_hit = is_wrong[found.rows]
    assert (found.suggested == truth[found.rows])[is_hit].mean() > 0.95


def test_the_probability_of_the_label_tells_flipped_from_right(flipped: Flipped) -> None:
    probabilities, codes, truth = flipped

    own = probabilities[np.arange(len(codes)), codes]

    assert roc_auc_score(codes != truth, -own) > 0.99


def test_suspects_are_those_of_the_definition_least_likely_first() -> None:
    rng = np.random.default_rng(0)
    probabilities, codes = softmax(2 * rng.normal(size=(300, 4))), rng.integers(4, size=300)

    found = suspect_labels(probabilities, codes)

    bars = [probabilities[codes == code, code].mean() for code in range(4)]
    expected = []
    for row, (likely, code) in enumerate(zip(probabilities, codes, strict=True)):
        others = [c for c in range(4) if c != code and likely[c] >= max(bars[c], likely[code])]
        if others:
            expected.append((likely[code], row, max(others, key=lambda c: likely[c])))
    assert found.rows.tolist() == [row for _, row, _ in sorted(expected)]
    assert found.suggested.tolist() == [other for *_, other in sorted(expected)]
    np.testing.assert_allclose(found.confidence, [1 - own for own, *_ in sorted(expected)])


def test_a_class_that_no_row_has_is_never_suggested() -> None:
    probabilities = np.array([[0.3, 0.1, 0.6], [0.2, 0.2, 0.6]])

    found = suspect_labels(probabilities, np.array([0, 1]))

    assert found.rows.tolist() == []


def test_labels_that_fit_leave_no_suspect() -> None:
    probabilities = np.array([[0.6, 0.4], [0.5, 0.5], [0.2, 0.8]])

    found = suspect_labels(probabilities, np.array([0, 0, 1]))

    assert len(found) == 0
