"""How neighbours vote, and which vote is best on rows left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from featx.index.metric import MetricName, distances
from featx.index.neighbours import Index, Neighbours
from featx.types import Rows

Weights = Literal["softmax", "uniform", "distance"]
"""What a neighbour's vote weighs: ``exp(similarity / T)``, the same, or one over its distance."""

CHOICES_OF_K = (1, 3, 5, 9, 15, 25)
CHOICES_OF_TEMPERATURE = (0.02, 0.05, 0.07, 0.1, 0.2)
"""Of cosines; of other similarities see `temperatures_for`."""

TUNING_ROWS = 5_000
"""Rows held out, one at a time, to choose `k` and the temperature."""

SHARE_FLOOR = 1e-6
"""Vote share of a class without a vote, where a logarithm is taken."""

LEAST_COSINE_DISTANCE = 2.0**-22
"""Cosine distances up to this are none: rows of length one in float32 tell no smaller apart."""


def neighbour_votes(
    neighbours: Neighbours,
    temperature: float,
    *,
    weights: Weights = "softmax",
    metric: MetricName = "cosine",
) -> NDArray[np.float64]:
    """Return the vote of each neighbour, shape (M, K); rows sum to one where K > 0.

    Parameters
    ----------
    neighbours : Neighbours
        Of M queries.
    temperature : float, > 0
        Of ``"softmax"``; infinity counts every neighbour the same.
    weights : {"softmax", "uniform", "distance"}, default "softmax"
        ``"distance"`` is one over the distance; neighbours at none share the whole vote, as in
        scikit-learn.
    metric : {"cosine", "dot", "l2"}, default "cosine"
        What the similarities are; asked of ``"distance"`` only.

    Raises
    ------
    InputError
        If votes by distance are asked of inner products, which have none.

    Examples
    --------
    >>> two = Neighbours(np.array([[0.8, 0.4]], np.float32), np.array([[1, 0]]))
    >>> neighbour_votes(two, 1.0, weights="distance").round(3).tolist()
    [[0.75, 0.25]]
    """
    similarities = neighbours.similarities.astype(np.float64)
    if not similarities.shape[1]:
        return similarities
    if weights == "distance":
        weighed = _inverse_distances(similarities, metric)
    elif weights == "uniform":
        weighed = np.ones(similarities.shape)
    else:
        weighed = np.exp((similarities - similarities.max(axis=1, keepdims=True)) / temperature)
    return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))


def _inverse_distances(
    similarities: NDArray[np.float64], metric: MetricName
) -> NDArray[np.float64]:
    """Return the nearest distance over each, which no distance overflows."""
    found = distances(similarities, metric)
    found = np.where(found <= (LEAST_COSINE_DISTANCE if metric == "cosine" else 0), 0, found)
    nearest = found.min(axis=1, keepdims=True)
    # Where there is none each neighbour at none weighs one.
    inverse = nearest / np.where(found > 0, found, 1)
    return np.asarray(np.where(nearest > 0, inverse, found == 0), np.float64)


def shares_of(votes: NDArray[np.float64], codes: Rows, n_classes: int) -> NDArray[np.float64]:
    """Return the sum of votes (M, K) for each class, by the class (M, K) that each is for."""
    m, k = votes.shape
    if not k:
        return np.full((m, n_classes), 1 / n_classes)
    cells = np.arange(m)[:, None] * n_classes + codes
    shares = np.bincount(cells.ravel(), votes.ravel(), minlength=m * n_classes)
    return np.asarray(shares.reshape(m, n_classes))


def reweighted(
    shares: NDArray[np.float64], frequencies: ArrayLike, priors: ArrayLike
) -> NDArray[np.float64]:
    """Return shares as they would be if classes were as common as `priors` says (Bayes).

    Each is multiplied by its class's prior and divided by its frequency, and rows are made to sum
    to one again (Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier
    to new a priori probabilities", equation 2.4).

    Parameters
    ----------
    shares : ndarray of float64, shape (M, C)
    frequencies : array-like, shape (C,) or (M, C)
        How common each class is among the rows that could vote; of any sum.
    priors : array-like, shape (C,)
        Of any sum; a class of prior 0 gets no share.

    Returns
    -------
    ndarray of float64, shape (M, C)
        A row whose votes are all for classes of prior 0 has the priors themselves.

    Examples
    --------
    >>> reweighted(np.array([[0.75, 0.25]]), [3, 1], [1, 1]).tolist()
    [[0.5, 0.5]]
    """
    wanted = np.asarray(priors, np.float64) / np.sum(priors)
    moved = shares * prior_ratios(frequencies, wanted)
    total = moved.sum(axis=1, keepdims=True)
    return np.where(total > 0, moved / np.where(total > 0, total, 1), wanted)


def prior_ratios(frequencies: ArrayLike, priors: ArrayLike) -> NDArray[np.float64]:
    """Return prior over frequency, in the shape of `frequencies`; 0 for a class without rows."""
    common = np.asarray(frequencies, np.float64)
    return np.where(common > 0, np.asarray(priors) / np.where(common > 0, common, 1), 0)


def smoothed_log_shares(shares: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the logarithm of shares of a vote after one more neighbour voted for every class.

    Without it one neighbour out of one would make a class certain, whatever it is worth.

    Parameters
    ----------
    shares : ndarray of float64, shape (M, C)
    k : int
        Neighbours that voted.

    Examples
    --------
    >>> np.exp(smoothed_log_shares(np.array([[1.0, 0.0]]), 1)).tolist()
    [[0.75, 0.25]]
    """
    return np.asarray(np.log((k * shares + 1 / shares.shape[1]) / (k + 1)))


def leave_one_out(
    index: Index, rows: Rows, k: int, *, keep: NDArray[np.bool_] | None = None
) -> Neighbours:
    """Return the neighbours of gallery rows, each without itself.

    Parameters
    ----------
    index : Index
    rows : ndarray of int64, shape (M,)
        Some of its rows; where `keep` is given, of those that it marks.
    k : int
    keep : ndarray of bool, shape (N,), optional
        Rows that may be neighbours.

    Returns
    -------
    Neighbours
        With `k` columns, or one less than there are rows that may be neighbours.
    """
    return without_own(index.search(index.stack.take(rows), k + 1, keep=keep), rows)


def without_own(found: Neighbours, rows: Rows) -> Neighbours:
    """Return neighbours of gallery rows (M,) without each row itself, one column less.

    Among more equal rows than were asked for a row may not be its own neighbour; then its last
    one goes, which is as near.
    """
    own = found.rows == rows[:, None]
    last = found.rows.shape[1] - 1
    drop = np.where(own.any(axis=1), own.argmax(axis=1), last)
    kept = np.arange(last + 1) != drop[:, None]
    shape = (len(rows), last)
    return Neighbours(found.similarities[kept].reshape(shape), found.rows[kept].reshape(shape))


def tuning_rows(rows: Rows) -> Rows:
    """Return at most `TUNING_ROWS` of some rows, drawn the same each time, in their order."""
    if len(rows) <= TUNING_ROWS:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, TUNING_ROWS, replace=False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How neighbours shall vote, and how well that did.

    Attributes
    ----------
    k : int
    temperature : float
    accuracy : float
        Share of right votes; NaN where nothing could be tried.
    n : int
        Votes it was measured on.
    """

    k: int
    temperature: float
    accuracy: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What `choose_vote` tries: each `k` with each temperature.

    Attributes
    ----------
    ks : sequence of int
        Each beyond the neighbours at hand is passed over.
    temperatures : sequence of float, optional
        Those of `temperatures_for` unless given; only the first where votes do not depend on it.
    weights, metric
        As `neighbour_votes` takes them.
    """

    ks: Sequence[int] = CHOICES_OF_K
    temperatures: Sequence[float] | None = None
    weights: Weights = "softmax"
    metric: MetricName = "cosine"


def temperatures_for(neighbours: Neighbours, metric: MetricName) -> tuple[float, ...]:
    """Return the temperatures to try: those of cosines are known, others depend on the vectors.

    Cosines of the nearest and the farthest of some ten neighbours differ by about a tenth; other
    similarities are scaled as if their difference, in the median, were that.
    """
    if metric == "cosine" or not neighbours.similarities.size:
        return CHOICES_OF_TEMPERATURE
    span = np.median(neighbours.similarities[:, 0] - neighbours.similarities[:, -1])
    scale = 10 * float(span) or 1.0  # all are equally near
    return tuple(scale * temperature for temperature in CHOICES_OF_TEMPERATURE)


def choose_vote(
    neighbours: Neighbours, codes: Rows, truth: Rows, trials: Trials | None = None
) -> Choice:
    """Return the most accurate `k` and temperature; of equals, the one of the higher likelihood.

    Parameters
    ----------
    neighbours : Neighbours
        Of M held-out rows, from `leave_one_out`.
    codes : ndarray of int64, shape (N,)
        Class of each gallery row.
    truth : ndarray of int64, shape (M,)
        Class of each held-out row.
    trials : Trials, optional
        What to try.

    Raises
    ------
    InputError
        As `neighbour_votes` does.
    """
    trials = trials or Trials()
    most = neighbours.rows.shape[1]
    temperatures = trials.temperatures or temperatures_for(neighbours, trials.metric)
    temperatures = temperatures if trials.weights == "softmax" else temperatures[:1]
    best = Choice(k=trials.ks[0], temperature=temperatures[0], accuracy=float("nan"), n=0)
    if not len(truth) or not most:
        return best
    of_neighbour = codes[neighbours.rows]
    n_classes = int(codes.max()) + 1
    best_rank = (-1.0, 0.0)
    for k in [k for k in trials.ks if k <= most] or [most]:
        nearest = Neighbours(neighbours.similarities[:, :k], neighbours.rows[:, :k])
        for temperature in temperatures:
            votes = neighbour_votes(
                nearest, temperature, weights=trials.weights, metric=trials.metric
            )
            rank = _rank(shares_of(votes, of_neighbour[:, :k], n_classes), truth)
            if rank > best_rank:
                best_rank = rank
                best = Choice(k=k, temperature=temperature, accuracy=rank[0], n=len(truth))
    return best


def _rank(shares: NDArray[np.float64], truth: Rows) -> tuple[float, float]:
    """Return the accuracy of shares and the mean logarithm of those of the true classes."""
    own = np.maximum(shares[np.arange(len(truth)), truth], SHARE_FLOOR)
    return float((shares.argmax(axis=1) == truth).mean()), float(np.log(own).mean())
