"""A head from the estimator that it was exported as; nothing in one is trusted."""

import json
from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from featx.errors import StoreError
from featx.export.portable import FORMAT, HEADER, LINEAR, VERSION
from featx.heads.conformal import Conformal, Method
from featx.heads.headcheck import Damage, check_head
from featx.heads.predict import Head


def to_head(estimator: Any) -> Head:  # noqa: ANN401 - scikit-learn has no types
    """Return the head that `to_estimator` was given; it knows nothing of novel items.

    Parameters
    ----------
    estimator : LogisticRegression, Pipeline, OneVsRestClassifier or Ridge
        Made by `to_estimator`.

    Raises
    ------
    StoreError
        If it was not, or has been changed in a way that makes no sense.
    """
    try:
        facts = json.loads(getattr(estimator, HEADER))
        if facts["format"] != FORMAT or not isinstance(facts["version"], int):
            raise ValueError(facts["format"])
        if facts["version"] > VERSION:
            message = f"version {facts['version']} is newer than {VERSION}; upgrade featx"
            raise StoreError(message)
        head = _head(facts, estimator)
        check_head(head)
        return head
    except (AttributeError, Damage, IndexError, KeyError, TypeError, ValueError) as cause:
        message = "no head that featx exported, or a damaged one"
        raise StoreError(message) from cause


def _head(facts: Mapping[str, Any], estimator: Any) -> Head:  # noqa: ANN401
    return Head(
        kind=facts["kind"],
        classes=tuple(facts["classes"]),
        task=facts["task"],
        arrays=_READERS[facts["task"]](facts, estimator),
        temperature=float(facts["temperature"]),
        conformal=_conformal(facts["conformal"]),
        header=dict(facts["header"]),
    )


def _conformal(made: Mapping[str, Any] | None) -> Conformal | None:
    if made is None:
        return None
    if made["method"] not in get_args(Method):
        raise ValueError(made["method"])
    quantiles = np.array(made["quantiles"], dtype=np.float64)
    return Conformal(method=made["method"], coverage=float(made["coverage"]), quantiles=quantiles)


def _read_classifier(facts: Mapping[str, Any], estimator: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    T = float(facts["temperature"])
    if facts["kind"] in LINEAR:
        coef, intercept = _logits_of(estimator)
        return {"coef": T * coef, "intercept": T * intercept}
    coef, intercept = _logits_of(estimator[-1])
    centroids = T * coef
    if len(centroids) == 2:
        # Only their difference is known; any two with it that lie right to the origin will do.
        difference = centroids[1] - centroids[0]
        distance = T * (intercept[1] - intercept[0]) / max(difference @ difference, 1e-300)
        centroids = centroids - distance * difference
    return {"centre": np.asarray(estimator[0].mean_, dtype=np.float64), "centroids": centroids}


def _read_tagger(facts: Mapping[str, Any], estimator: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    each = estimator.estimators_
    n = len(facts["classes"])
    return {
        "coef": np.concatenate([one.coef_ for one in each]).astype(np.float64),
        "intercept": np.concatenate([one.intercept_ for one in each]).astype(np.float64),
        "scale": np.ones(n),
        "shift": np.zeros(n),
    }


def _read_regressor(facts: Mapping[str, Any], estimator: Any) -> dict[str, NDArray[Any]]:  # noqa: ANN401
    return {
        "coef": np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)),
        "intercept": np.atleast_1d(np.asarray(estimator.intercept_, dtype=np.float64)),
        "spread": np.array(facts["spread"], dtype=np.float64),
    }


_READERS: dict[str, Callable[[Mapping[str, Any], Any], dict[str, NDArray[Any]]]] = {
    "classify": _read_classifier,
    "multilabel": _read_tagger,
    "regress": _read_regressor,
}


def _logits_of(estimator: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # noqa: ANN401
    """Return coefficients (C, D) and intercepts (C,); two classes get half the difference each."""
    coef = np.asarray(estimator.coef_, dtype=np.float64)
    intercept = np.asarray(estimator.intercept_, dtype=np.float64)
    if len(coef) > 1:
        return coef, intercept
    return np.concatenate([-coef, coef]) / 2, np.concatenate([-intercept, intercept]) / 2
