"""Measures of tags agree with scikit-learn's."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from featx.evaluate import multilabel

EXACT = 1e-12  # the same sums in another order


def tagged(n: int = 300, c: int = 6) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Give tags from common to absent, and probabilities with ties; the last two never occur."""
    rng = np.random.default_rng(0)
    truth = (rng.random((n, c)) < [0.6, 0.3, 0.1, 0.01, 0, 0]).astype(np.int64)
    truth[0, 3] = 1
    return truth, (0.3 * truth + 0.7 * rng.random((n, c)) * [1, 1, 1, 1, 1, 0.5]).round(2)


def test_measures_equal_scikit_learns() -> None:
    truth, likely = tagged()
    predicted = (likely > 0.5).astype(np.int64)

    pairs = [
        (multilabel.micro_f1, oracle.f1_score(truth, predicted, average="micro")),
        (
            multilabel.macro_f1,
            oracle.f1_score(truth, predicted, average="macro", zero_division=np.nan),
        ),
        (multilabel.subset_accuracy, oracle.accuracy_score(truth, predicted)),
        (multilabel.hamming_loss, oracle.hamming_loss(truth, predicted)),
    ]
    for measure, expected in pairs:
        assert measure(truth, predicted) == pytest.approx(expected, abs=EXACT)
    assert multilabel.log_loss(truth, likely) == pytest.approx(
        oracle.log_loss(truth.ravel(), likely.ravel()), abs=EXACT
    )


def test_average_precision_equals_scikit_learns() -> None:
    truth, likely = tagged()

    found = multilabel.average_precision(truth, likely)

    expected = oracle.average_precision_score(truth[:, :4], likely[:, :4], average=None)
    np.testing.assert_allclose(found, [*expected, np.nan, np.nan], atol=EXACT)
    mean = multilabel.mean_average_precision(truth, likely)
    assert mean == pytest.approx(expected.mean(), abs=EXACT)


def test_the_table_of_tags_equals_scikit_learns() -> None:
    truth, likely = tagged()
    predicted = (likely > 0.5).astype(np.int64)

    table = multilabel.per_tag(truth, predicted, likely)

    expected = oracle.precision_recall_fscore_support(truth, predicted, zero_division=0)
    for name, values in zip(["precision", "recall", "f1", "support"], expected, strict=True):
        assert [row[name] for row in table] == pytest.approx(list(values), abs=EXACT)
    assert [row["average_precision"] is None for row in table] == [False] * 4 + [True] * 2


def test_no_tag_at_all_has_an_answer() -> None:
    nothing = np.zeros((3, 2), dtype=np.int64)

    assert multilabel.micro_f1(nothing, nothing) == multilabel.macro_f1(nothing, nothing) == 1
    assert math.isnan(multilabel.mean_average_precision(nothing, np.full((3, 2), 0.5)))
    assert multilabel.log_loss(nothing, np.zeros((3, 2))) == 0
