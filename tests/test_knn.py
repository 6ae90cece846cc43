"""The k-nearest-neighbour head."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_blobs
from sklearn.utils.estimator_checks import parametrize_with_checks

from featx.errors import InputError
from featx.heads.knn import KNNClassifier


@parametrize_with_checks([KNNClassifier(), KNNClassifier(k="auto", temperature="auto")])  # type: ignore[untyped-decorator]
def test_the_scikit_learn_contract_holds(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def blobs(dtype: str = "float32", n: int = 120) -> tuple[NDArray[Any], NDArray[Any]]:
    X, y = make_blobs(n, n_features=16, centers=4, cluster_std=6.0, random_state=0)
    return X.astype(dtype), np.array(["ape", "bee", "cat", "dog"])[y]


def oracle(X: NDArray[Any], y: NDArray[Any], q: NDArray[Any], k: int, T: float) -> NDArray[Any]:
    unit = X.astype(np.float64) / np.linalg.norm(X.astype(np.float64), axis=1, keepdims=True)
    similarities = unit @ (q / np.linalg.norm(q.astype(np.float64)))
    nearest = np.argsort(-similarities, kind="stable")[:k]
    weights = np.exp(similarities[nearest] / T)
    votes = [weights[y[nearest] == label].sum() for label in np.unique(y)]
    shares: NDArray[Any] = np.array(votes) / weights.sum()
    return shares


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shares_are_those_of_plain_numpy_in_the_dtype_given(dtype: str) -> None:
    X, y = blobs(dtype)
    head = KNNClassifier(k=7, temperature=0.1).fit(X[:100], y[:100])

    shares = head.predict_proba(X[100:])

    expected = [oracle(X[:100], y[:100], q, 7, 0.1) for q in X[100:]]
    assert shares.dtype == head.gallery_.dtype == head.held_out_logits_.dtype == np.dtype(dtype)
    np.testing.assert_allclose(shares, expected, atol=5e-6)  # float32 similarities over T = 0.1
    np.testing.assert_array_equal(head.predict(X[100:]), head.classes_[np.argmax(expected, axis=1)])


def test_held_out_logits_are_those_of_fitting_without_the_row() -> None:
    X, y = blobs()
    head = KNNClassifier(k=5).fit(X, y)

    for row in (0, 17, 119):
        rest = np.delete(np.arange(len(X)), row)
        without = KNNClassifier(k=5).fit(X[rest], y[rest]).predict_proba(X[row : row + 1])
        np.testing.assert_allclose(
            head.held_out_logits_[row], np.log((5 * without[0] + 1 / 4) / 6), rtol=1e-5, atol=1e-6
        )


def test_held_out_logits_follow_a_second_fit() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)
    assert head.held_out_logits_.shape == (120, 4)

    head.fit(X[:50], y[:50])

    assert head.held_out_logits_.shape == (50, 4)


def test_auto_takes_the_k_with_the_best_leave_one_out_accuracy() -> None:
    X, y = blobs()
    codes = np.unique(y, return_inverse=True)[1]
    accuracies = {
        k: (KNNClassifier(k=k).fit(X, y).held_out_logits_.argmax(axis=1) == codes).mean()
        for k in (1, 3, 5, 9, 15, 25)
    }

    chosen = KNNClassifier(k="auto").fit(X, y)

    assert accuracies[chosen.k_] == max(accuracies.values())
    assert chosen.temperature_ == 0.07


def test_neighbours_are_the_training_rows_by_cosine() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)

    similarities, rows = head.kneighbors(3 * X[:5], 1)

    assert rows.ravel().tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(similarities, 1.0, atol=1e-6)


def test_dot_takes_rows_as_they_are() -> None:
    X, y = np.array([[1.0, 0.0], [9.0, 9.0]]), np.array(["near", "long"])

    head = KNNClassifier(k=1, metric="dot").fit(X, y)

    assert head.predict([[1.0, 0.0]]).tolist() == ["long"]
    assert KNNClassifier(k=1).fit(X, y).predict([[1.0, 0.0]]).tolist() == ["near"]


def test_arrays_alone_restore_a_head() -> None:
    X, y = blobs()
    head = KNNClassifier().fit(X, y)
    bare = clone(head)
    for name in ("classes_", "gallery_", "codes_", "k_", "temperature_", "n_features_in_"):
        setattr(bare, name, getattr(head, name))

    np.testing.assert_array_equal(bare.predict_proba(X), head.predict_proba(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(head)).predict(X), head.predict(X))


@pytest.mark.parametrize("wrong", [{"k": 0}, {"temperature": 0.0}, {"metric": "euclid"}])
def test_parameters_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    X, y = blobs()

    with pytest.raises(InputError, match=rf"^{next(iter(wrong))}: found"):
        KNNClassifier(**wrong).fit(X, y)
