"""The choice among the methods without a label of the target, and the refusal.

A method is trusted on a row where it says another class than the head only if neighbours say so too
(`featx.transfer.adapt.referee`).  Confidence, entropy and circular validation are not asked: a
method that follows its own guesses is sure of them, and a map that is undone on the way back always
seems right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.transfer.adapt.domains import Source, SourceRows
from featx.transfer.adapt.methods import METHODS, fit_each
from featx.transfer.adapt.priorshift import is_prior_shift, prior_gain
from featx.transfer.adapt.referee import Referees, ask_neighbours
from featx.transfer.adapt.shift import Shift

MOST_ROWS = 4_000
"""Rows of each domain that methods are compared on, drawn by chance where there are more."""

COMPETENCE = 0.9
"""What referees must know of the source, of what the head knows of it."""

AGREEMENT = 0.6
"""Share of rows on which referees must agree with each other."""

MOST_CHANGED = 0.5
"""Share of rows whose class may change: a head that is wrong oftener is no place to start from."""

SURENESS = 3.0
"""Standard errors by which both referees must find a method better than the head."""

LEAST_GAIN = 0.01
"""Expected gain that is worth another head."""

PRIOR = "prior"

TRIED = tuple(name for name in METHODS if not name.endswith("centroids"))
"""Centroids take each class for one round cloud; wherever they gain, self-training gains more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Rows of the target, and what the head says of them as it is.

    Attributes
    ----------
    X : ndarray of float32 or float64, shape (M, D)
    before : ndarray of int64, shape (M,)
        Classes.
    """

    X: NDArray[Any]
    before: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is thought of a method.

    Attributes
    ----------
    name : str
    gain : float
        Share of rows that are expected to be right more than before: the mean of both referees.
    least : float
        The same by the referee that is less convinced, three standard errors less.
    changed : float
        Share of rows whose class changes.
    """

    name: str
    gain: float
    least: float
    changed: float

    @property
    def is_trusted(self) -> bool:
        """Whether the method may replace the head."""
        return self.is_promising and self.changed <= MOST_CHANGED

    @property
    def is_promising(self) -> bool:
        """Whether referees side with it."""
        return self.least > 0 and self.gain >= LEAST_GAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The method that is chosen, if any.

    Attributes
    ----------
    best : Judged or None
    reason : str
    compared : tuple of Judged
        The most promising first.
    """

    best: Judged | None
    reason: str
    compared: tuple[Judged, ...] = ()


def choose(
    source: Source, rows: SourceRows, target: Asked, shift: Shift, *, seed: int = 0
) -> Choice:
    """Return the method whose changes neighbours find right, or none and why.

    Parameters
    ----------
    source : Source
    rows : SourceRows
        Of the source.
    target : Asked
    shift : Shift
    seed : int, default 0
        Draws rows where there are too many.
    """
    if not shift.is_seen:
        return Choice(best=None, reason="the domains cannot be told apart")
    rng = np.random.default_rng(seed)
    drawn = _drawn(len(target.X), rng)
    X, before = target.X[drawn], target.before[drawn]
    rows = rows.take(_drawn(len(rows), rng))
    if is_prior_shift(source, rows, X, seed=seed):
        return _by_prior(source, X, before)
    referees = ask_neighbours(source, rows, X)
    if problem := _distrust(referees):
        return Choice(best=None, reason=problem)
    judged = [
        judge(name, adapted.linear.codes(X), before, referees)
        for name, adapted in fit_each(TRIED, source, X)
    ]
    compared = tuple(sorted(judged, key=lambda each: -each.gain))
    best = next((each for each in compared if each.is_trusted), None)
    if best is None:
        return Choice(best=None, reason=why_none(compared), compared=compared)
    reason = (
        f"{best.changed:.1%} of the classes change, and labelled neighbours side with the changes"
    )
    return Choice(best=best, reason=reason, compared=compared)


def why_none(compared: Sequence[Judged]) -> str:
    """Return why no method is trusted."""
    bold = next((each for each in compared if each.is_promising), None)
    if bold is None:
        return "no method is surely better than the head as it is"
    return (
        f"{bold.name} is expected to gain {100 * bold.gain:.1f} points, but changes"
        f" {bold.changed:.1%} of the classes, more than {MOST_CHANGED:.0%}: too much to be trusted;"
        f" --method {bold.name} takes it all the same"
    )


def judge(
    name: str, codes: NDArray[np.int64], before: NDArray[np.int64], referees: Referees
) -> Judged:
    """Return what referees think of new classes of rows beside those before.

    Parameters
    ----------
    name : str
    codes, before : ndarray of int64, shape (M,)
    referees : Referees
    """
    every = np.arange(len(codes))
    means, lows = [], []
    for votes in (referees.own, referees.around):
        won = votes[every, codes] - votes[every, before]
        means.append(float(won.mean()))
        lows.append(means[-1] - SURENESS * float(won.std(ddof=1)) / np.sqrt(len(won)))
    return Judged(
        name=name,
        gain=float(np.mean(means)),
        least=float(min(lows)),
        changed=float((codes != before).mean()),
    )


def _distrust(referees: Referees) -> str:
    """Return why referees are not to be asked; empty if they are."""
    if referees.competence < COMPETENCE:
        return (
            f"neighbours know {max(referees.competence, 0):.1%} of what the head knows of its own"
            f" domain, less than {COMPETENCE:.0%}: too little to judge by"
        )
    if referees.agreement < AGREEMENT:
        return (
            f"neighbours agree on {referees.agreement:.0%} of the items: nothing of the source"
            " can be made out in the target"
        )
    return ""


def _drawn(n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.permutation(n)[:MOST_ROWS])


def _by_prior(source: Source, X: NDArray[Any], before: NDArray[np.int64]) -> Choice:
    gain, changed = prior_gain(source, X, before)
    best = Judged(name=PRIOR, gain=gain, least=gain, changed=changed)
    if gain < LEAST_GAIN:
        reason = "all that differs is how common the classes are, and that changes next to nothing"
        return Choice(best=None, reason=reason, compared=(best,))
    reason = "all that differs is how common the classes are"
    return Choice(best=best, reason=reason, compared=(best,))
