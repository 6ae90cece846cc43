"""Fitting: how hard the graph is searched, and how its items vote, measured on items left out."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

from featx.gallery.fitting import (
    NO_CHOICE,
    Wanted,
    facts_of_fit,
    limit_of_novelty,
    most_neighbours,
)
from featx.gallery.postgres.figures import sizes_of
from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.near import MOST_EFFORT, similarities
from featx.gallery.postgres.tables import EFFORT, LINKS, Storage
from featx.index.approximate import FEW_ROWS, TUNED_K
from featx.index.metric import row_norms
from featx.index.neighbours import Neighbours
from featx.index.tuning import QUERIES, Trial, growing
from featx.index.voting import TUNING_ROWS, Choice, Trials, choose_vote, tuning_rows, without_own
from featx.types import Rows, Vectors

LEAST_EFFORT, USUAL_EFFORT = 20, 100
"""``hnsw.ef_search`` that is tried first, and that of a gallery of few rows, which needs none."""

LISTED_ROWS = 200_000
"""Up to so many rows those to be tried are drawn of all; of more, of as many numbers at most."""

_MISSES = 0.3  # a graph finds its own rows more easily: new queries miss more than twice as many
_COMPARED = 25_000_000  # rows that an exact trial by the server looks at
_LEAST_QUERIES, _LEAST_VOTES = 32, 200
_SPARE = 1.5  # numbers drawn for each row that is wanted


@dataclass(frozen=True, slots=True)
class _Asked:
    """A gallery as something that is searched."""

    held: PostgresHeld

    def search(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query."""
        return self.held.nearest(Q, k)


def fit(
    held: PostgresHeld, wanted: Wanted, indexed: Storage | None, trial: Trial | None = None
) -> dict[str, Any]:
    """Tune the search to the recall that is wanted, and choose the vote; return their facts.

    Parameters
    ----------
    held : PostgresHeld
        Without facts of an earlier fit.
    wanted : Wanted
    indexed : "halfvec", "vector" or None
        Numbers of the graph; None where there is none.
    trial : Trial, optional
        Rows to search for; drawn, and compared with all rows by the servers, unless given.
    """
    index: dict[str, Any] = {
        "kind": "hnsw" if indexed else "exact",
        "asked": wanted.kind,
        "recall": wanted.recall,
        "rows": len(held),
        "indexed": indexed or held.shards.tables.storage,
        "settings": {},
    }
    figures: dict[str, Any] = {"recall": None, "latency_ms": None, "size_bytes": 0}
    if len(held):
        trial = trial or _drawn(held, index)
        edges = _edges(held, trial)
        if indexed:
            effort = _effort(held, index, trial, edges, wanted.recall)
            index["settings"] = _settings(effort)
        asked = _Asked(_with(held, index))
        figures = {
            "recall": trial.recall_of_rows(asked, edges),
            "latency_ms": trial.latency_ms(asked),
            "size_bytes": sum(graph for _, graph in held.shards.ask(sizes_of)),
        }
    return facts_of_fit(index, figures, *_vote(_with(held, index)))


def _settings(effort: int) -> dict[str, int]:
    return {"ef_search": effort, "m": LINKS, "ef_construction": EFFORT}


def _with(held: PostgresHeld, index: Mapping[str, Any]) -> PostgresHeld:
    return replace(held, facts={**held.facts, "index": index})


def _edges(held: PostgresHeld, trial: Trial) -> Vectors:
    """Return the similarity of the last true neighbour of each row, of vectors as stored."""
    if not trial.k:
        return np.empty((len(trial.rows), 0), np.float32)
    X = held.vectors(trial.true.rows[:, trial.k - 1])
    norms = row_norms(trial.Q)
    each = zip(trial.Q, norms, X, strict=True)
    return np.array([similarities(q, norm, x[None], held.metric) for q, norm, x in each])


def _effort(
    held: PostgresHeld, index: Mapping[str, Any], trial: Trial, edges: Vectors, recall: float
) -> int:
    """Return the least effort that finds the share that is wanted; the most where none does."""
    if len(held) <= FEW_ROWS:
        return USUAL_EFFORT
    aim = 1 - _MISSES * (1 - recall)
    efforts = list(growing(LEAST_EFFORT, MOST_EFFORT))

    @cache
    def reaches(effort: int) -> bool:
        tried = _with(held, {**index, "settings": _settings(effort)})
        return trial.recall_of_rows(_Asked(tried), edges) >= aim

    at = bisect_left(efforts, True, hi=len(efforts) - 1, key=reaches)
    return efforts[at]


def _drawn(held: PostgresHeld, index: Mapping[str, Any]) -> Trial:
    """Draw rows to search for, fewer of a large gallery, whose true neighbours the servers find."""
    most = max(_LEAST_QUERIES, min(QUERIES, _COMPARED // len(held)))
    rows = _rows(held, most)
    exact = _with(held, {**index, "settings": {}})
    return Trial(rows, held.vectors(rows), _Asked(exact), k=TUNED_K, n=len(held))


def _vote(held: PostgresHeld) -> tuple[Choice, float | None]:
    """Return how rows vote best, and the similarity below which a query is novel."""
    labelled = sum(held.label_counts.values())
    is_labelled, voters = bool(labelled), labelled or len(held)
    if voters < 2:
        return NO_CHOICE, None
    is_graph = held.facts["index"]["kind"] == "hnsw"
    most = TUNING_ROWS if is_graph else max(_LEAST_VOTES, min(TUNING_ROWS, _COMPARED // len(held)))
    rows = _rows(held, most, is_labelled=is_labelled)
    near = held.nearest_labelled if is_labelled else held.nearest
    found = without_own(
        near(held.vectors(rows), most_neighbours(is_labelled=is_labelled) + 1), rows
    )
    choice = NO_CHOICE
    if is_labelled:
        places, at = np.unique(np.append(found.rows, rows), return_inverse=True)
        codes, at = held.label_codes(places), at.ravel()
        near_by = Neighbours(found.similarities, at[: found.rows.size].reshape(found.rows.shape))
        truth = codes[at[found.rows.size :]]
        choice = choose_vote(near_by, codes, truth, Trials(metric=held.metric))
    return choice, limit_of_novelty(found, voters)


def _rows(held: PostgresHeld, most: int, *, is_labelled: bool = False) -> Rows:
    """Draw at most so many rows that can be found, ascending, the same each time."""
    rng = np.random.default_rng(0)
    if len(held) <= LISTED_ROWS:
        rows = held.stored.all(is_labelled=is_labelled)
        if most == TUNING_ROWS:
            return tuning_rows(rows)
        return np.sort(rng.choice(rows, min(most, len(rows)), replace=False))
    there = sum(held.label_counts.values()) if is_labelled else len(held)
    share = there / held.state.next_row
    drawn = int(_SPARE * most / share) + most
    if drawn > LISTED_ROWS:  # few of the numbers are of such rows, as of few labelled ones
        return held.stored.drawn(most, is_labelled=is_labelled)
    numbers = rng.integers(0, held.state.next_row, drawn)
    return np.sort(held.stored.among(np.unique(numbers), is_labelled=is_labelled)[:most])
