"""Ridge regression on ±1 targets: closed form, tuned by exact leave-one-out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.heads.base import LinearHead, read_training
from featx.heads.calibration import fit_temperature

# Multiples of the mean eigenvalue of the centred Gram matrix.
_RELATIVE_ALPHAS = np.logspace(-3, 3, 13)


class RidgeProbe(LinearHead):
    """One-vs-rest ridge classifier whose penalty is chosen by exact leave-one-out.

    One eigendecomposition of the centred Gram matrix, (D, D) or (N, N), whichever is smaller,
    gives the solution and the leave-one-out predictions for every penalty, without refitting
    (Rifkin and Lippert 2007, "Notes on regularized least squares").  The intercept is not
    penalised.  Constant and repeated columns do no harm.

    Parameters
    ----------
    alphas : sequence of float, optional
        Penalties to choose from, all above 0.  By default 13 values, 0.001 to 1000 times the mean
        non-zero eigenvalue of the centred Gram matrix.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    coef_ : ndarray, shape (C, D)
    intercept_ : ndarray, shape (C,)
    alpha_ : float
        The penalty with the best leave-one-out accuracy, then the least squared error.
    held_out_logits_ : ndarray, shape (N, C)
        Decision values of each training row by the model fitted to all other rows.
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`.

    Examples
    --------
    >>> X = np.array([[0.0], [1.0], [4.0], [5.0]])
    >>> RidgeProbe().fit(X, ["a", "a", "b", "b"]).predict([[0.5], [4.5]]).tolist()
    ['a', 'b']
    """

    alpha_: float

    def __init__(self, alphas: Sequence[float] | None = None) -> None:
        self.alphas = alphas

    def fit(self, X: NDArray[Any], y: NDArray[Any]) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,); cost O(N D min(N, D)).

        Raises
        ------
        InputError
            If `y` holds one class, or a penalty is not above 0.
        """
        X, codes = read_training(self, X, y)
        targets = np.full((len(X), len(self.classes_)), -1, dtype=X.dtype)
        targets[np.arange(len(X)), codes] = 1
        spectrum = _decompose(X, targets)
        best: tuple[float, float] | None = None
        for alpha in self._penalties(spectrum):
            held_out = spectrum.leave_one_out(targets, alpha)
            hits = float(np.mean(held_out.argmax(axis=1) == codes))
            error = float(np.mean(np.square(held_out - targets), dtype=np.float64))
            if best is None or (-hits, error) < best:
                best = (-hits, error)
                self.alpha_, self.held_out_logits_ = float(alpha), held_out
        self.coef_, self.intercept_ = spectrum.solve(self.alpha_)
        self.temperature_ = fit_temperature(self.held_out_logits_, codes)
        return self

    def _penalties(self, spectrum: "_Spectrum") -> NDArray[np.float64]:
        if self.alphas is None:
            scale = float(spectrum.eigenvalues.mean()) if len(spectrum.eigenvalues) else 1.0
            return _RELATIVE_ALPHAS * scale
        alphas = np.asarray(self.alphas, dtype=np.float64).reshape(-1)
        if not len(alphas) or not (np.isfinite(alphas) & (alphas > 0)).all():
            message = f"RidgeProbe: alphas = {self.alphas!r}; expected finite values above 0"
            raise InputError(message)
        return alphas


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Centred data in the eigenbasis of their Gram matrix: ``X - mean = scores @ basis.T``."""

    eigenvalues: NDArray[Any]  # (R,)
    scores: NDArray[Any]  # (N, R)
    basis: NDArray[Any]  # (D, R)
    mean: NDArray[Any]  # (D,)
    target_mean: NDArray[Any]  # (C,)
    products: NDArray[Any]  # (R, C): scores.T @ (targets - target_mean)

    def leave_one_out(self, targets: NDArray[Any], alpha: float) -> NDArray[Any]:
        """Return each row's decision values by the fit to all other rows, shape (N, C)."""
        shrunk = 1 / (self.eigenvalues + self.eigenvalues.dtype.type(alpha))
        fitted = self.scores @ (self.products * shrunk[:, None]) + self.target_mean
        leverage = 1 / len(self.scores) + np.square(self.scores) @ shrunk
        rest = np.maximum(1 - leverage, np.finfo(fitted.dtype).eps).astype(fitted.dtype)
        return np.asarray(targets - (targets - fitted) / rest[:, None])

    def solve(self, alpha: float) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return coefficients (C, D) and intercepts (C,)."""
        shrunk = 1 / (self.eigenvalues + self.eigenvalues.dtype.type(alpha))
        coef = (self.basis @ (self.products * shrunk[:, None])).T
        return np.ascontiguousarray(coef), self.target_mean - coef @ self.mean


def _decompose(X: NDArray[Any], targets: NDArray[Any]) -> _Spectrum:
    mean = X.mean(axis=0, dtype=np.float64).astype(X.dtype)
    target_mean = targets.mean(axis=0, dtype=np.float64).astype(X.dtype)
    centred = X - mean
    is_wide = X.shape[0] < X.shape[1]
    eigenvalues, vectors = np.linalg.eigh(centred @ centred.T if is_wide else centred.T @ centred)
    # Below this the eigenvalues are rounding error of the largest one.
    floor = max(eigenvalues[-1], 0) * np.finfo(X.dtype).eps * len(eigenvalues)
    kept = eigenvalues > floor
    eigenvalues, vectors = eigenvalues[kept], vectors[:, kept]
    if is_wide:
        scores = vectors * np.sqrt(eigenvalues)
        basis = (centred.T @ vectors) / np.sqrt(eigenvalues)
    else:
        scores, basis = centred @ vectors, vectors
    products = scores.T @ (targets - target_mean)
    return _Spectrum(eigenvalues, scores, basis, mean, target_mean, products)
