"""Storage: whether vectors are stored as numbers of 16 or 32 bits, and what the graph compares."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from featx.errors import InputError
from featx.gallery.postgres.load import LARGEST_HALF
from featx.gallery.postgres.tables import MOST_DIM, MOST_INDEXED, Storage
from featx.index.flat import NumpyFlat
from featx.index.metric import MetricName, unit_rows
from featx.index.stack import Stack
from featx.index.tuning import MISSES, Trial

AskedStorage = Literal["auto", "halfvec", "vector"]

_TRIED = 64  # queries of a trial whose neighbours are ranked in halves


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How vectors are stored and compared.

    Attributes
    ----------
    storage : "halfvec" or "vector"
    indexed : "halfvec", "vector" or None
        Numbers that the graph compares; None where there is no graph.
    """

    storage: Storage
    indexed: Storage | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What is asked of the storage.

    Attributes
    ----------
    storage : "auto", "halfvec" or "vector"
    metric : "cosine", "dot" or "l2"
    recall : float
        Share of the nearest to be found.
    is_exact : bool
        Whether no graph is wanted.
    """

    storage: AskedStorage
    metric: MetricName
    recall: float
    is_exact: bool


def layout_for(stack: Stack, trial: Trial, needs: Needs) -> Layout:
    """Choose how to store vectors: in halves where these rank the nearest as they are.

    Rounding alone may miss 30 % of what the recall allows; the graph misses the others.  Where
    halves do not rank the rows so well the graph compares 32 bits too, or there is none.

    Raises
    ------
    InputError
        If pgvector cannot store vectors so wide, or numbers so large.
    """
    if stack.dim > MOST_DIM:
        raise InputError(f"vectors of {stack.dim:,} numbers; pgvector stores up to {MOST_DIM:,}")
    fits = needs.metric == "cosine" or _fits_halves(stack)
    if needs.storage == "halfvec" and not fits:
        raise InputError(
            f"--storage halfvec: numbers above {LARGEST_HALF:,.0f}, the largest of 16 bits; "
            "use --storage vector"
        )
    is_fine = needs.storage == "halfvec" or (
        fits
        and stack.dim <= MOST_INDEXED["halfvec"]
        and recall_in_halves(stack, trial, needs.metric) >= 1 - (1 - MISSES) * (1 - needs.recall)
    )
    compared: Storage = "halfvec" if is_fine else "vector"
    storage = compared if needs.storage == "auto" else needs.storage
    has_graph = not needs.is_exact and stack.dim <= MOST_INDEXED[compared]
    return Layout(storage=storage, indexed=compared if has_graph else None)


def _fits_halves(stack: Stack) -> bool:
    """Return whether 16 bits hold each number; long rows of many may have small ones."""
    return stack.largest_norm <= LARGEST_HALF or all(
        float(np.abs(block).max(initial=0)) <= LARGEST_HALF for _, block in stack.blocks()
    )


def recall_in_halves(stack: Stack, trial: Trial, metric: MetricName) -> float:
    """Return the share of true nearest that are still so once all numbers are rounded to 16 bits.

    Only the neighbours of a trial and some that are nearly as near are ranked: rounding hardly
    ever moves others so far.  Of rows that halves do not tell apart the least near are taken.
    """
    if not trial.k:  # one row alone
        return 1.0
    true = trial.true
    is_nearest = true.similarities >= trial.edges
    hits = []
    for rows, wanted, q in zip(true.rows[:_TRIED], is_nearest, trial.Q, strict=False):
        X = np.concatenate([q[None], stack.take(rows[::-1])])  # of equal ones the first is found
        X = unit_rows(X) if metric == "cosine" else X
        halves = X.astype(np.float16).astype(np.float32)
        found = NumpyFlat(Stack([halves[1:]]), metric).search(halves[:1], trial.k).rows[0]
        hits.append(wanted[::-1][found].mean())
    return float(np.mean(hits))
