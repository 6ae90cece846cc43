"""Every head keeps scikit-learn's contract and the dtype of its rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.heads import HEADS, REGRESSORS
from featx.heads.predict import Head
from featx.registry import resolve

CLASSIFIERS = [resolve("head", HEADS, name)() for name in HEADS]
EVERY_REGRESSOR = [resolve("regressor", REGRESSORS, name)() for name in REGRESSORS]
TAGGERS = ["ridge", "logreg"]

each_kind = pytest.mark.parametrize("kind", HEADS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])

SAME = 1e-5  # one product of float32 rows in two ways


def blobs(
    n: int = 60, d: int = 5, c: int = 3, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % c
    return rng.normal(size=(n, d)) + 1.5 * rng.normal(size=(c, d))[y], y


@parametrize_with_checks(CLASSIFIERS + EVERY_REGRESSOR)  # type: ignore[untyped-decorator]
def test_head_passes_scikit_learns_checks(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


@each_kind
@each_dtype
@pytest.mark.parametrize(("n", "d"), [(60, 5), (12, 40)])
def test_dtype_of_the_rows_is_kept(kind: str, dtype: str, n: int, d: int) -> None:
    X, y = blobs(n, d)
    X = X.astype(dtype)

    head = resolve("head", HEADS, kind)().fit(X, y)

    of_reals = [array for array in head.head_arrays().values() if array.dtype.kind == "f"]
    answers = [head.held_out_logits_, head.predict_proba(X)]
    assert {array.dtype for array in of_reals[:1] + answers} == {np.dtype(dtype)}
    assert head.held_out_logits_.shape == (n, 3)


@each_dtype
def test_dtype_of_a_regressors_rows_is_kept(dtype: str) -> None:
    X, _ = blobs(12, 40)
    X = X.astype(dtype)

    head = resolve("regressor", REGRESSORS, "ridge")().fit(X, X[:, :2])

    arrays = (head.coef_, head.intercept_, head.held_out_logits_, head.predict(X))
    assert {array.dtype for array in arrays} == {np.dtype(dtype)}


@each_kind
def test_float32_and_float64_agree(kind: str) -> None:
    X, y = blobs(80, 6)

    half = resolve("head", HEADS, kind)().fit(X.astype(np.float32), y)
    full = resolve("head", HEADS, kind)().fit(X, y)

    np.testing.assert_array_equal(half.predict(X.astype(np.float32)), full.predict(X))
    np.testing.assert_allclose(
        half.predict_proba(X.astype(np.float32)), full.predict_proba(X), atol=0.02
    )


@pytest.mark.parametrize("kind", [kind for kind in HEADS if kind != "knn"])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_saved_head_gives_the_logits_of_the_estimator(kind: str, classes: int) -> None:
    X, y = blobs(60, 5, classes)
    X = X.astype(np.float32)
    estimator = resolve("head", HEADS, kind)().fit(X, y)

    names = tuple(str(name) for name in estimator.classes_)
    head = Head(kind=kind, classes=names, arrays=estimator.head_arrays(), header={"dim": 5})

    logits = head.logits(X)
    expected = estimator.decision_function(X)
    found = logits[:, 1] - logits[:, 0] if classes == 2 else logits
    np.testing.assert_allclose(found, expected, atol=SAME * max(1, np.abs(expected).max()))


@pytest.mark.parametrize("kind", TAGGERS)
def test_tags_come_as_a_matrix(kind: str) -> None:
    X = np.random.default_rng(1).normal(size=(90, 6))
    Y = (X[:, :3] > 0.2).astype(np.int64)

    head = resolve("head", HEADS, kind)().fit(X, Y)

    probabilities = head.predict_proba(X)
    assert head.held_out_logits_.shape == probabilities.shape == (90, 3)
    np.testing.assert_array_equal(head.predict(X), (probabilities > 0.5).astype(np.int64))
    assert (head.predict(X) == Y).mean() > 0.9


@pytest.mark.parametrize("kind", HEADS)
def test_two_items_of_two_classes_are_enough(kind: str) -> None:
    X, y = np.array([[0.0, 1.0], [1.0, 0.0]]), np.array(["a", "b"])

    assert resolve("head", HEADS, kind)().fit(X, y).predict(X).tolist() == ["a", "b"]


@each_kind
def test_tuned_values_can_be_written_as_json(kind: str) -> None:
    tuned: dict[str, Any] = resolve("head", HEADS, kind)().fit(*blobs()).tuned_

    assert all(type(value) in {int, float, str} for value in tuned.values())
