"""How one backbone came out of a comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.evaluate.interval import wilson_interval
from featx.evaluate.paired import Paired
from featx.train.choose import CHOOSING_ROWS
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.race import Round, hits_of
from featx.transfer.logme import logme

CHEAP = ("lda", "knn", "centroid")
"""Kinds of head that are fitted beside ridge, however few the items are: all in closed form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one backbone came out of a comparison.

    Attributes
    ----------
    name : str
    dim : int
        Width of an embedding.
    size_bytes : int
        Of its files; 0 if it has none.
    hits, n : int
        Items that its ridge head gets right, left out of the fit, and of how many.
    heads : mapping of str to float
        Kind of head → accuracy, by leave-one-out; ``ridge`` on all `n`, others on at most
        `CHOOSING_ROWS` of them.
    logme : float
        See `featx.transfer.logme.logme`.
    items_per_s : float
        On this machine, without the cache; 0 if time was over before it was measured.
    beside : Paired
        What it is worth beside the best, on the same items; if it was dropped, beside the leader
        of its last round.
    level : float
        Confidence from which it counts as worse than the best.
    is_dropped : bool
        Whether it left the race early; `n` then is smaller than that of others.
    is_on_front : bool
        Whether no other is as accurate and as fast, and better in one of both.  Never without
        speeds.
    """

    name: str
    dim: int
    size_bytes: int
    hits: int
    n: int
    heads: Mapping[str, float]
    logme: float
    items_per_s: float
    beside: Paired
    level: float
    is_dropped: bool = False
    is_on_front: bool = False

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy."""
        return wilson_interval(self.hits, self.n)

    @property
    def is_level(self) -> bool:
        """Whether it cannot be told apart from the best."""
        return not self.is_dropped and self.beside.bounds(self.level)[1] >= 0

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "name": self.name,
            "accuracy": self.accuracy,
            "interval": list(self.interval),
            "n": self.n,
            "level": self.is_level,
            "difference": self.beside.facts(),
            "dropped": self.is_dropped,
            "heads": dict(self.heads),
            "logme": self.logme,
            "items_per_s": round(self.items_per_s, 2) or None,
            "on_front": self.is_on_front,
            "dim": self.dim,
            "size_bytes": self.size_bytes,
        }


def measured(
    contestant: Contestant, last: Round, *, items_per_s: float, with_heads: bool, seed: int
) -> Standing:
    """Return how a backbone stands in the last round that it was in.

    Parameters
    ----------
    contestant : Contestant
    last : Round
    items_per_s : float
    with_heads : bool
        Whether other heads than ridge are fitted.
    seed : int
    """
    hits = last.hits_of(contestant)
    sample = last.sample.thinned(CHOOSING_ROWS, seed=seed)
    material = sample.material(contestant.vectors(sample.ids))
    heads = {"ridge": float(hits.mean())}
    if with_heads:
        found = {kind: hits_of(material, seed=seed, kind=kind) for kind in CHEAP}
        heads |= {kind: float(right.mean()) for kind, right in found.items()}
    return Standing(
        name=contestant.name,
        dim=contestant.backbone.dim,
        size_bytes=contestant.size_bytes,
        hits=int(hits.sum()),
        n=len(hits),
        heads=heads,
        logme=logme(material.rows.X, material.y, len(material.names)),
        items_per_s=items_per_s,
        beside=last.beside(contestant, last.leader),
        level=0.95,
    )


def pareto_front(accuracies: Sequence[float], speeds: Sequence[float]) -> list[bool]:
    """Return which points no other beats in one of both without losing in the other.

    Examples
    --------
    >>> pareto_front([0.9, 0.8, 0.8], [10, 50, 20])
    [True, True, False]
    """
    a, s = np.asarray(accuracies), np.asarray(speeds)
    no_worse = (a[:, None] >= a) & (s[:, None] >= s)
    better = (a[:, None] > a) | (s[:, None] > s)
    is_beaten = np.asarray((no_worse & better).any(axis=0))
    return [bool(each) for each in ~is_beaten]
