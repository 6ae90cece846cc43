"""Fitting: the index and the vote that suit the rows of a gallery."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.gallery.base import Mask
from featx.gallery.items import Codes
from featx.index.metric import MetricName
from featx.index.neighbours import Index
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
    choice, novel_below = _vote(index, wanted.metric, labels, alive)
    accuracy = None if math.isnan(choice.accuracy) else choice.accuracy
    return index, {
        "index": made,
        "k": choice.k,
        "temperature": choice.temperature,
        "vote": "softmax",
        "novel_below": novel_below,
        "metrics": {"accuracy": accuracy, "n": choice.n, **figures},
    }


def _vote(
    index: Index | None, metric: MetricName, labels: Codes, alive: Mask | None
) -> tuple[Choice, float | None]:
    """Return how rows vote best, and the similarity below which a query is novel."""
    choice = Choice(k=DEFAULT_K, temperature=DEFAULT_TEMPERATURE, accuracy=float("nan"), n=0)
    can_be_found = np.ones(len(labels), np.bool_) if alive is None else alive
    voters = can_be_found & (labels >= 0)
    is_labelled = bool(voters.any())
    keep = voters if is_labelled else can_be_found
    rows = np.flatnonzero(keep)
    if index is None or len(rows) < 2:
        return choice, None
    tried = tuning_rows(rows)
    most = max(Trials().ks) if is_labelled else 1
    found = leave_one_out(index, tried, most, keep=None if keep.all() else keep)
    if is_labelled:
        codes = labels.astype(np.int64)
        choice = choose_vote(found, codes, codes[tried], Trials(metric=metric))
    if len(rows) < NOVEL_ROWS:
        return choice, None
    return choice, float(np.quantile(found.similarities[:, 0], NOVEL_SHARE))
