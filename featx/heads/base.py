"""What the linear heads share: the scikit-learn contract on top of coefficients."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from featx.errors import InputError
from featx.heads.calibration import fit_platt, fit_temperature, sigmoid, softmax
from featx.heads.labels import Labels

DTYPES = [np.float64, np.float32]

Weights = NDArray[np.float64]


class LinearHead(ClassifierMixin, BaseEstimator):
    """A classifier whose logits are ``X @ coef_.T + intercept_``, one column a class or tag."""

    classes_: NDArray[Any]
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    held_out_logits_: NDArray[Any]
    temperature_: float
    scale_: NDArray[np.float64] | None
    shift_: NDArray[np.float64] | None
    tuned_: dict[str, Any]

    def decision_function(self, X: ArrayLike) -> NDArray[Any]:
        """Return the logits (N, C); with two classes their difference (N,), second minus first."""
        logits = self._logits(X)
        if len(self.classes_) == 2 and self.scale_ is None:
            return np.asarray(logits[:, 1] - logits[:, 0])
        return logits

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the most probable class of each row, (N,), or its tags as 0 and 1, (N, C)."""
        if getattr(self, "scale_", None) is not None:
            return np.asarray(self.predict_proba(X) > 0.5, dtype=np.int64)
        winners = self._logits(X).argmax(axis=1)
        return np.asarray(self.classes_[winners])

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return calibrated probabilities, shape (N, C); of classes they sum to one."""
        logits = self._logits(X)
        if self.scale_ is None or self.shift_ is None:
            return softmax(logits / logits.dtype.type(self.temperature_))
        return sigmoid(logits * self.scale_ + self.shift_).astype(logits.dtype)

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same logits."""
        return {"coef": self.coef_, "intercept": self.intercept_}

    def _logits(self, X: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.asarray(self._oriented(rows) @ self.coef_.T + self.intercept_)

    def _oriented(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return rows as the coefficients take them."""
        return X

    def _calibrate(self, labels: Labels, weights: Weights | None) -> None:
        """Fit what turns `held_out_logits_` into probabilities."""
        self.temperature_, self.scale_, self.shift_ = 1.0, None, None
        if labels.indicators is not None:
            self.scale_, self.shift_ = fit_platt(self.held_out_logits_, labels.indicators)
        else:
            self.temperature_ = fit_temperature(self.held_out_logits_, labels.codes, weights)


def read_rows(head: BaseEstimator, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check rows and labels; tags may be an indicator matrix.

    Raises
    ------
    ValueError
        From scikit-learn, naming what is wrong.
    """
    given = np.asarray(y)
    is_matrix = given.ndim == 2 and given.shape[1] > 1
    rows, labels = validate_data(head, X, y, dtype=DTYPES, multi_output=is_matrix)
    check_classification_targets(labels)
    return rows, labels


def read_labels(
    head: BaseEstimator, y: NDArray[Any], weights: Weights | None, *, tags: bool = True
) -> Labels:
    """Return `y` as numbers.

    Raises
    ------
    InputError
        If rows with weight hold fewer than two classes, or `y` holds tags and `tags` is false.
    """
    if y.ndim == 2:
        if not tags:
            message = f"{type(head).__name__}: y is a matrix of tags; expected one class a row"
            raise InputError(message)
        return Labels(np.arange(y.shape[1]), np.empty(0, np.int64), (y != 0).astype(np.float64))
    weighty = np.unique(y if weights is None else y[weights > 0])
    if len(weighty) < 2:
        found = f"one class, {weighty[0]!r}" if len(weighty) else "no row with weight"
        message = (
            f"{type(head).__name__}: y holds {found};"
            " expected two or more; add items of another class"
        )
        raise InputError(message)
    return Labels(weighty, np.searchsorted(weighty, y).clip(max=len(weighty) - 1).astype(np.int64))


def read_weights(sample_weight: ArrayLike | None, X: NDArray[Any]) -> Weights | None:
    """Return the weights of rows, or None if all count the same.

    Raises
    ------
    ValueError
        From scikit-learn, if they are negative, not finite or of another length than `X`.
    """
    if sample_weight is None:
        return None
    weights: Weights = _check_sample_weight(
        sample_weight, X, dtype=np.float64, ensure_non_negative=True
    )
    return weights
