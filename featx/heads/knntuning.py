"""Choosing the vote of neighbours by leaving rows out, and using what was found on the way."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from featx.heads.examples import Examples
from featx.index.metric import MetricName
from featx.index.neighbours import Neighbours
from featx.index.voting import CHOICES_OF_K, Trials, Weights, choose_vote, tuning_rows
from featx.types import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What was chosen, and what was found to choose it.

    Attributes
    ----------
    k : int
    temperature : float
        Infinite where votes do not depend on it.
    rows : ndarray of int64, shape (M,)
        Rows that were held out, ascending; none where nothing was to be chosen.
    found : Neighbours
        Of these rows, at least `k` where there are as many.
    """

    k: int
    temperature: float
    rows: Rows
    found: Neighbours


def tune(
    examples: Examples,
    k: int | Literal["auto"],
    temperature: float | Literal["auto"],
    weights: Weights,
    metric: MetricName,
) -> Tuned:
    """Return the most accurate of what is ``"auto"``, on the rows of `tuning_rows`."""
    temperature = temperature if weights == "softmax" else math.inf
    if k != "auto" and temperature != "auto":
        nothing = Neighbours(np.empty((0, k), np.float32), np.empty((0, k), np.int64))
        return Tuned(k=int(k), temperature=float(temperature), rows=np.arange(0), found=nothing)
    trials = Trials(
        ks=CHOICES_OF_K if k == "auto" else (int(k),),
        temperatures=None if temperature == "auto" else (float(temperature),),
        weights=weights,
        metric=metric,
    )
    rows = tuning_rows(examples.rows)
    found = examples.without_itself(rows, max(trials.ks))
    codes = examples.facts.codes
    chosen = choose_vote(found, codes, codes[rows], trials)
    # Of a few rows fewer can be tried than were asked for, but rows to come may make up for them.
    asked = chosen.k if k == "auto" else int(k)
    return Tuned(k=asked, temperature=chosen.temperature, rows=rows, found=found)


def left_out(examples: Examples, k: int, tuned: Tuned | None) -> Neighbours:
    """Return the `k` neighbours of each row that is there, without itself.

    Parameters
    ----------
    examples : Examples
    k : int
    tuned : Tuned, optional
        Rows that need no second search; of the same examples and at least this `k`.
    """
    if tuned is None or not len(tuned.rows):
        return examples.without_itself(examples.rows, k)
    n, k = len(examples.rows), min(k, len(examples.rows) - 1)
    is_known = np.isin(examples.rows, tuned.rows)
    parts = [(is_known, tuned.found)]
    if not is_known.all():
        parts.append((~is_known, examples.without_itself(examples.rows[~is_known], k)))
    whole = Neighbours(np.empty((n, k), np.float32), np.empty((n, k), np.int64))
    for part, found in parts:
        whole.similarities[part], whole.rows[part] = found.similarities[:, :k], found.rows[:, :k]
    return whole
