"""Linear discriminant analysis with a shrunk covariance, tuned by exact leave-one-out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.errors import InputError
from featx.heads.base import LinearHead, Weights, read_labels, read_rows, read_weights
from featx.heads.calibration import class_losses, fit_temperature
from featx.heads.labels import Labels, forget_classes
from featx.heads.moments import Moments, measure_classes, row_blocks
from featx.heads.rowspace import RowSpace, narrow_exactly

SHRINKAGES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 0.97)

# Rounding errors that one sum gathers.
_MANY = 10


class LDAProbe(LinearHead):
    """Gaussian classes of one covariance, shrunk towards a multiple of the identity.

    With shrinkage s the covariance is ``(1 - s) S + s t I``, S being the scatter of rows about
    the means of their classes over their number and t the mean of its diagonal (Friedman 1989,
    "Regularized discriminant analysis"): scikit-learn's
    ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=s)``.  One eigendecomposition serves all
    shrinkages, and the Sherman-Morrison formula gives the exact leave-one-out logits of each,
    with ``s t`` held where it is.  Strong with few items a class.

    Parameters
    ----------
    shrinkage : float, sequence of float, optional
        Between 0 and 1, both excluded; or those to choose from, by default ten from 0.01 to 0.97.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    coef_ : ndarray, shape (C, D)
    intercept_ : ndarray, shape (C,)
    shrinkage_ : float
        That of the least calibrated log loss by leave-one-out.
    held_out_logits_ : ndarray, shape (N, C)
        Of each training row by the model fitted to all other rows, up to a number that is the
        same for all classes.  A row that is alone in its class gets Laplace's probability for
        it, 1 / (n + 2).
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`.
    tuned_ : dict
        ``shrinkage``.

    Examples
    --------
    >>> X = np.array([[0.0, 0.0], [0.1, 1.0], [1.0, 0.1], [1.1, 1.0]])
    >>> LDAProbe().fit(X, ["a", "a", "b", "b"]).predict([[0.0, 9.0], [1.0, -9.0]]).tolist()
    ['a', 'b']
    """

    shrinkage_: float

    def __init__(self, shrinkage: float | Sequence[float] | None = None) -> None:
        self.shrinkage = shrinkage

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,); cost O(N D min(N, D)).

        Raises
        ------
        InputError
            If `y` holds one class, or a shrinkage is not between 0 and 1.
        """
        shrinkages = self._shrinkages()
        rows, y = read_rows(self, X, y)
        weights = read_weights(sample_weight, rows)
        labels = read_labels(self, y, weights, tags=False)
        self.classes_ = labels.classes
        space = narrow_exactly(rows)
        moments = measure_classes(space.rows, labels.codes, len(labels.classes), weights)
        rounding = float(np.finfo(space.rows.dtype).eps)
        path = LDAPath(moments, n_dimensions=rows.shape[1], rounding=rounding)
        self.shrinkage_ = least_loss(path, space, labels, weights, shrinkages)
        held_out = path.leave_one_out(space.rows, labels.codes, weights, self.shrinkage_)
        self.held_out_logits_ = held_out.astype(rows.dtype, copy=False)
        coef, intercept = space.widen(*path.solution(self.shrinkage_, space.rows.dtype))
        self.coef_ = coef.astype(rows.dtype, copy=False)
        self.intercept_ = intercept.astype(rows.dtype, copy=False)
        self.tuned_ = {"shrinkage": self.shrinkage_}
        self._calibrate(labels, weights)
        return self

    def _shrinkages(self) -> NDArray[np.float64]:
        given = SHRINKAGES if self.shrinkage is None else self.shrinkage
        shrinkages = np.asarray(given, dtype=np.float64).reshape(-1)
        if not len(shrinkages) or not ((shrinkages > 0) & (shrinkages < 1)).all():
            message = f"LDAProbe: shrinkage = {self.shrinkage!r}; expected values between 0 and 1"
            raise InputError(message)
        return shrinkages


def least_loss(
    path: "LDAPath",
    space: RowSpace,
    labels: Labels,
    weights: Weights | None,
    shrinkages: NDArray[np.float64],
) -> float:
    """Return the shrinkage whose leave-one-out logits, calibrated, are the most probable."""
    if len(shrinkages) == 1:
        return float(shrinkages[0])
    losses = []
    for shrinkage in shrinkages:
        logits = path.leave_one_out(space.rows, labels.codes, weights, float(shrinkage))
        logits /= logits.dtype.type(fit_temperature(logits, labels.codes, weights))
        losses.append(float(np.average(class_losses(logits, labels.codes), weights=weights)))
    return float(shrinkages[int(np.argmin(losses))])


@dataclass(frozen=True, slots=True)
class _Shrunk:
    """The within-class scatter plus ``floor`` times the identity, inverted.

    Attributes
    ----------
    factor : float
        Times minus half a squared distance in it, is a logit.
    coordinates : ndarray, shape (D, D)
        Of a centred row; their squares sum to its squared distance from the mean.
    centres : ndarray, shape (C, D)
        The means of the classes in these coordinates.
    """

    factor: float
    coordinates: NDArray[np.float64]
    centres: NDArray[np.float64]


class LDAPath:
    """Discriminants along a path of shrinkages.

    Parameters
    ----------
    moments : Moments
    n_dimensions : int
        Width of the rows before they were narrowed.
    rounding : float
        Relative rounding error of the rows.
    """

    def __init__(self, moments: Moments, *, n_dimensions: int, rounding: float) -> None:
        self._moments = moments
        within = moments.within_scatter()
        eigenvalues, self._vectors = np.linalg.eigh(within)
        self._eigenvalues = np.maximum(eigenvalues, 0)
        scatter, total = float(np.trace(moments.scatter)), float(self._eigenvalues.sum())
        if total <= _MANY * rounding * scatter:
            # Rows are equal within their classes, or alone, and what is left are rounding errors:
            # any covariance will do, so a multiple of the identity that the rows' scale sets.
            self._eigenvalues[:], total = 0, scatter
        self._mean_eigenvalue = total / n_dimensions or 1.0
        weights = moments.class_weights()
        self._log_priors = np.log(weights / moments.weight)

    def _shrunk(self, shrinkage: float) -> _Shrunk:
        moments = self._moments
        floor = shrinkage / (1 - shrinkage) * self._mean_eigenvalue
        coordinates = self._vectors / np.sqrt(self._eigenvalues + floor)
        centres = (moments.class_means() - moments.mean) @ coordinates
        return _Shrunk(moments.weight / (1 - shrinkage), coordinates, centres)

    def solution(
        self,
        shrinkage: float,
        dtype: Any,  # noqa: ANN401 - a NumPy dtype
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return coefficients (C, D) and intercepts (C,)."""
        shrunk = self._shrunk(shrinkage)
        coef = shrunk.factor * shrunk.centres @ shrunk.coordinates.T
        lengths = np.einsum("cd,cd->c", shrunk.centres, shrunk.centres)
        intercept = self._log_priors - shrunk.factor / 2 * lengths - coef @ self._moments.mean
        return coef.astype(dtype), intercept.astype(dtype)

    def leave_one_out(
        self,
        X: NDArray[Any],
        codes: NDArray[np.int64],
        weights: Weights | None,
        shrinkage: float,
    ) -> NDArray[Any]:
        """Return the logits (N, C) of each row without itself, in blocks."""
        logits = np.empty((len(X), len(self._log_priors)), dtype=X.dtype)
        shrunk = self._shrunk(shrinkage)
        w = np.ones(len(X)) if weights is None else weights
        for part in row_blocks(X):
            logits[part] = self._without_itself(X[part], codes[part], w[part], shrunk)
        return logits

    def _without_itself(
        self,
        X: NDArray[Any],
        codes: NDArray[np.int64],
        weights: Weights,
        shrunk: _Shrunk,
    ) -> NDArray[np.float64]:
        """Return the logits (n, C) of a block of rows.

        Without row x, of class c, the mean of c moves away from x, and the scatter loses
        ``k u u'`` with ``u = x - mean_c``.  Let q_j be the squared distance from x to mean j and
        p_j the product of u and ``x - mean_j``, both with the row still in.
        """
        real, total = X.dtype.type, self._moments.weight
        rows = np.arange(len(X))
        points = (X - self._moments.mean.astype(X.dtype)) @ shrunk.coordinates.astype(X.dtype)
        products = (points @ shrunk.centres.T.astype(X.dtype)).astype(np.float64)
        inner = shrunk.centres @ shrunk.centres.T
        squares = np.einsum("nd,nd->n", points, points, dtype=np.float64)[:, None]
        q = squares - 2 * products + np.diag(inner)
        own = q[rows, codes]
        p = squares - products - products[rows, codes][:, None] + inner[codes]
        removed = np.minimum(weights, 1)
        class_weights = self._moments.class_weights()[codes]
        left = np.maximum(class_weights - removed, 0)
        is_last = left <= 1e-9 * class_weights
        k = class_weights * removed / np.where(is_last, 1, left)
        rest = np.maximum(1 - k * own, np.finfo(real).eps)
        distances = q + (k / rest)[:, None] * p**2
        distances[rows, codes] = (class_weights / np.where(is_last, 1, left)) ** 2 * own / rest
        priors = np.broadcast_to(self._log_priors, q.shape).copy()
        priors[rows, codes] = np.log(np.where(is_last, 1, left) / total)
        logits = priors - shrunk.factor * (1 - removed / total)[:, None] / 2 * distances
        forget_classes(logits, codes, is_last, total)
        return np.asarray(logits)
