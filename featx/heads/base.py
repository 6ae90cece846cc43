"""What the linear heads share: the scikit-learn contract on top of coefficients."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from featx.errors import InputError
from featx.heads.calibration import fit_platt, fit_temperature, sigmoid, softmax
from featx.heads.labels import Labels
from featx.heads.moments import row_blocks

DTYPES = [np.float64, np.float32]

# How far values must stay below the largest number, after squaring: the sums of many rows and
# columns have to be finite too.
_HEADROOM = 1e8

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
        rows = read_queries(self, X)
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


def read_rows(
    head: BaseEstimator, X: ArrayLike, y: ArrayLike, *, reset: bool = True
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Check rows and labels; tags may be an indicator matrix.

    Parameters
    ----------
    head : BaseEstimator
    X : array-like, shape (N, D)
    y : array-like, shape (N,) or (N, C)
    reset : bool, default True
        Whether these are the first rows that the head sees, which set its width.

    Raises
    ------
    InputError
        If rows hold values that cannot be used, labels are of mixed types, or a matrix of them
        holds more than 0 and 1.
    ValueError
        From scikit-learn, naming what else is wrong.
    """
    _check_one_type(head, y)
    given = np.asarray(y)
    is_matrix = given.ndim == 2 and given.shape[1] > 1
    rows, labels = validate_data(
        head, X, y, dtype=DTYPES, multi_output=is_matrix, reset=reset, ensure_all_finite=False
    )
    check_values(head, rows)
    with warnings.catch_warnings():
        # Of few items most may be of a class of their own: that is no regression.
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)
        check_classification_targets(labels)
    if is_matrix and not np.isin(labels, (0, 1)).all():
        message = (
            f"{type(head).__name__}: y is a matrix of other values than 0 and 1;"
            " expected 1 where a row has a tag, or one class a row"
        )
        raise InputError(message)
    return rows, labels


def read_queries(head: BaseEstimator, X: ArrayLike) -> NDArray[Any]:
    """Check rows that a fitted head is asked about.

    Raises
    ------
    InputError
        If rows hold values that cannot be used.
    ValueError
        From scikit-learn, naming what else is wrong.
    """
    rows: NDArray[Any] = validate_data(head, X, dtype=DTYPES, reset=False, ensure_all_finite=False)
    check_values(head, rows)
    return rows


def check_values(head: BaseEstimator, X: NDArray[Any]) -> None:
    """Raise if `X` (N, D) holds NaN, infinity, or values whose squares overflow or vanish.

    Raises
    ------
    InputError
    """
    largest = float(np.sqrt(np.finfo(X.dtype).max / _HEADROOM))
    bad: list[int] = []
    found = 0.0
    for part in row_blocks(X):
        of_row = np.abs(X[part]).max(axis=1, initial=0)
        found = max(found, float(of_row.max(initial=0)))
        # NaN is not below anything.
        is_good = of_row <= largest
        if not is_good.all():
            bad += (np.flatnonzero(~is_good) + part.start).tolist()
    if bad:
        more = ", ..." if len(bad) > 5 else ""
        message = (
            f"{type(head).__name__}: X holds NaN, infinity or values beyond {largest:.0e} in"
            f" {len(bad)} of {len(X)} rows: {', '.join(map(str, bad[:5]))}{more};"
            " expected finite numbers; leave these rows out"
        )
        raise InputError(message)
    least = float(np.sqrt(np.finfo(X.dtype).tiny))
    if 0 < found < least:
        message = (
            f"{type(head).__name__}: the largest value of X is {found:.0e}; expected {least:.0e} or"
            f" more, whose square {X.dtype} can hold; scale X"
        )
        raise InputError(message)


def _check_one_type(head: BaseEstimator, y: ArrayLike) -> None:
    """Raise if labels cannot be sorted, or would be turned into text without a word."""
    if isinstance(y, np.ndarray) and y.dtype != object:
        return
    labels = np.asarray(y, dtype=object).ravel()
    kinds = {"str" if isinstance(label, str) else type(label).__name__ for label in labels}
    if len(kinds) > 1 and kinds & {"str", "NoneType"}:
        message = (
            f"{type(head).__name__}: y holds labels of types {' and '.join(sorted(kinds))};"
            " expected one type; turn them all into text"
        )
        raise InputError(message)


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
        found = f"one class, {weighty.tolist()[0]!r}" if len(weighty) else "no row with weight"
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
