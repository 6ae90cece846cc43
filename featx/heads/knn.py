"""k-nearest-neighbour classifier over embeddings."""

from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.errors import InputError
from featx.index import INDEXES
from featx.index.neighbours import Index, unit_rows
from featx.index.voting import (
    CHOICES_OF_K,
    CHOICES_OF_TEMPERATURE,
    choose_vote,
    leave_one_out,
    smoothed_log_shares,
    vote,
)
from featx.registry import resolve

TUNING_ROWS = 5_000
"""Rows held out, one at a time, to choose `k` and the temperature."""


class KNNClassifier(ClassifierMixin, BaseEstimator):
    """Vote among the `k` most similar training rows, weighted by ``exp(similarity / T)``.

    Parameters
    ----------
    k : int or "auto", default 5
        ``"auto"`` takes the most accurate of 1, 3, 5, 9, 15 and 25 by leave-one-out on at most
        5,000 rows.
    temperature : float or "auto", default 0.07
        Small: the nearest decides; large: every neighbour counts the same.
    metric : "cosine" or "dot", default "cosine"
        ``"dot"`` takes rows as they are.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    gallery_ : ndarray, shape (N, D)
        Training rows in the dtype they came in, of length one unless `metric` is ``"dot"``.
    codes_ : ndarray of int64, shape (N,)
        Position in `classes_` of each row's label.
    k_ : int
    temperature_ : float
    """

    def __init__(
        self,
        k: int | Literal["auto"] = 5,
        temperature: float | Literal["auto"] = 0.07,
        metric: Literal["cosine", "dot"] = "cosine",
    ) -> None:
        self.k = k
        self.temperature = temperature
        self.metric = metric

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Store the gallery and choose what is ``"auto"``.

        Parameters
        ----------
        X : array-like of float32 or float64, shape (N, D)
        y : array-like, shape (N,)

        Raises
        ------
        InputError
            If a parameter is out of range.
        """
        self._check_parameters()
        rows, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        self.__dict__.pop("held_out_logits_", None)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        self.codes_ = codes.astype(np.int64)
        self.gallery_ = self._oriented(rows)
        self._index = self._open_index()
        self.k_, self.temperature_ = self._choose()
        return self

    def kneighbors(
        self, X: ArrayLike, k: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return similarities and gallery rows of the `k` nearest, each (M, K), nearest first.

        Similarities are float32.  K is smaller than `k` where the gallery is.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        found = self._searcher().search(self._oriented(rows), self.k_ if k is None else k)
        return found.similarities, found.rows

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return each class's share of the vote, shape (M, C), in the dtype of `X`."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        found = self._searcher().search(self._oriented(rows), self.k_)
        return vote(found, self.codes_, len(self.classes_), self.temperature_).astype(rows.dtype)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class with the largest share, shape (M,)."""
        check_is_fitted(self)
        winners: NDArray[Any] = self.classes_[self.predict_proba(X).argmax(axis=1)]
        return winners

    @cached_property
    def held_out_logits_(self) -> NDArray[Any]:
        """Logarithm of the exact leave-one-out vote shares, shape (N, C), in the gallery's dtype.

        Computed when first asked for, which costs a search of the whole gallery.  The shares are
        smoothed by one more neighbour that votes for every class alike.
        """
        check_is_fitted(self)
        everyone = np.arange(len(self.gallery_))
        found = leave_one_out(self._searcher(), self.gallery_, everyone, self.k_)
        shares = vote(found, self.codes_, len(self.classes_), self.temperature_)
        return smoothed_log_shares(shares, found.rows.shape[1]).astype(self.gallery_.dtype)

    @property
    def tuned_(self) -> dict[str, Any]:
        """Return what was chosen: ``k`` and ``vote_temperature``."""
        return {"k": int(self.k_), "vote_temperature": float(self.temperature_)}

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same logits."""
        return {
            "vectors": self.gallery_,
            "codes": self.codes_,
            "k": np.array(self.k_, dtype=np.int64),
            "vote_temperature": np.array(self.temperature_, dtype=np.float64),
        }

    def _check_parameters(self) -> None:
        if self.k != "auto" and not self.k >= 1:
            raise InputError(f"k: found {self.k!r}; must be at least 1 or 'auto'")
        if self.temperature != "auto" and not self.temperature > 0:
            raise InputError(f"temperature: found {self.temperature!r}; must be above 0 or 'auto'")
        if self.metric not in ("cosine", "dot"):
            raise InputError(f"metric: found {self.metric!r}; must be 'cosine' or 'dot'")

    def _oriented(self, X: NDArray[Any]) -> NDArray[Any]:
        return unit_rows(X) if self.metric == "cosine" else X

    def _open_index(self) -> Index:
        index: Index = resolve("index", INDEXES, "exact")(self.gallery_)
        return index

    def _searcher(self) -> Index:
        # A head restored from its arrays alone has no index yet.
        index: Index | None = getattr(self, "_index", None)
        return self._open_index() if index is None else index

    def _choose(self) -> tuple[int, float]:
        if self.k != "auto" and self.temperature != "auto":
            return int(self.k), float(self.temperature)
        ks = CHOICES_OF_K if self.k == "auto" else (int(self.k),)
        automatic = self.temperature == "auto"
        temperatures = CHOICES_OF_TEMPERATURE if automatic else (float(self.temperature),)
        n = len(self.gallery_)
        rows = np.arange(n)
        if n > TUNING_ROWS:
            rows = np.sort(np.random.default_rng(0).choice(n, TUNING_ROWS, replace=False))
        found = leave_one_out(self._index, self.gallery_, rows, max(ks))
        truth = self.codes_[rows]
        chosen = choose_vote(found, self.codes_, truth, ks=ks, temperatures=temperatures)
        return chosen.k, chosen.temperature
