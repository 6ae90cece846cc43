"""The scikit-learn face of adaptation."""

import pickle
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from sklearn.utils.estimator_checks import parametrize_with_checks

import featx
from featx.errors import InputError, UnknownNameError
from featx.heads.ridge import RidgeProbe
from featx.transfer.adapt.domains import source_of_rows
from featx.transfer.adapt.methods import Method


def clouds(seed: int, moved: float = 0.0) -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    rng = np.random.default_rng(seed)
    y = np.arange(200) % 2
    return rng.normal(size=(200, 4)) + 3 * np.eye(2, 4)[y] + moved, np.array(["a", "b"])[y]


@parametrize_with_checks([featx.AdaptedProbe()])  # type: ignore[untyped-decorator]
def test_it_passes_scikit_learns_checks(
    estimator: BaseEstimator, check: Callable[[BaseEstimator], None]
) -> None:
    check(estimator)


def test_without_a_target_it_is_the_ridge_probe() -> None:
    X, y = clouds(0)

    probe = featx.AdaptedProbe().fit(X, y)

    np.testing.assert_array_equal(probe.coef_, RidgeProbe().fit(X, y).coef_)
    assert not probe.is_adapted_
    assert probe.reason_ == "there are no rows of a target"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("method", ["centre", "coral+selftrain", "prior"])
def test_a_named_method_is_that_of_the_command(method: str, dtype: type) -> None:
    (X, y), (Z, _) = clouds(0), clouds(1, moved=2.0)
    X, Z = X.astype(dtype), Z.astype(dtype)

    probe = featx.AdaptedProbe(method).fit(X, y, Z)

    source = source_of_rows(X, np.unique(y, return_inverse=True)[1], 2)
    wanted = Method.named(method).fit(source, Z).linear
    np.testing.assert_array_equal(probe.coef_, wanted.coef)
    assert probe.coef_.dtype == probe.predict_proba(Z).dtype == dtype
    assert probe.method_ == method


def test_centring_undoes_a_move() -> None:
    (X, y), (Z, z) = clouds(0), clouds(1)
    Z[:, 0] += 4

    before = featx.AdaptedProbe().fit(X, y)
    after = featx.AdaptedProbe("centre").fit(X, y, Z)

    assert before.score(Z, z) < 0.7
    assert after.score(Z, z) > 0.95


def test_labels_of_the_target_are_none_where_there_are_none() -> None:
    (X, y), (Z, z) = clouds(0), clouds(1)
    swapped = np.where(z == "a", "b", "a").astype(object)
    few = swapped.copy()
    few[40:] = None

    probe = featx.AdaptedProbe("labelled").fit(X, y, Z, few)

    assert probe.score(Z[40:], swapped[40:].astype(str)) > 0.9
    with pytest.raises(InputError, match="y_target holds 'c'; expected None or one of a, b"):
        featx.AdaptedProbe("labelled").fit(X, y, Z, ["c"] * 200)
    with pytest.raises(InputError, match=r"y_target of shape \(3,\); expected \(200,\)"):
        featx.AdaptedProbe("labelled").fit(X, y, Z, ["a"] * 3)


def test_what_cannot_be_done_is_told() -> None:
    X, y = clouds(0)

    with pytest.raises(UnknownNameError, match="did you mean 'coral'"):
        featx.AdaptedProbe("corral").fit(X, y)
    with pytest.raises(InputError, match="the target has 5 rows; expected 20 or more"):
        featx.AdaptedProbe("coral").fit(X, y, X[:5])
    with pytest.raises(ValueError, match="X has 3 features, but AdaptedProbe is expecting 4"):
        featx.AdaptedProbe("coral").fit(X, y, X[:, :3])
    kept = featx.AdaptedProbe().fit(X, y, X[:5])
    assert kept.reason_.startswith("5 rows of the target tell nothing")


def test_clone_and_pickle_give_the_same_answers() -> None:
    (X, y), (Z, _) = clouds(0), clouds(1, moved=2.0)
    probe = featx.AdaptedProbe("zscore", random_state=3).fit(X, y, Z)

    for copy in (pickle.loads(pickle.dumps(probe)), clone(probe).fit(X, y, Z)):
        np.testing.assert_array_equal(copy.predict_proba(Z), probe.predict_proba(Z))
