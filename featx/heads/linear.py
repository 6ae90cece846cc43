"""Multinomial logistic regression with its penalty chosen by cross-validation."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.class_weight import compute_sample_weight
from threadpoolctl import threadpool_limits

from featx.errors import InputError
from featx.heads.base import LinearHead, Weights, read_labels, read_rows, read_weights
from featx.heads.folds import choose_folds
from featx.heads.labels import Labels
from featx.heads.logistic import Solver
from featx.heads.logisticpath import Step, choose, held_out_logits, polish, walk
from featx.heads.logisticrows import prepare
from featx.heads.rowspace import RowSpace, narrow

RELATIVE_CS = np.logspace(-2, 3, 11)
"""Multiples of 1 / (mean squared norm of the centred rows), weakest fit first."""

SHARED_PRODUCTS = 20_000_000
"""Multiplications of one pass from which more than one BLAS thread is used."""

Split = tuple[ArrayLike, ArrayLike]


class LinearProbe(LinearHead):
    """Logistic regression; `C` is the smallest within one standard error of the best log loss.

    The minimum is that of `sklearn.linear_model.LogisticRegression` with L2 penalty: the sum of
    log losses times `C`, plus half the squared norm of the coefficients.  All folds are solved
    side by side by L-BFGS in coordinates that make the Hessian nearly the identity, warm-started
    from one penalty to the next (docs/heads.md).  Log losses are compared after calibration.
    Tags (an indicator matrix) get one logistic regression each.

    Parameters
    ----------
    C : float, sequence of float, optional
        Inverse penalty, or those to choose from.  By default chosen from eleven values, 0.01 to
        1000 over the mean squared norm of the centred rows.
    cv : int, sequence of (train, test) or None, default 5
        Number of stratified folds, at most one an item; or the folds themselves, as pairs of row
        numbers whose test parts hold each row once; or none, for one `C` alone.
    class_weight : mapping, "balanced" or None
        Multiplies the weights of the rows of a class, as in scikit-learn.
    patience : int or None, default 2
        The path ends after so many penalties in a row that did worse than the best; None walks
        all of it.
    max_iter : int, default 300
        Most iterations of one fit.
    random_state : int, default 0
        Seeds the folds.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    coef_ : ndarray, shape (C, D)
        With two classes, two rows of opposite sign.
    intercept_ : ndarray, shape (C,)
    C_ : float
        The value used.
    path_ : list of dict
        For each `C` tried: ``C``, ``log_loss``, ``standard_error`` and ``accuracy``, all on rows
        left out; means over the folds.
    held_out_logits_ : ndarray, shape (N, C)
        Of each training row by the model fitted without its fold, at `C_`.  A class that those
        rows lack (it has one item) gets the logit of probability 1 / (n + 2), n being their
        number: Laplace's rule for what has never been seen.  Absent without folds.
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`.
    n_iter_ : int
        Iterations that the model took at `C_`.
    n_products_ : int
        Multiplications of all passes over the rows.
    tuned_ : dict
        ``C``.
    """

    C_: float
    path_: list[dict[str, float]]
    n_iter_: int
    n_products_: int

    def __init__(
        self,
        C: float | Sequence[float] | None = None,
        *,
        cv: int | Sequence[Split] | None = 5,
        class_weight: Mapping[Any, float] | Literal["balanced"] | None = None,
        patience: int | None = 2,
        max_iter: int = 300,
        random_state: int = 0,
    ) -> None:
        self.C = C
        self.cv = cv
        self.class_weight = class_weight
        self.patience = patience
        self.max_iter = max_iter
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,) or tags (N, C).

        Parameters
        ----------
        X : array-like of float32 or float64, shape (N, D)
            A memory map is read in blocks.
        y : array-like, shape (N,) or (N, C)
        sample_weight : array-like, shape (N,), optional
        groups : array-like, shape (N,), optional
            Rows of one group are held out together.

        Raises
        ------
        InputError
            If `y` holds one class, `C` or `cv` is out of range, or there are groups and folds.
        """
        candidates = self._candidates()
        rows, y = read_rows(self, X, y)
        weights = self._weights(sample_weight, rows, y)
        labels = read_labels(self, y, weights)
        self.classes_ = labels.classes
        folds = self._folds(rows, labels, groups)
        space = narrow(rows)
        with _enough_threads(rows.size * len(labels.classes)):
            self._fit_rows(space, labels, weights, folds, candidates)
        if self.cv is not None:
            self._calibrate(labels, weights)
            return self
        self.temperature_, self.scale_, self.shift_ = 1.0, None, None
        if labels.indicators is not None:
            self.scale_, self.shift_ = np.ones(len(self.classes_)), np.zeros(len(self.classes_))
        return self

    def _fit_rows(
        self,
        space: RowSpace,
        labels: Labels,
        weights: Weights | None,
        folds: NDArray[np.int64],
        candidates: NDArray[np.float64] | None,
    ) -> None:
        rows = prepare(space.rows, labels, weights, folds)
        mean, scale = rows.mean, rows.scale
        solver = Solver(rows, max_iter=self.max_iter)
        tried = RELATIVE_CS / scale**2 if candidates is None else np.sort(candidates)
        n_folds = 0 if self.cv is None else int(folds.max()) + 1
        steps = walk(solver, list(tried * scale**2), n_folds, patience=self.patience)
        chosen = choose(steps)
        best = polish(solver, steps[chosen])
        self.C_ = float(tried[chosen])
        self.tuned_ = {"C": self.C_}
        self.path_ = [_described(step, C) for step, C in zip(steps, tried, strict=False)]
        self.n_iter_, self.n_products_ = best.model.steps, solver.n_products
        if self.cv is not None:
            self.held_out_logits_ = held_out_logits(solver, best.folds)
        coef = best.model.weights
        if rows.is_pair:
            coef = np.vstack([-coef, coef]) / 2
        inner = coef[:, :-1] / coef.dtype.type(scale)
        # One number added to all logits changes nothing; their mean at the centre shall be 0.
        shift = 0 if rows.indicators is not None else coef[:, -1].mean()
        outer, intercept = space.widen(inner, coef[:, -1] - shift - inner @ mean)
        self.coef_, self.intercept_ = np.ascontiguousarray(outer), np.asarray(intercept)

    def _candidates(self) -> NDArray[np.float64] | None:
        """Return the values of `C` that the user gave."""
        if isinstance(self.cv, int) and self.cv < 2:
            message = f"LinearProbe: cv = {self.cv!r}; expected 2 folds or more"
            raise InputError(message)
        if self.C is None and self.cv is not None:
            return None
        candidates = np.asarray([] if self.C is None else self.C, dtype=np.float64).reshape(-1)
        is_fit = np.isfinite(candidates) & (candidates > 0)
        if not len(candidates) or not is_fit.all():
            message = f"LinearProbe: C = {self.C!r}; expected a finite value above 0"
            raise InputError(message)
        if self.cv is None and len(candidates) > 1:
            message = f"LinearProbe: {len(candidates)} values of C and cv = None; expected folds"
            raise InputError(message)
        return candidates

    def _weights(
        self, sample_weight: ArrayLike | None, rows: NDArray[Any], y: NDArray[Any]
    ) -> Weights | None:
        weights = read_weights(sample_weight, rows)
        if self.class_weight is None:
            return weights
        given = np.ones(len(rows)) if weights is None else weights
        if self.class_weight == "balanced" and y.ndim == 1:
            # scikit-learn counts rows, and a row of weight two would not count as two.
            codes = np.unique(y, return_inverse=True)[1]
            totals = np.bincount(codes, given)
            factors = given.sum() / ((totals > 0).sum() * np.where(totals > 0, totals, 1))
            return np.asarray(given * factors[codes])
        of_class: Weights = compute_sample_weight(self.class_weight, y)
        return given * of_class

    def _folds(
        self, rows: NDArray[Any], labels: Labels, groups: ArrayLike | None
    ) -> NDArray[np.int64]:
        if self.cv is None:
            return np.zeros(len(rows), dtype=np.int64)
        # Tags cannot be spread evenly as classes can: rows are dealt at random.
        codes = labels.codes if labels.indicators is None else np.zeros(len(rows), dtype=np.int64)
        return choose_folds(codes, self.cv, groups, seed=self.random_state)

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


def _described(step: Step, C: float) -> dict[str, float]:
    if not step.folds:
        return {"C": float(C)}
    return {
        "C": float(C),
        "log_loss": step.log_loss,
        "standard_error": step.standard_error,
        "accuracy": step.accuracy,
    }


def _enough_threads(products: int) -> Any:  # noqa: ANN401 - threadpoolctl has no types
    """Return a context with one BLAS thread where a pass is too short to share.

    Measured on two busy cores: 306 x 306 rows of 8 classes take 4.2 s with two, 0.4 s with one.
    """
    return threadpool_limits(1 if products < SHARED_PRODUCTS else None, user_api="blas")
