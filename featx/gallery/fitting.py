"""Fitting: the index and the vote that suit the rows of a gallery."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.gallery.base import Mask
from featx.gallery.items import Codes
from featx.index.metric import MetricName
from featx.index.neighbours import Index, Neighbours
from featx.index.stack import Stack
from featx.index.tuning import build_tuned
from featx.index.voting import Choice, Trials, choose_vote, leave_one_out, tuning_rows

DEFAULT_K = 5
DEFAULT_TEMPERATURE = 0.07

NOVEL_SHARE = 0.01
"""Share of the gallery's own items that would be called novel."""

NOVEL_ROWS = 100
"""Fewer items than this say nothing about what is novel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What kind of index was asked for.

    Attributes
    ----------
    kind : str
        A name of `featx.index.INDEXES`, or ``"auto"``.
    recall : float
    metric : "cosine", "dot" or "l2"
    """

    kind: str
    recall: float
    metric: MetricName


def fit(
    stack: Stack, wanted: Wanted, labels: Codes, alive: Mask | None
) -> tuple[Index | None, dict[str, Any]]:
    """Build an index and choose the vote; return the facts of both for ``gallery.json``.

    Parameters
    ----------
    stack : Stack
    wanted : Wanted
    labels : ndarray of int32, shape (N,)
        Number of each row's label, -1 for none.
    alive : ndarray of bool, shape (N,), or None
        Rows that can be found; None for all.

    Raises
    ------
    InputError
        If a row is not finite.
    """
    made: dict[str, Any] = {"asked": wanted.kind, "recall": wanted.recall, "rows": len(stack)}
    figures: dict[str, Any] = {"recall": None, "latency_ms": None, "size_bytes": 0}
    index = None
    if not len(stack):
        made |= {"kind": "exact", "settings": {}}
    else:
        kind, index, measured = build_tuned(wanted.kind, stack, wanted.metric, recall=wanted.recall)
        made |= {"kind": kind, "settings": dict(index.settings)}
        figures = {name: getattr(measured, name) for name in figures}
    return index, facts_of_fit(made, figures, *_vote(index, wanted.metric, labels, alive))


def facts_of_fit(
    index: Mapping[str, Any],
    figures: Mapping[str, Any],
    choice: Choice,
    novel_below: float | None,
) -> dict[str, Any]:
    """Return the facts of an index and a vote.

    Parameters
    ----------
    index, figures : mapping
        What was made and what was measured of it.
    choice : Choice
        How items vote.
    novel_below : float or None
        Similarity below which a query is novel.
    """
    accuracy = None if math.isnan(choice.accuracy) else choice.accuracy
    return {
        "index": dict(index),
        "k": choice.k,
        "temperature": choice.temperature,
        "vote": "softmax",
        "novel_below": novel_below,
        "metrics": {"accuracy": accuracy, "n": choice.n, **figures},
    }


NO_CHOICE = Choice(k=DEFAULT_K, temperature=DEFAULT_TEMPERATURE, accuracy=float("nan"), n=0)
"""How items vote of which none is labelled."""


def most_neighbours(*, is_labelled: bool) -> int:
    """Return how many neighbours of an item that is left out are asked for."""
    return max(Trials().ks) if is_labelled else 1


def limit_of_novelty(found: Neighbours, rows: int) -> float | None:
    """Return the similarity below which a query is novel, None where too few rows tell.

    Parameters
    ----------
    found : Neighbours
        Of rows that were left out.
    rows : int
        Rows that may be neighbours.
    """
    if rows < NOVEL_ROWS:
        return None
    return float(np.quantile(found.similarities[:, 0], NOVEL_SHARE))


def _vote(
    index: Index | None, metric: MetricName, labels: Codes, alive: Mask | None
) -> tuple[Choice, float | None]:
    """Return how rows vote best, and the similarity below which a query is novel."""
    choice = NO_CHOICE
    can_be_found = np.ones(len(labels), np.bool_) if alive is None else alive
    voters = can_be_found & (labels >= 0)
    is_labelled = bool(voters.any())
    keep = voters if is_labelled else can_be_found
    rows = np.flatnonzero(keep)
    if index is None or len(rows) < 2:
        return choice, None
    tried = tuning_rows(rows)
    most = most_neighbours(is_labelled=is_labelled)
    found = leave_one_out(index, tried, most, keep=None if keep.all() else keep)
    if is_labelled:
        codes = labels.astype(np.int64)
        choice = choose_vote(found, codes, codes[tried], Trials(metric=metric))
    return choice, limit_of_novelty(found, len(rows))
