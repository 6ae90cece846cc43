"""k-nearest-neighbour classifier over embeddings."""

from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from featx.errors import InputError
from featx.heads.examples import Examples, Facts, Growing, Voter
from featx.heads.knnchecks import (
    Priors,
    check_vote,
    codes_of,
    facts_of,
    plain,
    prior_shares,
    widened,
)
from featx.heads.knntuning import Tuned, left_out, tune
from featx.index.metric import MetricName, unit_rows
from featx.index.neighbours import Neighbours
from featx.index.voting import (
    Weights,
    neighbour_votes,
    prior_ratios,
    reweighted,
    shares_of,
    smoothed_log_shares,
)

_DTYPES = [np.float64, np.float32]
_Shares = NDArray[np.float64]
# What a finite number can say of "every neighbour counts the same".
_HOTTEST = float(np.finfo(np.float64).max)
# Attributes that a pickle leaves out: they are made again, or save a search.
_MADE_AGAIN = {"_examples", "_tuned"}


class KNNClassifier(ClassifierMixin, BaseEstimator):
    """Vote among the `k` most similar training rows; examples can be added and removed.

    Parameters
    ----------
    k : int or "auto", default 5
        ``"auto"`` takes the most accurate of 1, 3, 5, 9, 15 and 25 by leave-one-out on at most
        5,000 rows, and again whenever the rows have doubled since.
    temperature : float or "auto", default 0.07
        Of ``"softmax"``, in units of similarity.  Small: the nearest decides; large: every
        neighbour counts the same.  ``"auto"`` chooses as for `k`.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        Similarity is the cosine, the inner product, or minus the Euclidean distance.
    weights : {"softmax", "uniform", "distance"}, default "softmax"
        A vote weighs ``exp(similarity / temperature)``, the same for all, or one over the
        distance (1 - cosine, or Euclidean), as in scikit-learn: neighbours at none take all.
    priors : None, "uniform", mapping of label to share, or array-like of shape (C,), default None
        How common classes will be, where that differs from the training rows: shares of the vote
        are multiplied by prior over frequency.  Of any sum.  `k` and temperature are chosen
        without them.
    index : str, default "exact"
        ``"auto"`` or a name of `featx.index.INDEXES`.  It searches in float32 whatever the rows
        are in; those that are not exact are tuned to find .99 of the true ten nearest.

    Attributes
    ----------
    classes_ : ndarray, shape (C,)
    gallery_ : ndarray, shape (N, D)
        Training rows in the dtype they came in, of length one if `metric` is ``"cosine"``.
    codes_ : ndarray of int64, shape (N,)
        Position in `classes_` of each row's label.
    ids_, uris_ : ndarray, shape (N,)
    is_there_ : ndarray of bool, shape (N,)
        False where a row was removed; once most are, the others move together.
    k_ : int
    temperature_ : float
        Infinite where votes do not depend on it.
    n_added_ : int or None
        Rows ever added, which number the next; None where ids are given.

    Examples
    --------
    >>> X = np.array([[1, 0], [9, 1], [0, 1]], np.float32)
    >>> head = KNNClassifier(k=1).fit(X, ["east", "east", "north"], ids=["a", "b", "c"])
    >>> head.remove(["c"]).predict([[0, 2]]).tolist()
    ['east']
    >>> head.explain([[0, 2]])[0][0].id
    'b'
    """

    def __init__(
        self,
        k: int | Literal["auto"] = 5,
        temperature: float | Literal["auto"] = 0.07,
        metric: MetricName = "cosine",
        weights: Weights = "softmax",
        priors: Priors = None,
        index: str = "exact",
    ) -> None:
        self.k = k
        self.temperature = temperature
        self.metric = metric
        self.weights = weights
        self.priors = priors
        self.index = index

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        ids: Sequence[Hashable] | None = None,
        uris: Sequence[str] | None = None,
    ) -> Self:
        """Store the gallery and choose what is ``"auto"``.

        Parameters
        ----------
        X : array-like of float32 or float64, shape (N, D)
        y : array-like, shape (N,)
        ids : sequence of hashable, length N, optional
            Names for `remove` and `explain`; 0 to N - 1 unless given.
        uris : sequence of str, length N, optional
            Where each row came from, for `explain`.

        Raises
        ------
        InputError
            If a parameter is out of range, or an id is given twice.
        UnknownNameError
            If there is no index of that kind.
        """
        check_vote(self.k, self.temperature, self.metric, self.weights)
        rows, labels = validate_data(self, X, y, dtype=_DTYPES)
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        prior_shares(self.priors, classes)
        first = 0 if ids is None else None
        facts = facts_of(codes.astype(np.int64), ids, uris, first=first)
        self._start(rows, facts, classes)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        *,
        ids: Sequence[Hashable] | None = None,
        uris: Sequence[str] | None = None,
    ) -> Self:
        """Add rows to the gallery, all or none; the first call fits.

        Costs little beside what the new rows take.

        Parameters
        ----------
        X : array-like of float32 or float64, shape (N, D)
        y : array-like, shape (N,)
        classes : array-like, shape (C,), optional
            Every label that will come; the first call of all needs it.  A later one may name more
            than are known, which are added.
        ids, uris
            As `fit` takes them.  Rows without ids are numbered on from the last; either all rows
            have ids of their own or none.

        Raises
        ------
        InputError
            If a label is not among the classes, an id is there already or given twice, or
            `classes` is missing or leaves a known one out.
        """
        is_first = not hasattr(self, "classes_")
        check_vote(self.k, self.temperature, self.metric, self.weights)
        known = widened(classes, None if is_first else self.classes_)
        rows, labels = validate_data(self, X, y, dtype=_DTYPES, reset=is_first)
        check_classification_targets(labels)
        prior_shares(self.priors, known)
        start = (0 if ids is None else None) if is_first else self.n_added_
        facts = facts_of(codes_of(labels, known), ids, uris, first=start)
        (self._start if is_first else self._grow)(rows, facts, known)
        return self

    def remove(self, ids: Sequence[Hashable]) -> Self:
        """Forget rows, all or none; `k` and temperature stay.

        A class of which no row is left stays in `classes_`, with no share of any vote.

        Parameters
        ----------
        ids : sequence of hashable
            As given to `fit`, or the numbers of rows in the order in which they were added.

        Raises
        ------
        InputError
            If an id is not there or named twice, or if no row would be left.
        """
        check_is_fitted(self)
        self._take(self._examples.without(plain(ids)))
        return self

    def kneighbors(
        self, X: ArrayLike, k: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return similarities and gallery rows of the `k` nearest, each (M, K), nearest first.

        Similarities are float32.  K is smaller than `k` where the gallery is.
        """
        found, _ = self._search(X, k)
        return found.similarities, found.rows

    def predict_proba(self, X: ArrayLike) -> NDArray[Any]:
        """Return each class's share of the vote, shape (M, C), in the dtype of `X`."""
        found, dtype = self._search(X, None)
        return self._shares(found).astype(dtype)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class with the largest share, shape (M,)."""
        winners: NDArray[Any] = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[winners])

    def predict_or_abstain(self, X: ArrayLike, *, below: float) -> NDArray[np.object_]:
        """Return the class with the largest share, or None where that share is under `below`.

        Parameters
        ----------
        X : array-like, shape (M, D)
        below : float, 0 to 1
            At 0 every row has a class; above 1 / C some may have none.

        Returns
        -------
        ndarray of object, shape (M,)

        Raises
        ------
        InputError
            If `below` is out of range.
        """
        if not 0 <= below <= 1:
            raise InputError(f"below: found {below!r}; must be a share, 0 to 1")
        shares = self.predict_proba(X)
        answers: NDArray[np.object_] = self.classes_[shares.argmax(axis=1)].astype(object)
        answers[shares.max(axis=1) < below] = None
        return answers

    def explain(self, X: ArrayLike, k: int | None = None) -> list[list[Voter]]:
        """Return who voted on each row and what their votes weigh, nearest first.

        With the own `k_` the votes for a class sum to its share in `predict_proba`.
        """
        found, _ = self._search(X, k)
        return self._examples.voters(found, self._final_votes(found), self.classes_.tolist())

    @cached_property
    def held_out_logits_(self) -> NDArray[Any]:
        """Logarithm of the exact leave-one-out vote shares, in the gallery's dtype.

        Of the rows that are there, in their order, shape (N, C).  Computed when first asked for,
        which costs a search of those rows that were not held out for tuning.  The shares are
        smoothed by one more neighbour that votes for every class alike.
        """
        check_is_fitted(self)
        examples = self._examples
        found = left_out(examples, self.k_, self.__dict__.get("_tuned"))
        own = np.arange(len(self.classes_)) == examples.facts.codes[examples.rows][:, None]
        shares = self._shares(found, own)
        return smoothed_log_shares(shares, found.rows.shape[1]).astype(self.gallery_.dtype)

    @property
    def tuned_(self) -> dict[str, Any]:
        """What was chosen: ``k``, and ``vote_temperature`` or ``weights``."""
        if self.weights == "softmax":
            return {"k": int(self.k_), "vote_temperature": float(self.temperature_)}
        return {"k": int(self.k_), "weights": self.weights}

    def head_arrays(self) -> dict[str, NDArray[Any]]:
        """Return what `featx.heads.predict.Head` needs to give the same logits.

        Raises
        ------
        InputError
            If the vote is one that a head file does not know.
        """
        check_is_fitted(self)
        for name, allowed in _STORABLE.items():
            found = getattr(self, name)
            if not any(found is each or found == each for each in allowed):
                words = " or ".join(repr(each) for each in allowed)
                message = f"{name}: found {found!r}; a head file holds {words}; or keep a gallery"
                raise InputError(message)
        rows = self._examples.rows
        return {
            "vectors": self.gallery_[rows],
            "codes": self.codes_[rows],
            "k": np.array(self.k_, dtype=np.int64),
            "vote_temperature": np.array(min(self.temperature_, _HOTTEST), dtype=np.float64),
        }

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is made again when it is needed: the index above all."""
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name not in _MADE_AGAIN}

    def _start(self, rows: NDArray[Any], facts: Facts, classes: NDArray[Any]) -> None:
        """Store the first rows."""
        vectors = Growing(self._oriented(rows))
        self._take(Examples(vectors, facts, kind=self.index, metric=self.metric))
        self.classes_ = classes
        self.n_added_: int | None = len(rows) if facts.ids.dtype.kind == "i" else None
        self._choose()

    def _grow(self, rows: NDArray[Any], facts: Facts, classes: NDArray[Any]) -> None:
        """Add rows to those that are there, and classes to those that are known."""
        examples = self._examples
        if len(classes) > len(self.classes_):
            examples = examples.recoded(np.searchsorted(classes, self.classes_))
        self._take(examples.joined(self._oriented(rows), facts))
        self.classes_ = classes
        if self.n_added_ is not None:
            self.n_added_ += len(rows)
        if len(self._examples.rows) >= 2 * self._n_tuned:
            self._choose()

    def _take(self, examples: Examples) -> None:
        """Let `examples` be the gallery, once its index stands."""
        _ = examples.index
        self.__dict__.pop("held_out_logits_", None)
        self._tuned: Tuned | None = None
        self._examples = examples
        self.gallery_ = examples.X
        self.codes_, self.ids_ = examples.facts.codes, examples.facts.ids
        self.uris_, self.is_there_ = examples.facts.uris, examples.is_there

    @cached_property
    def _examples(self) -> Examples:
        """The gallery; made of its arrays where a head was pickled or has nothing else."""
        n = len(self.codes_)
        ids = getattr(self, "ids_", np.arange(n))
        facts = Facts(self.codes_, ids, getattr(self, "uris_", np.full(n, "", object)))
        is_there = getattr(self, "is_there_", None)
        vectors = Growing(self.gallery_)
        return Examples(vectors, facts, kind=self.index, metric=self.metric, is_there=is_there)

    def _search(self, X: ArrayLike, k: int | None) -> tuple[Neighbours, np.dtype[Any]]:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=_DTYPES, reset=False)
        found = self._examples.search(self._oriented(rows), self.k_ if k is None else k)
        return found, rows.dtype

    def _oriented(self, X: NDArray[Any]) -> NDArray[Any]:
        return unit_rows(X) if self.metric == "cosine" else X

    def _votes(self, found: Neighbours) -> NDArray[np.float64]:
        return neighbour_votes(found, self.temperature_, weights=self.weights, metric=self.metric)

    def _shares(self, found: Neighbours, own: NDArray[np.bool_] | None = None) -> _Shares:
        """Return the share of each class; `own` (M, C) marks the class of a row left out."""
        codes = self._examples.facts.codes[found.rows]
        shares = shares_of(self._votes(found), codes, len(self.classes_))
        priors = prior_shares(self.priors, self.classes_)
        if priors is None:
            return shares
        counts = self._examples.counts(len(self.classes_))
        return reweighted(shares, counts if own is None else counts - own, priors)

    def _final_votes(self, found: Neighbours) -> _Shares:
        """Return votes that sum to the shares, where these are not the priors themselves."""
        votes = self._votes(found)
        priors = prior_shares(self.priors, self.classes_)
        if priors is None:
            return votes
        ratios = prior_ratios(self._examples.counts(len(self.classes_)), priors)
        votes *= ratios[self._examples.facts.codes[found.rows]]
        total = votes.sum(axis=1, keepdims=True)
        return np.asarray(votes / np.where(total > 0, total, 1))

    def _choose(self) -> None:
        """Choose what is ``"auto"``."""
        tuned = tune(self._examples, self.k, self.temperature, self.weights, self.metric)
        self.k_, self.temperature_ = tuned.k, tuned.temperature
        self._n_tuned, self._tuned = len(self._examples.rows), tuned


_STORABLE: dict[str, tuple[Any, ...]] = {
    "metric": ("cosine",),
    "weights": ("softmax", "uniform"),
    "priors": (None,),
}
"""Parameter → the values of which `featx.heads.predict` knows what they do."""
