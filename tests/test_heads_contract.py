"""Every head keeps scikit-learn's contract, and gives the answers of a plain oracle."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.errors import InputError
from featx.heads import HEADS
from featx.heads.linear import LinearProbe
from featx.heads.ridge import RidgeProbe
from featx.registry import resolve

LOO_TOLERANCE = 1e-5  # two ways round the same normal equations, in float64
LBFGS_TOLERANCE = 2e-2  # two solvers stopped at a gradient of 1e-4


def blobs(
    n: int = 60, d: int = 5, c: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(c, d))[y], y


def oracle_ridge(X: NDArray[Any], Y: NDArray[Any], alpha: float) -> tuple[Any, Any]:
    mean = X.mean(axis=0)
    gram = (X - mean).T @ (X - mean) + alpha * np.eye(X.shape[1])
    W = np.linalg.solve(gram, (X - mean).T @ (Y - Y.mean(axis=0)))
    return W.T, Y.mean(axis=0) - mean @ W


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [resolve("head", HEADS, name)() for name in HEADS]
)
def test_head_passes_scikit_learns_checks(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


@pytest.mark.parametrize(("n", "d"), [(60, 5), (15, 40), (20, 19)])
def test_ridge_held_out_logits_equal_refitting_without_each_row(n: int, d: int) -> None:
    X, y = blobs(n, d)
    X[:, 1] = X[:, 0]
    X[:, 2] = 7
    Y = np.where(y[:, None] == np.arange(3), 1.0, -1.0)

    head = RidgeProbe().fit(X, y)

    brute = []
    for row in range(n):
        rest = np.arange(n) != row
        coef, intercept = oracle_ridge(X[rest], Y[rest], head.alpha_)
        brute.append(X[row] @ coef.T + intercept)
    np.testing.assert_allclose(head.held_out_logits_, brute, atol=LOO_TOLERANCE)
    coef, intercept = oracle_ridge(X, Y, head.alpha_)
    np.testing.assert_allclose(head.coef_, coef, atol=LOO_TOLERANCE)
    np.testing.assert_allclose(head.intercept_, intercept, atol=LOO_TOLERANCE)


def test_ridge_chooses_the_penalty_by_leave_one_out_accuracy_then_error() -> None:
    X, y = blobs(40, 8, seed=3)
    alphas = [0.1, 1.0, 10.0, 100.0, 1e4]
    Y = np.where(y[:, None] == np.arange(3), 1.0, -1.0)

    head = RidgeProbe(alphas=alphas).fit(X, y)

    ranks = []
    for alpha in alphas:
        held_out = RidgeProbe(alphas=[alpha]).fit(X, y).held_out_logits_
        hits = np.mean(held_out.argmax(axis=1) == y)
        ranks.append((-hits, np.mean((held_out - Y) ** 2), alpha))
    assert head.alpha_ == min(ranks)[2]


@pytest.mark.parametrize("head", [RidgeProbe(), LinearProbe()])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_of_the_rows_is_kept(
    head: RidgeProbe | LinearProbe, dtype: type[np.floating[Any]]
) -> None:
    X, y = blobs()

    head.fit(X.astype(dtype), y)

    arrays = (head.coef_, head.intercept_, head.held_out_logits_)
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}
    assert head.predict_proba(X.astype(dtype)).dtype == dtype
    assert head.coef_.shape == (3, 5)


@pytest.mark.parametrize("head", [RidgeProbe, LinearProbe])
def test_float32_and_float64_agree(head: type[RidgeProbe] | type[LinearProbe]) -> None:
    X, y = blobs(80, 6)

    half, full = head().fit(X.astype(np.float32), y), head().fit(X, y)

    np.testing.assert_allclose(half.coef_, full.coef_, rtol=0.05, atol=0.01)
    np.testing.assert_array_equal(half.predict(X.astype(np.float32)), full.predict(X))


@pytest.mark.parametrize("classes", [2, 3])
def test_linear_probe_finds_the_minimum_of_logistic_regression(classes: int) -> None:
    X, y = blobs(90, 4, classes)

    head = LinearProbe(C=0.7).fit(3 + 5 * X, y)

    oracle = LogisticRegression(C=0.7, max_iter=5000, tol=1e-8).fit(3 + 5 * X, y)
    margins = head.decision_function(3 + 5 * X)
    if classes == 3:
        margins = margins - margins.mean(axis=1, keepdims=True)
    expected = oracle.decision_function(3 + 5 * X)
    if classes == 3:
        expected = expected - expected.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(margins, expected, atol=LBFGS_TOLERANCE, rtol=LBFGS_TOLERANCE)


def test_linear_probe_accepts_a_class_with_one_item() -> None:
    X, y = blobs(21, 4, 2)
    y[0] = 2

    head = LinearProbe().fit(X, y)

    row = head.held_out_logits_[0].astype(np.float64)
    unseen = np.exp(row[2] - np.log(np.exp(row).sum()))
    n = 21 - np.ceil(21 / 5)
    assert np.isfinite(head.held_out_logits_).all()
    assert unseen == pytest.approx(1 / (n + 2), rel=0.1)


def test_two_items_of_two_classes_are_enough() -> None:
    X, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array(["a", "b"])

    assert RidgeProbe().fit(X, y).predict(X).tolist() == ["a", "b"]
    assert LinearProbe().fit(X, y).predict(X).tolist() == ["a", "b"]


@pytest.mark.parametrize("head", [RidgeProbe(), LinearProbe()])
def test_one_class_is_refused(head: RidgeProbe | LinearProbe) -> None:
    with pytest.raises(InputError, match="holds one class, 'a'; expected two or more"):
        head.fit(np.eye(3), np.array(["a", "a", "a"], dtype=object))


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (RidgeProbe(alphas=[0.0]), r"alphas = \[0.0\]; expected finite values above 0"),
        (RidgeProbe(alphas=[]), r"alphas = \[\]"),
        (LinearProbe(C=-1.0), "C = -1.0; expected a finite value above 0"),
        (LinearProbe(cv=1), "cv = 1; expected 2 folds or more"),
    ],
)
def test_a_parameter_out_of_range_is_refused(head: RidgeProbe | LinearProbe, message: str) -> None:
    with pytest.raises(InputError, match=message):
        head.fit(*blobs())


def test_constant_rows_get_the_majority_class() -> None:
    X, y = np.ones((10, 3)), np.array([0] * 7 + [1] * 3)

    assert set(RidgeProbe().fit(X, y).predict(X)) == {0}
    assert set(LinearProbe().fit(X, y).predict(X)) == {0}
