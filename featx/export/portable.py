"""A head as an estimator of scikit-learn, with nothing of featx in it.

What an estimator has no place for, such as how its conformal sets are made, travels in its
attribute ``featx_header_``, a JSON text.
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer, Normalizer, StandardScaler

from featx.errors import InputError
from featx.heads.predict import Head

HEADER = "featx_header_"
FORMAT, VERSION = "featx-estimator", 1

TOLERANCE = 1e-3
"""Largest difference to a head: float32 logits, divided by a temperature of a hundredth."""

_TRIALS = 64

LINEAR = frozenset({"ridge", "logreg", "lda"})
"""Kinds whose logits are ``X @ coef.T + intercept``."""

REFUSED = {
    "knn": "its vote among stored vectors is no estimator of scikit-learn;"
    " train one that is: featx train SET -o X.head --head logreg",
    "sklearn": "it is an ONNX graph, and the estimator that it was made of is gone;"
    " fit that one in scikit-learn, or train a head that can: --head logreg",
}


def to_estimator(head: Head) -> Any:  # noqa: ANN401 - scikit-learn has no types
    """Return a fitted estimator with the same probabilities or values as `head`.

    Parameters
    ----------
    head : Head
        Its temperature is folded into the coefficients.  What it knows of novel items is left
        behind.

    Returns
    -------
    LogisticRegression, Pipeline, OneVsRestClassifier or Ridge

    Raises
    ------
    InputError
        If no estimator of scikit-learn is like it; says what to do.
    """
    if head.kind in REFUSED:
        message = f"head: kind {head.kind!r} cannot be exported: {REFUSED[head.kind]}"
        raise InputError(message)
    made = _MAKERS[head.task](head)
    setattr(made, HEADER, json.dumps(_facts(head), sort_keys=True, allow_nan=False))
    return made


def largest_difference(estimator: Any, head: Head) -> float:  # noqa: ANN401
    """Return how far an estimator is from a head on random unit vectors.

    In probability; in value where the head is a regressor, as a share of the largest value.
    """
    X = np.random.default_rng(0).normal(size=(_TRIALS, head.dim))
    X = (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)
    if head.task != "regress":
        return float(np.abs(estimator.predict_proba(X) - head.probabilities(X)).max())
    values = head.logits(X)
    off = np.abs(np.asarray(estimator.predict(X)).reshape(values.shape) - values).max()
    return float(off / max(1.0, np.abs(values).max()))


def _facts(head: Head) -> dict[str, Any]:
    made = head.conformal
    conformal = made and {
        "method": made.method,
        "coverage": made.coverage,
        "quantiles": made.quantiles.tolist(),
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": head.kind,
        "task": head.task,
        "classes": list(head.classes),
        "temperature": float(head.temperature),
        "conformal": conformal,
        "spread": head.arrays["spread"].tolist() if "spread" in head.arrays else None,
        "header": dict(head.header),
    }


def _logistic(
    coef: NDArray[np.float64], intercept: NDArray[np.float64], classes: NDArray[Any]
) -> LogisticRegression:
    """Return a regression with these logits, of which two classes keep the difference."""
    made = LogisticRegression()
    if len(classes) == 2:
        coef, intercept = np.diff(coef, axis=0), np.diff(intercept)
    made.coef_, made.intercept_, made.classes_ = coef, intercept, classes
    made.n_features_in_ = coef.shape[1]
    made.n_iter_ = np.zeros(1, dtype=np.int32)
    return made


def _classifier(head: Head) -> LogisticRegression | Pipeline:
    T, classes = head.temperature, np.array(head.classes)
    if head.kind in LINEAR:
        coef, intercept = _wide(head, "coef"), _wide(head, "intercept")
        return _logistic(coef / T, intercept / T, classes)
    centre, centroids = _wide(head, "centre"), _wide(head, "centroids")
    scaler = StandardScaler(with_std=False)
    scaler.mean_, scaler.var_, scaler.scale_ = centre, None, None
    scaler.n_features_in_, scaler.n_samples_seen_ = len(centre), 1
    half_squares = np.square(centroids).sum(axis=1) / 2
    last = _logistic(centroids / T, -half_squares / T, classes)
    return Pipeline([("centre", scaler), ("unit", Normalizer()), ("linear", last)])


def _tagger(head: Head) -> OneVsRestClassifier:
    scale, shift = _wide(head, "scale"), _wide(head, "shift")
    coef, intercept = scale[:, None] * _wide(head, "coef"), scale * _wide(head, "intercept") + shift
    made = OneVsRestClassifier(LogisticRegression())
    made.label_binarizer_ = LabelBinarizer().fit(np.eye(len(scale), dtype=np.int64))
    made.classes_ = made.label_binarizer_.classes_
    made.n_features_in_ = coef.shape[1]
    pairs = zip(coef, intercept, strict=True)
    absent, present = np.zeros(coef.shape[1]), np.arange(2)
    made.estimators_ = [
        _logistic(np.stack([absent, row]), np.array([0, start]), present) for row, start in pairs
    ]
    return made


def _regressor(head: Head) -> Ridge:
    coef, intercept = _wide(head, "coef"), _wide(head, "intercept")
    made = Ridge()
    is_one = len(coef) == 1
    made.coef_, made.intercept_ = (coef[0], intercept[0]) if is_one else (coef, intercept)
    made.n_features_in_ = coef.shape[1]
    return made


_MAKERS: dict[str, Callable[[Head], Any]] = {
    "classify": _classifier,
    "multilabel": _tagger,
    "regress": _regressor,
}


def _wide(head: Head, name: str) -> NDArray[np.float64]:
    return np.asarray(head.arrays[name], dtype=np.float64)
