"""The nearest class mean, on centred rows of length one."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.heads.base import LinearHead, read_labels, read_rows, read_weights
from featx.heads.labels import forget_classes
from featx.heads.moments import row_blocks
from featx.index.neighbours import unit_rows


class CentroidProbe(LinearHead):
    """Nearest class mean of centred rows scaled to length one.

    CL2N of Wang, Chao, Weinberger and van der Maaten 2019 ("SimpleShot", arXiv:1911.04623), the
    head to take with one item a class.  A logit is ``z . m - |m|^2 / 2``, z being the row and m
    the mean: minus half the squared distance, up to a number that is the same for all classes.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    centre_ : ndarray, shape (D,)
        Mean of all training rows.
    coef_ : ndarray, shape (C, D)
        Means of the classes.
    intercept_ : ndarray, shape (C,)
    held_out_logits_ : ndarray, shape (N, C)
        Of each training row with the mean of its class taken over the others; the centre, which
        knows no labels, stays.  A row that is alone in its class gets Laplace's probability for
        it, 1 / (n + 2).
    temperature_ : float
        Divides the logits in `predict_proba`; fitted to `held_out_logits_`.
    totals_ : ndarray of float64, shape (C,)
        Weights of the classes.
    tuned_ : dict
        Empty.

    Examples
    --------
    >>> head = CentroidProbe().fit([[1.0, 1.0], [3.0, 0.0]], ["a", "b"])
    >>> head.predict([[0.0, 5.0]]).tolist()
    ['a']
    """

    centre_: NDArray[Any]
    totals_: NDArray[np.float64]

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit to rows `X` (N, D) and labels `y` (N,).

        Raises
        ------
        InputError
            If `y` holds one class.
        """
        rows, y = read_rows(self, X, y)
        weights = read_weights(sample_weight, rows)
        labels = read_labels(self, y, weights, tags=False)
        self.classes_, codes = labels.classes, labels.codes
        w = np.ones(len(rows)) if weights is None else weights
        totals = np.bincount(codes, w).astype(np.float64)
        parts = list(row_blocks(rows))
        total = np.sum([w[part] @ rows[part] for part in parts], axis=0)
        self.centre_ = (total / totals.sum()).astype(rows.dtype)
        sums = np.zeros((len(self.classes_), rows.shape[1]))
        for part in parts:
            np.add.at(sums, codes[part], self._oriented(rows[part]) * w[part, None])
        self._solve(sums, totals)
        self.held_out_logits_ = self.without_each(rows, codes, w)
        self.tuned_ = {}
        self._calibrate(labels, weights)
        return self

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same logits."""
        return {"centre": self.centre_, "centroids": self.coef_}

    @classmethod
    def of_sums(
        cls,
        centre: NDArray[Any],
        sums: NDArray[np.float64],
        totals: NDArray[np.float64],
    ) -> Self:
        """Return the probe of rows that are known by their sums, without held-out logits.

        Parameters
        ----------
        centre : ndarray, shape (D,)
            Mean of all rows, in their dtype.
        sums : ndarray of float64, shape (C, D)
            Of the rows of each class, centred and scaled to length one.
        totals : ndarray of float64, shape (C,)
            Weights of the classes, above 0.
        """
        made = cls()
        made.centre_ = centre
        made._solve(sums, totals)
        return made

    def _solve(self, sums: NDArray[np.float64], totals: NDArray[np.float64]) -> None:
        self.coef_ = (sums / totals[:, None]).astype(self.centre_.dtype)
        self.intercept_ = -np.einsum("cd,cd->c", self.coef_, self.coef_) / 2
        self.totals_ = totals

    def _oriented(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(unit_rows(X - self.centre_))

    def without_each(
        self,
        X: NDArray[Any],
        codes: NDArray[np.int64],
        weights: NDArray[np.float64] | None = None,
    ) -> NDArray[Any]:
        """Return the logits (N, C) of training rows, each with its class mean over the others.

        Parameters
        ----------
        X : ndarray, shape (N, D)
            Some or all training rows; read in blocks.
        codes : ndarray of int64, shape (N,)
        weights : ndarray of float64, shape (N,), optional
        """
        w = np.ones(len(X)) if weights is None else weights
        blocks = [self._without(X[part], codes[part], w[part]) for part in row_blocks(X)]
        return np.concatenate(blocks)

    def _without(
        self, X: NDArray[Any], codes: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[Any]:
        totals = self.totals_
        unit = self._oriented(X)
        logits = (unit @ self.coef_.T + self.intercept_).astype(np.float64)
        rows, removed = np.arange(len(unit)), np.minimum(weights, 1)
        left = totals[codes] - removed
        is_last = left <= 1e-9 * totals[codes]
        share = (removed / np.where(is_last, 1, left))[:, None]
        own = (1 + share) * self.coef_[codes] - share * unit
        logits[rows, codes] = np.einsum("nd,nd->n", unit, own) - np.einsum("nd,nd->n", own, own) / 2
        forget_classes(logits, codes, is_last, float(totals.sum()))
        return np.asarray(logits, dtype=unit.dtype)
