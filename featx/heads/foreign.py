"""Any classifier or regressor of scikit-learn as a head, through ONNX."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, is_classifier
from sklearn.metrics import accuracy_score, r2_score
from sklearn.multioutput import MultiOutputRegressor
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, has_fit_parameter, validate_data
from threadpoolctl import threadpool_limits

from featx.errors import InputError
from featx.heads.base import read_labels, read_rows, read_weights
from featx.heads.calibration import fit_temperature, softmax
from featx.heads.folds import choose_folds
from featx.heads.foreign_folds import Fit, fitted, held_out_logits
from featx.heads.foreign_graph import to_graph
from featx.heads.foreign_name import make_estimator
from featx.heads.foreign_scorer import onnx_logits

if TYPE_CHECKING:
    from featx.types import Task

# Enough for the five neighbours, folds or iterations that estimators want by default.
_TRIAL_ROWS = 256
# Which form an estimator is converted to depends on two classes or more, and not on the width.
_TRIAL_CLASSES, _TRIAL_DIM = 3, 16


class SklearnHead(BaseEstimator):
    """A scikit-learn estimator, cross-validated, whose scores come from its ONNX graph.

    Parameters
    ----------
    name : str
        Such as ``"svm.SVC"`` or ``"svm.SVC(C=10, kernel='rbf')"``; a classifier or regressor that
        stands alone.
    cv : int or sequence of (train, test), default 5
        Folds; an int deals rows out by class.
    n_jobs : int, optional
        Processes that fit folds, as joblib counts them.
    random_state : int, default 0
        Seeds the folds, and the estimator where it takes a seed.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
        Of a regressor the numbers of the outputs.
    estimator_ : object
        Fitted to all rows in float32, and to codes of classes.
    held_out_logits_ : ndarray of float32, shape (N, C)
        Of each row by the estimator that was fitted without its fold: see `estimator_logits`.  A
        class that those rows lack gets the logit of Laplace's rule, as in `LinearProbe`.  Of a
        regressor values.
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`; of a regressor 1.
    tuned_ : dict
        ``estimator``, ``folds``, ``graph_difference`` (the largest between the logits of the
        estimator and of its graph) and, if scikit-learn warned, ``notes``.
    """

    classes_: NDArray[Any]
    estimator_: Any
    held_out_logits_: NDArray[np.float32]
    temperature_: float
    tuned_: dict[str, Any]

    def __init__(
        self,
        name: str,
        *,
        cv: int | Sequence[tuple[ArrayLike, ArrayLike]] = 5,
        n_jobs: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.name = name
        self.cv = cv
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,), or values (N,) or (N, T) of a regressor.

        Parameters
        ----------
        X : array-like, shape (N, D)
            Computed with in float32, as the graph does.
        y : array-like
        sample_weight : array-like, shape (N,), optional
        groups : array-like, shape (N,), optional
            Rows of one group share a fold.

        Raises
        ------
        InputError
            If scikit-learn refuses the rows or the parameters, the estimator takes no weights,
            or its graph gives other logits.
        """
        made = make_estimator(self.name, random_state=self.random_state)
        weights = read_weights(sample_weight, np.asarray(X))
        if weights is not None and not has_fit_parameter(made, "sample_weight"):
            message = f"sklearn:{self.name}: takes no weights; leave them out, or try --head logreg"
            raise InputError(message)
        targets: NDArray[Any]
        if is_classifier(made):
            rows, targets = self._read_classes(X, y, weights)
        else:
            rows, targets = self._read_values(X, y)
            made = _for_outputs(made, targets)
        whole = Fit(self.name, made, rows, targets, weights, len(self.classes_))
        folds = self._folds(targets, groups)
        self.held_out_logits_ = held_out_logits(whole, folds, self.n_jobs)
        self.estimator_, notes = fitted(whole)
        n_columns = len(self.classes_)
        self._graph, difference = to_graph(self.estimator_, rows, n_columns, name=self.name)
        self.temperature_ = 1.0
        if is_classifier(made):
            codes = targets.astype(np.int64)
            self.temperature_ = fit_temperature(self.held_out_logits_, codes, weights)
        self.tuned_ = {
            "estimator": self.name.removeprefix("sklearn:"),
            "folds": int(folds.max()) + 1,
            "graph_difference": difference,
            **({"notes": notes} if notes else {}),
        }
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of each row, (N,), or of a regressor values (N,) or (N, T), T > 1."""
        logits = self._logits(X)
        if is_classifier(self):
            return np.asarray(self.classes_[logits.argmax(axis=1)])
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return the accuracy of a classifier, or the R^2 of a regressor, on rows and labels."""
        measure = accuracy_score if is_classifier(self) else r2_score
        return float(measure(y, self.predict(X), sample_weight=sample_weight))

    @available_if(is_classifier)  # type: ignore[untyped-decorator]
    def decision_function(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return the logits (N, C); with two classes their difference (N,), second minus first."""
        logits = self._logits(X)
        return logits if len(self.classes_) > 2 else logits[:, 1] - logits[:, 0]

    @available_if(is_classifier)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Return ``softmax(logits / temperature_)``, shape (N, C)."""
        return np.asarray(softmax(self._logits(X) / np.float32(self.temperature_)))

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same logits."""
        check_is_fitted(self)
        return {"graph": self._graph}

    def _logits(self, X: ArrayLike) -> NDArray[np.float32]:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float32, reset=False)
        return onnx_logits({"graph": self._graph}, rows, len(self.classes_))

    def _read_classes(
        self, X: ArrayLike, y: ArrayLike, weights: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        rows, given = read_rows(self, X, y)
        labels = read_labels(self, given, weights, tags=False)
        self.classes_ = labels.classes
        return rows.astype(np.float32, order="C", copy=False), labels.codes

    def _read_values(
        self, X: ArrayLike, y: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        rows, given = validate_data(self, X, y, dtype=np.float32, multi_output=True, y_numeric=True)
        values = np.asarray(given, dtype=np.float64)
        self.classes_ = np.arange(1 if values.ndim == 1 else values.shape[1])
        return rows, values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values

    def _folds(self, targets: NDArray[Any], groups: ArrayLike | None) -> NDArray[np.int64]:
        if isinstance(self.cv, int) and (self.cv < 2 or len(targets) < 2):
            message = f"SklearnHead: {self.cv} folds of {len(targets)} rows; expected 2 or more"
            raise InputError(message)
        is_class = targets.dtype.kind == "i"
        codes = targets if is_class else np.zeros(len(targets), dtype=np.int64)
        return choose_folds(codes, self.cv, groups, seed=self.random_state)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        made = make_estimator(self.name, random_state=self.random_state)
        tags, own = super().__sklearn_tags__(), get_tags(made)
        tags.estimator_type, tags.target_tags = own.estimator_type, own.target_tags
        tags.classifier_tags, tags.regressor_tags = own.classifier_tags, own.regressor_tags
        return tags


def require_convertible(name: str, n_features: int, n_classes: int, task: "Task") -> None:
    """Raise before any training if an estimator could not be saved after it; seconds at most.

    It is fitted to a few random rows and converted.

    Parameters
    ----------
    name : str
        As for `SklearnHead`.
    n_features : int
        Width of the embeddings.
    n_classes : int
        Of a regressor the number of outputs.
    task : str
        ``"classify"`` or ``"regress"``.

    Raises
    ------
    UnknownNameError
        If scikit-learn has no such estimator.
    InputError
        If it is no estimator for the task, scikit-learn refuses its arguments, or it has no ONNX
        form; says what to try instead.
    """
    made = make_estimator(name, task=task)
    rng = np.random.default_rng(0)
    n_columns = min(n_classes, _TRIAL_CLASSES)
    X = rng.normal(size=(_TRIAL_ROWS, min(n_features, _TRIAL_DIM))).astype(np.float32)
    targets: NDArray[Any]
    if is_classifier(made):
        targets = np.arange(_TRIAL_ROWS) % n_columns
        # Classes that are apart, as those that one trains on: some estimators stop early then.
        X += rng.normal(size=(n_columns, X.shape[1])).astype(np.float32)[targets]
    else:
        targets = X @ rng.normal(size=(X.shape[1], n_columns))
        targets = targets[:, 0] if n_columns == 1 else targets
        made = _for_outputs(made, targets)
    # Threads would only wait for each other.
    with threadpool_limits(1):
        trial, _ = fitted(Fit(name, made, X, targets, None, n_columns))
    to_graph(trial, X, n_columns, name=name)


def _for_outputs(made: Any, targets: NDArray[Any]) -> Any:  # noqa: ANN401
    """Return a regressor, or one for each output where it takes but one."""
    is_enough = targets.ndim == 1 or get_tags(made).target_tags.multi_output
    return made if is_enough else MultiOutputRegressor(made)
