"""Rounds of looking at more and more items, which leave fewer and fewer backbones."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.paired import Paired
from featx.train.candidates import fit
from featx.train.material import Material
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.embedder import Embedder, Group
from featx.transfer.compare.pool import PAIR, Pool
from featx.transfer.compare.recipe import ENCODING_SHARE, FIRST_ROWS, Clock, Recipe, Watch
from featx.transfer.compare.sample import Sample, common_sample

SURELY = 0.997
"""Confidence from which a backbone is dropped on the way: three standard errors.

There are several rounds, and one that is dropped does not come back.
"""

TIED = 0.6827
"""Confidence below which backbones are tied: one standard error."""

# A round that would add less than a quarter of the items tells nothing new.
_LEAST_GROWTH = 1.25
# Of the time that is left a round is planned to take so much: rates are estimates.
_CAUTION = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What items say of the backbones that were still in the race.

    Attributes
    ----------
    size : int
        Items of the pool that were looked at.
    sample : Sample
    contestants : tuple of Contestant
    hits : tuple of ndarray of bool, shape (N,)
        Of each: which items its ridge head gets right, left out of the fit.
    """

    size: int
    sample: Sample
    contestants: tuple[Contestant, ...]
    hits: tuple[NDArray[np.bool_], ...]

    @property
    def leader(self) -> Contestant:
        """The backbone with most hits, the first of several."""
        return self.contestants[int(np.argmax([hits.sum() for hits in self.hits]))]

    def hits_of(self, contestant: Contestant) -> NDArray[np.bool_]:
        """Return which items one of the backbones gets right, (N,)."""
        return self.hits[self.contestants.index(contestant)]

    def beside(self, contestant: Contestant, other: Contestant) -> Paired:
        """Return what one of the backbones is worth beside another."""
        return Paired.of(self.hits_of(other), self.hits_of(contestant))

    def is_tied(self, contestant: Contestant) -> bool:
        """Return whether a backbone is within a standard error of the leader."""
        return self.beside(contestant, self.leader).bounds(TIED)[1] >= 0

    def survivors(self) -> list[Contestant]:
        """Return the backbones that are not surely worse than the leader."""
        leader = self.leader
        return [
            each for each in self.contestants if self.beside(each, leader).bounds(SURELY)[1] >= 0
        ]


def run_race(
    contestants: Sequence[Contestant],
    embedder: Embedder,
    pool: Pool,
    recipe: Recipe,
    clock: Clock,
    watch: Watch,
) -> list[Round]:
    """Embed and judge: all items in one round, or by a budget in rounds of twice as many each.

    After each round those that are surely worse than the leader drop out.  A round that the
    budget does not suffice for is given up; what it embedded stays in the cache.

    Parameters
    ----------
    contestants : sequence of Contestant
        Two or more.
    embedder : Embedder
    pool : Pool
    recipe : Recipe
    clock : Clock
    watch : Watch

    Returns
    -------
    list of Round
        One at least.
    """
    target = recipe.most(len(pool), len(pool.names))
    size = _first_size(pool, target, recipe)
    rounds: list[Round] = []
    alive, done = list(contestants), 0
    while size > done:
        ids = pool.ids[done:size]
        groups = embedder.groups(alive, ids, left_s=clock.left_s(ENCODING_SHARE))
        if not _embedded(groups, ids, clock, watch, is_first=not rounds):
            break
        rounds.append(_judged(pool, size, alive, recipe.seed))
        alive, done = rounds[-1].survivors(), size
        if len(alive) > 1:
            going_on = [group for group in groups if set(group.contestants) & set(alive)]
            size = _next_size(sum(group.item_s for group in going_on), done, target, clock)
    return rounds


def _judged(pool: Pool, size: int, alive: Sequence[Contestant], seed: int) -> Round:
    sample = common_sample(pool, size, alive)
    hits = [hits_of(sample.material(each.vectors(sample.ids)), seed=seed) for each in alive]
    return Round(size=size, sample=sample, contestants=tuple(alive), hits=tuple(hits))


def hits_of(material: Material, *, seed: int, kind: str = "ridge") -> NDArray[np.bool_]:
    """Return which items a head gets right by exact leave-one-out, (N,)."""
    logits = fit(kind, material, seed=seed).logits
    return np.asarray(logits.argmax(axis=1) == material.y)


def _embedded(
    groups: Sequence[Group], ids: Sequence[str], clock: Clock, watch: Watch, *, is_first: bool
) -> bool:
    """Return whether all have embedded further items; the first ones whatever it takes."""

    def is_over() -> bool:
        return not is_first and clock.left_s(ENCODING_SHARE) == 0

    for each in groups:

        def tell(done: int, total: int, name: str = each.name) -> None:
            watch.progress(name, done, total)

        if is_over() or not each.embed(ids, is_over=is_over, on_progress=tell):
            return False
    return True


def _first_size(pool: Pool, target: int, recipe: Recipe) -> int:
    if recipe.budget_s is None:
        return target
    return min(max(FIRST_ROWS, PAIR * len(pool.names)), target)


def _next_size(item_s: float, done: int, target: int, clock: Clock) -> int:
    """Return how many items the next round may have; as many as before if it is not worth it."""
    left_s = _CAUTION * clock.left_s(ENCODING_SHARE)
    size = min(2 * done, target)
    if np.isfinite(left_s):
        size = min(size, done + int(left_s / item_s))
    return size if size == target or size >= _LEAST_GROWTH * done else done
