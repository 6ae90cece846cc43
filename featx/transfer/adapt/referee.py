"""Referees: labelled rows of the source that lie near a row of the target say what it is.

They judge heads that disagree.  What they see is local and comes from true labels, so that a method
which follows its own guesses cannot convince them.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import row_blocks
from featx.index.neighbours import unit_rows
from featx.transfer.adapt.alignment import ALIGNMENTS, moments_of
from featx.transfer.adapt.domains import Source, SourceRows

VOTERS = 5
"""Rows of the source that vote on one of the target."""

PEERS = 10
"""Rows of the target whose votes are looked at together."""

Votes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Referees:
    """What neighbours say of rows of the target.

    Attributes
    ----------
    own : ndarray of float64, shape (M, C)
        Share of the nearest rows of the source in each class, the mean over all alignments.
    around : ndarray of float64, shape (M, C)
        The mean of `own` over the nearest other rows of the target.
    competence : float
        What such votes know of the source, each row left out, as a share of what the head knows
        of it; both beyond the commonest class.
    agreement : float
        Share of rows on which the votes after two alignments name one class.
    """

    own: Votes
    around: Votes
    competence: float
    agreement: float


def ask_neighbours(source: Source, rows: SourceRows, X: NDArray[Any]) -> Referees:
    """Return what neighbours say of rows `X` (M, D); time and memory grow with M N.

    Parameters
    ----------
    source : Source
    rows : SourceRows
        Those that vote.
    X : ndarray of float32 or float64, shape (M, D)
    """
    target, n_classes = moments_of(X), len(source.prior)
    own, named = np.zeros((len(X), n_classes)), []
    for align in ALIGNMENTS.values():
        votes = _votes(align(source.moments, target)(X), rows, n_classes)
        own += votes / len(ALIGNMENTS)
        named.append(votes.argmax(axis=1))
    agreed = [float((one == other).mean()) for one, other in combinations(named, 2)]
    near = nearest(X, X, PEERS, centre=target.mean, is_same=True)
    return Referees(
        own=own,
        around=_mean_over(near, own),
        competence=_competence(rows, n_classes),
        agreement=float(np.mean(agreed)),
    )


def _votes(Z: NDArray[Any], rows: SourceRows, n_classes: int, *, is_same: bool = False) -> Votes:
    near = nearest(Z, rows.X, VOTERS, centre=rows.X.mean(axis=0), is_same=is_same)
    votes, every = np.zeros((len(Z), n_classes)), np.arange(len(Z))
    for neighbour in near.T:
        votes[every, rows.codes[neighbour]] += 1
    return np.asarray(votes / near.shape[1])


def _mean_over(near: NDArray[np.int64], votes: Votes) -> Votes:
    """Return the mean of the votes of the rows `near` (M, k) each, one neighbour at a time.

    All at once would be k times the memory, which counts where there are thousands of classes.
    """
    found = np.zeros((len(near), votes.shape[1]))
    for neighbour in near.T:
        found += votes[neighbour]
    return np.asarray(found / near.shape[1])


def _competence(rows: SourceRows, n_classes: int) -> float:
    by_votes = _votes(rows.X, rows, n_classes, is_same=True).argmax(axis=1) == rows.codes
    by_head = rows.held_out.argmax(axis=1) == rows.codes
    guess = float(np.bincount(rows.codes).max()) / len(rows)
    known = float(by_head.mean()) - guess
    # Nobody knows anything: there is nothing to judge.
    return (float(by_votes.mean()) - guess) / known if known > 0 else 0.0


def nearest(
    Q: NDArray[Any], X: NDArray[Any], k: int, *, centre: NDArray[Any], is_same: bool = False
) -> NDArray[np.int64]:
    """Return the `k` rows of `X` (N, D) nearest to each of `Q` (M, D) by cosine, (M, k).

    Parameters
    ----------
    Q, X : ndarray of float32 or float64
    k : int
        Cut to N, or to N - 1 where `Q` is `X`.
    centre : ndarray, shape (D,)
        Taken from all rows first.
    is_same : bool, default False
        Whether `Q` is `X`: then no row is its own neighbour.
    """
    k = min(k, len(X) - is_same)
    held = unit_rows((X - centre).astype(np.float32))
    found = np.empty((len(Q), k), dtype=np.int64)
    for part in row_blocks(Q):
        near = unit_rows((Q[part] - centre).astype(np.float32)) @ held.T
        if is_same:
            near[np.arange(len(near)), np.arange(part.start, part.stop)] = -np.inf
        found[part] = np.argpartition(-near, k - 1, axis=1)[:, :k]
    return found
