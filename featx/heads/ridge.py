"""Ridge regression: closed form, tuned by exact leave-one-out, growing and shrinking row by row."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.errors import InputError
from featx.heads.base import (
    DTYPES,
    LinearHead,
    check_values,
    read_labels,
    read_queries,
    read_rows,
    read_weights,
)
from featx.heads.moments import Moments, measure, measure_classes
from featx.heads.ridgepath import RidgePath
from featx.heads.rowspace import narrow_exactly


class RidgeProbe(LinearHead):
    """One-vs-rest ridge classifier whose penalty is chosen by exact leave-one-out.

    Regression on targets of 1 for a row's class and -1 for the others, with an intercept that is
    not penalised.  One eigendecomposition, of a matrix of width min(N, D), gives the solution and
    the leave-one-out predictions of every penalty (Rifkin and Lippert 2007, "Notes on regularized
    least squares").  Constant and repeated columns do no harm.

    Parameters
    ----------
    alphas : sequence of float, optional
        Penalties to choose from, all above 0.  By default 13 values, 0.001 to 1000 times the mean
        non-zero eigenvalue of the centred Gram matrix.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        With tags, the numbers of the columns.
    coef_ : ndarray, shape (C, D)
    intercept_ : ndarray, shape (C,)
    alpha_ : float
        The penalty with the best leave-one-out accuracy, then the least squared error; after
        `partial_fit`, `remove` or `merge`, that of the least generalised cross-validation error.
    held_out_logits_ : ndarray, shape (N, C)
        Decision values of each training row by the model fitted to all other rows; of a row of
        weight w, by the model from which a weight of min(1, w) is taken.  Only after `fit`.
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`.
    moments_ : Moments
        All that is kept of the rows; of width D, made when first asked for.
    tuned_ : dict
        ``alpha``.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [4.0], [5.0]])
    >>> RidgeProbe().fit(X, ["a", "a", "b", "b"]).predict([[0.5], [4.5]]).tolist()
    ['a', 'b']
    """

    alpha_: float
    _fitted_in: tuple[Moments, NDArray[Any] | None, NDArray[Any] | None]

    def __init__(self, alphas: Sequence[float] | None = None) -> None:
        self.alphas = alphas

    @property
    def moments_(self) -> Moments:
        """Return the sums over all rows that were fitted."""
        check_is_fitted(self)
        moments, basis, mean = self._fitted_in
        return moments.widened(basis, mean)

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,) or tags (N, C); cost O(N D min(N, D)).

        Raises
        ------
        InputError
            If `y` holds one class, or a penalty is not above 0.
        """
        rows, y = read_rows(self, X, y)
        weights = read_weights(sample_weight, rows)
        labels = read_labels(self, y, weights)
        self.classes_ = labels.classes
        space = narrow_exactly(rows)
        targets = labels.targets(space.rows.dtype)
        if labels.indicators is None:
            moments = measure_classes(space.rows, labels.codes, len(labels.classes), weights)
        else:
            moments = measure(space.rows, labels.indicators, weights)
        path = RidgePath(moments, checked_alphas(self))
        found = path.leave_one_out(
            space.rows,
            None if labels.indicators is None else targets,
            codes=labels.codes,
            weights=weights,
            sign=2,
        )
        best = found.best_classifier()
        self.alpha_ = float(path.alphas[best])
        coef, intercept = path.solution(best, space.rows.dtype, sign=2)
        fitted = space.rows @ coef.T + intercept
        held_out = found.without_itself(best, fitted, targets)
        self.held_out_logits_ = held_out.astype(rows.dtype, copy=False)
        coef, intercept = space.widen(coef, intercept)
        self.coef_ = coef.astype(rows.dtype, copy=False)
        self.intercept_ = intercept.astype(rows.dtype, copy=False)
        self._fitted_in = (moments, space.basis, space.mean)
        self.tuned_ = {"alpha": self.alpha_}
        self._calibrate(labels, weights)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Add rows; the result is that of one `fit` to all rows, at its penalty.

        Held-out logits need the rows, and so does a temperature: probabilities keep that of the
        last `fit`, or are not calibrated (temperature 1).

        Parameters
        ----------
        X : array-like, shape (N, D)
        y : array-like, shape (N,)
        classes : array-like, optional
            All classes that will ever come; needed by the first call.
        sample_weight : array-like, shape (N,), optional

        Raises
        ------
        InputError
            If `classes` is missing in the first call, holds one alone or other ones than before,
            or `y` holds others; or if the probe was fitted to tags.
        """
        added = self._measured(X, y, classes, sample_weight)
        return self._solve(self.moments_.plus(added) if hasattr(self, "coef_") else added)

    def remove(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Take away rows that were fitted; the result is that of a `fit` to the others.

        As after `partial_fit`, probabilities keep the temperature of the last `fit`.

        Raises
        ------
        InputError
            If no row would be left.
        """
        check_is_fitted(self)
        taken = self._measured(X, y, None, sample_weight)
        return self._solve(self.moments_.minus(taken))

    def merge(self, other: "RidgeProbe") -> Self:
        """Add the rows of another probe of the same classes, which stays as it is.

        As after `partial_fit`, probabilities keep the temperature of the last `fit`.

        Raises
        ------
        InputError
            If the classes or the width differ.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        same = np.array_equal(self.classes_, other.classes_)
        same = same and (self.scale_ is None) == (other.scale_ is None)
        if not same or self.coef_.shape != other.coef_.shape:
            message = (
                f"RidgeProbe: classes {self.classes_.tolist()!r:.80} and"
                f" {other.classes_.tolist()!r:.80}, widths {self.coef_.shape[1]} and"
                f" {other.coef_.shape[1]}; expected equal ones, and both of classes or of tags"
            )
            raise InputError(message)
        return self._solve(self.moments_.plus(other.moments_))

    def _measured(
        self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None, sample_weight: ArrayLike | None
    ) -> Moments:
        is_first = not hasattr(self, "coef_")
        if not is_first and self.scale_ is not None:
            message = "RidgeProbe: it was fitted to tags; rows can be added by merge alone"
            raise InputError(message)
        known = self._all_classes(classes, is_first=is_first)
        rows, y = read_rows(self, X, y, reset=is_first)
        codes = np.searchsorted(known, y).clip(max=len(known) - 1)
        if not np.array_equal(known[codes], y):
            strange = np.setdiff1d(y, known).tolist()[0]
            message = f"RidgeProbe: y holds {strange!r}; classes are {known.tolist()!r:.200}"
            raise InputError(message)
        weights = read_weights(sample_weight, rows)
        added = measure_classes(rows, codes.astype(np.int64), len(known), weights)
        if is_first:
            self.classes_, self._dtype = known, rows.dtype
        return added

    def _all_classes(self, classes: ArrayLike | None, *, is_first: bool) -> NDArray[Any]:
        if classes is None and is_first:
            message = "RidgeProbe: classes is None; the first partial_fit needs all classes"
            raise InputError(message)
        known: NDArray[Any] = self.classes_ if classes is None else np.unique(np.asarray(classes))
        if len(known) < 2 or not (is_first or np.array_equal(known, self.classes_)):
            before = "two or more" if is_first else f"those before, {self.classes_.tolist()!r:.80}"
            message = f"RidgeProbe: classes = {known.tolist()!r:.80}; expected {before}"
            raise InputError(message)
        return known

    def _solve(self, moments: Moments) -> Self:
        path = RidgePath(moments, checked_alphas(self))
        best = int(path.generalised_errors().sum(axis=1).argmin())
        dtype = self.coef_.dtype if hasattr(self, "coef_") else self._dtype
        self.coef_, self.intercept_ = path.solution(best, dtype, sign=2)
        self.alpha_ = float(path.alphas[best])
        self._fitted_in, self.tuned_ = (moments, None, None), {"alpha": self.alpha_}
        self.temperature_ = getattr(self, "temperature_", 1.0)
        self.scale_, self.shift_ = getattr(self, "scale_", None), getattr(self, "shift_", None)
        # They speak of rows that are not at hand any more.
        self.__dict__.pop("held_out_logits_", None)
        return self

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class RidgeProbeRegressor(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """Ridge regression of one or more outputs; its penalty is chosen by exact leave-one-out.

    Parameters
    ----------
    alphas : sequence of float, optional
        As for `RidgeProbe`.

    Attributes
    ----------
    coef_ : ndarray, shape (D,) or (T, D)
    intercept_ : float or ndarray, shape (T,)
    alpha_ : float
        The penalty with the least leave-one-out squared error, each output divided by its
        variance.
    held_out_logits_ : ndarray, shape (N, T)
        Prediction for each training row by the model fitted to all other rows.
    tuned_ : dict
        ``alpha``.
    """

    alpha_: float
    coef_: NDArray[Any]
    intercept_: Any
    held_out_logits_: NDArray[Any]
    tuned_: dict[str, Any]

    def __init__(self, alphas: Sequence[float] | None = None) -> None:
        self.alphas = alphas

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows `X` (N, D) and values `y` (N,) or (N, T).

        Raises
        ------
        InputError
            If a penalty is not above 0.
        """
        rows, y = validate_data(
            self, X, y, dtype=DTYPES, multi_output=True, y_numeric=True, ensure_all_finite=False
        )
        check_values(self, rows)
        weights = read_weights(sample_weight, rows)
        is_table = np.ndim(y) == 2
        values = np.asarray(y, dtype=np.float64).reshape(len(rows), -1)
        # Far from zero float32 would not hold the differences that matter.
        level = values.mean(axis=0)
        values = values - level
        space = narrow_exactly(rows)
        moments = measure(space.rows, values, weights)
        path = RidgePath(moments, checked_alphas(self))
        found = path.leave_one_out(space.rows, values, weights=weights)
        best = found.best_regressor(moments.target_square)
        self.alpha_ = float(path.alphas[best])
        coef, intercept = path.solution(best, space.rows.dtype)
        fitted = space.rows @ coef.T + intercept
        held_out = found.without_itself(best, fitted, values.astype(fitted.dtype))
        self.held_out_logits_ = (held_out + level).astype(rows.dtype)
        coef, intercept = space.widen(coef, intercept)
        coef, intercept = coef.astype(rows.dtype), (intercept + level).astype(rows.dtype)
        self.coef_ = coef if is_table else coef[0]
        self.intercept_ = intercept if is_table else intercept[0]
        self.tuned_ = {"alpha": self.alpha_}
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the values, shape (N,) or (N, T)."""
        check_is_fitted(self)
        rows = read_queries(self, X)
        return np.asarray(rows @ self.coef_.T + self.intercept_)

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same values."""
        return {"coef": np.atleast_2d(self.coef_), "intercept": np.atleast_1d(self.intercept_)}


def checked_alphas(head: RidgeProbe | RidgeProbeRegressor) -> NDArray[np.float64] | None:
    """Return the penalties that a user gave.

    Raises
    ------
    InputError
        If there is none, or one is not a finite value above 0.
    """
    if head.alphas is None:
        return None
    alphas = np.asarray(head.alphas, dtype=np.float64).reshape(-1)
    if not len(alphas) or not (np.isfinite(alphas) & (alphas > 0)).all():
        message = f"{type(head).__name__}: alphas = {head.alphas!r}; expected finite values above 0"
        raise InputError(message)
    return alphas
