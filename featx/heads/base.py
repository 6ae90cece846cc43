"""What the linear heads share: the scikit-learn contract on top of coefficients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.errors import InputError
from featx.heads.calibration import softmax

DTYPES = [np.float64, np.float32]


class LinearHead(ClassifierMixin, BaseEstimator):
    """A classifier whose logits are ``X @ coef_.T + intercept_``, one column a class."""

    classes_: NDArray[Any]
    coef_: NDArray[Any]
    intercept_: NDArray[Any]
    held_out_logits_: NDArray[Any]
    temperature_: float

    def decision_function(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the logits (N, C); with two classes their difference (N,), second minus first."""
        logits = self._logits(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each row."""
        logits = self._logits(X)
        return np.asarray(self.classes_[logits.argmax(axis=1)])

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        """Return ``softmax(logits / temperature_)``, shape (N, C)."""
        return softmax(self._logits(X) / self.temperature_)

    def _logits(self, X: NDArray[Any]) -> NDArray[Any]:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=DTYPES, reset=False)
        return np.asarray(X @ self.coef_.T + self.intercept_)


def read_training(
    head: LinearHead, X: NDArray[Any], y: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Check `X` and `y`, set `classes_` and return `X` and the class codes.

    Raises
    ------
    InputError
        If `y` holds fewer than two classes.
    """
    X, y = validate_data(head, X, y, dtype=DTYPES)
    check_classification_targets(y)
    head.classes_, codes = np.unique(y, return_inverse=True)
    if len(head.classes_) < 2:
        message = (
            f"{type(head).__name__}: y holds one class, {head.classes_[0]!r};"
            " expected two or more; add items of another class"
        )
        raise InputError(message)
    return X, codes
