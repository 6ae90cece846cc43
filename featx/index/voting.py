"""How neighbours vote, and which vote is best on rows left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.index.neighbours import Index, Neighbours
from featx.types import Rows, Vectors

CHOICES_OF_K = (1, 3, 5, 9, 15, 25)
CHOICES_OF_TEMPERATURE = (0.02, 0.05, 0.07, 0.1, 0.2)
SHARE_FLOOR = 1e-6
"""Vote share of a class without a vote, where a logarithm is taken."""


def vote(
    neighbours: Neighbours, codes: Rows, n_classes: int, temperature: float
) -> NDArray[np.float64]:
    """Return each class's share of a vote weighted by ``exp(similarity / temperature)``.

    Parameters
    ----------
    neighbours : Neighbours
        Of M queries.
    codes : ndarray of int64, shape (N,)
        Class of each row of the gallery, 0 to `n_classes` - 1.
    n_classes : int
    temperature : float, > 0

    Returns
    -------
    ndarray of float64, shape (M, n_classes)
        Rows sum to one; equal shares where a query has no neighbour.

    Examples
    --------
    >>> two = Neighbours(np.array([[1, 0.5]], np.float32), np.array([[1, 0]]))
    >>> vote(two, np.array([0, 1]), 2, 1.0).round(3).tolist()
    [[0.378, 0.622]]
    """
    similarities = neighbours.similarities.astype(np.float64)
    m, k = similarities.shape
    if not k:
        return np.full((m, n_classes), 1 / n_classes)
    weights = np.exp((similarities - similarities[:, :1]) / temperature)
    cells = np.arange(m)[:, None] * n_classes + codes[neighbours.rows]
    votes = np.bincount(cells.ravel(), weights.ravel(), minlength=m * n_classes)
    shares: NDArray[np.float64] = votes.reshape(m, n_classes) / weights.sum(axis=1, keepdims=True)
    return shares


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


def leave_one_out(index: Index, X: Vectors, rows: Rows, k: int) -> Neighbours:
    """Return the neighbours of gallery rows, each without itself.

    Parameters
    ----------
    index : Index
        Built over `X`.
    X : ndarray of float32, shape (N, D)
    rows : ndarray of int64, shape (M,)
    k : int

    Returns
    -------
    Neighbours
        With min(`k`, N - 1) columns.
    """
    found = index.search(X[rows], k + 1)
    own = found.rows == rows[:, None]
    last = found.rows.shape[1] - 1
    # Among more than k equal rows a row may not be its own neighbour; then the last one goes.
    drop = np.where(own.any(axis=1), own.argmax(axis=1), last)
    kept = np.arange(last + 1) != drop[:, None]
    shape = (len(rows), last)
    return Neighbours(found.similarities[kept].reshape(shape), found.rows[kept].reshape(shape))


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


def choose_vote(
    neighbours: Neighbours,
    codes: Rows,
    truth: Rows,
    *,
    ks: Sequence[int] = CHOICES_OF_K,
    temperatures: Sequence[float] = CHOICES_OF_TEMPERATURE,
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
    ks, temperatures : sequence
        What to try; each `k` beyond the neighbours at hand is passed over.
    """
    m, most = neighbours.rows.shape
    best = Choice(k=ks[0], temperature=temperatures[0], accuracy=float("nan"), n=0)
    if not m or not most:
        return best
    best_rank = (-1.0, 0.0)
    n_classes = int(codes.max()) + 1
    for k in [k for k in ks if k <= most] or [most]:
        nearest = Neighbours(neighbours.similarities[:, :k], neighbours.rows[:, :k])
        for temperature in temperatures:
            shares = vote(nearest, codes, n_classes, temperature)
            accuracy = float((shares.argmax(axis=1) == truth).mean())
            own = np.maximum(shares[np.arange(m), truth], SHARE_FLOOR)
            rank = (accuracy, float(np.log(own).mean()))
            if rank > best_rank:
                best_rank = rank
                best = Choice(k=k, temperature=temperature, accuracy=accuracy, n=m)
    return best
