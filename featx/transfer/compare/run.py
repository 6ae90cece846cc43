"""From labelled items and backbones to a comparison."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from featx.backbone.backbone import Backbone
from featx.data.sources.chosen import Chosen
from featx.data.sources.options import DescribedSource
from featx.errors import InputError
from featx.train.choose import CHOOSING_ROWS
from featx.transfer.compare.comparison import Comparison
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.embedder import Embedder
from featx.transfer.compare.mixes import Mix, try_mixes
from featx.transfer.compare.pool import Pool, list_labelled
from featx.transfer.compare.race import Round, run_race
from featx.transfer.compare.recipe import Clock, Recipe, Watch
from featx.transfer.compare.speed import MOST_TIMED, items_per_s
from featx.transfer.compare.standing import Standing, measured, pareto_front
from featx.types import Content

SHOWN_PROBLEMS = 10


def compare(
    source: DescribedSource,
    backbones: Sequence[Backbone],
    recipe: Recipe | None = None,
    *,
    cache: Path | None = None,
    watch: Watch | None = None,
) -> Comparison:
    """Compare backbones by what simple heads make of their embeddings of labelled items.

    Backbones are ranked by the exact leave-one-out accuracy of a ridge head on the same items; of
    those that are tied for the first place, the one of the largest LogME has it; see
    docs/compare.md.

    Parameters
    ----------
    source : DescribedSource
        Can be listed more than once.
    backbones : sequence of Backbone
        Two or more, all of the source's modality.
    recipe : Recipe, optional
    cache : Path or None
        The user-wide cache; None works without one.
    watch : Watch, optional

    Raises
    ------
    InputError
        If there are fewer than two backbones, the labels do not suffice, or too few items can be
        embedded.
    """
    recipe, watch = recipe or Recipe(), watch or Watch()
    _require_several(backbones)
    clock = Clock(recipe.budget_s)
    pool = list_labelled(source, seed=recipe.seed)
    with TemporaryDirectory(prefix="featx-compare-") as folder:
        contestants = [Contestant(backbone) for backbone in backbones]
        embedder = Embedder(source, Path(folder), cache=cache)
        rounds = run_race(contestants, embedder, pool, recipe, clock, watch)
        speeds = items_per_s(contestants, lambda: _contents(source, pool), left_s=clock.left_s)
        ending = _Ending(rounds, recipe, clock)
        standings = ending.standings(contestants, speeds)
        mixes = ending.mixes([contestants[number] for number, _ in standings])
    skipped = _skipped(pool, rounds)
    return Comparison(
        modality=backbones[0].manifest.modality,
        labelled=len(pool),
        looked_at=rounds[-1].size,
        compared=len(rounds[-1].sample),
        classes=rounds[-1].sample.n_classes,
        standings=tuple(standing for _, standing in standings),
        mixes=mixes,
        problems=_problems(skipped, contestants),
        skipped=len(skipped),
        notes=(*_notes(contestants, rounds[-1], standings[0][1]), *ending.notes),
        seconds=round(clock.spent_s, 3),
    )


def _require_several(backbones: Sequence[Backbone]) -> None:
    if len(backbones) > 1:
        return
    found = f"one backbone, {backbones[0].manifest.name}" if backbones else "no backbone"
    others = "name, fetch or add others, see: featx models list"
    message = f"compare: {found}; expected two or more; {others}"
    raise InputError(message)


def _contents(source: DescribedSource, pool: Pool) -> list[Content]:
    """Return what the first items of the pool hold, in its order."""
    first = pool.ids[:MOST_TIMED]
    found = {item.id: item.content for item in Chosen(source, set(first)) if not item.problem}
    return [found[each] for each in first if each in found]


class _Ending:
    """What follows the race: other heads, ranks, and mixes; as far as time allows."""

    def __init__(self, rounds: Sequence[Round], recipe: Recipe, clock: Clock) -> None:
        self._rounds = rounds
        self._seed = recipe.seed
        self._clock = clock
        self.notes: list[str] = []

    def standings(
        self, contestants: Sequence[Contestant], speeds: Sequence[float]
    ) -> list[tuple[int, Standing]]:
        """Return number and standing of each backbone, the best first, those dropped last."""
        both = enumerate(zip(contestants, speeds, strict=True))
        found = {number: self._standing(each, speed) for number, (each, speed) in both}
        last = [n for n, each in enumerate(contestants) if each in self._rounds[-1].contestants]
        tied = [number for number in last if self._rounds[-1].is_tied(contestants[number])]
        best = max(tied, key=lambda number: (found[number].logme, found[number].hits))
        level = 1 - 0.05 / max(1, len(last) - 1)
        for number in last:
            beside = self._rounds[-1].beside(contestants[number], contestants[best])
            found[number] = replace(found[number], beside=beside, level=level)
        on_front = [False] * len(speeds)
        if all(speeds):
            on_front = pareto_front([each.accuracy for each in found.values()], speeds)
        else:
            self.notes.append("time was over before speeds were measured")
        for number, is_on_front in zip(found, on_front, strict=True):
            dropped = number not in last
            found[number] = replace(found[number], is_on_front=is_on_front, is_dropped=dropped)
        first = (best, found.pop(best))
        return [first, *sorted(found.items(), key=lambda each: _rank(each[1]), reverse=True)]

    def _standing(self, contestant: Contestant, speed: float) -> Standing:
        last = next(each for each in reversed(self._rounds) if contestant in each.contestants)
        with_heads = self._clock.left_s() > 0
        note = "time was over before other heads were fitted to all backbones"
        if not with_heads and note not in self.notes:
            self.notes.append(note)
        return measured(contestant, last, items_per_s=speed, with_heads=with_heads, seed=self._seed)

    def mixes(self, ranked: Sequence[Contestant]) -> tuple[Mix, ...]:
        """Return what joining and reducing the best gives; nothing where the time is over."""
        last = self._rounds[-1]
        alive = [each for each in ranked if each in last.contestants]
        found: list[Mix] = []
        if self._clock.left_s() > 0:
            for mix in try_mixes(last.sample, alive, seed=self._seed):
                found.append(mix)
                if self._clock.left_s() == 0:
                    break
        if self._clock.left_s() == 0:
            self.notes.append("time was over before all joined and reduced embeddings were tried")
        return tuple(found)


def _rank(standing: Standing) -> tuple[bool, int, float, float]:
    """Return what is larger the better: of those dropped the last ones are the better ones."""
    return (not standing.is_dropped, standing.n, standing.accuracy, standing.logme)


def _skipped(pool: Pool, rounds: Sequence[Round]) -> set[str]:
    """Return the items that were looked at and that a backbone could not embed."""
    return {
        item_id
        for each in rounds
        for item_id in pool.ids[: each.size]
        if not all(item_id in contestant for contestant in each.contestants)
    }


def _problems(skipped: set[str], contestants: Sequence[Contestant]) -> dict[str, str]:
    """Return the first ones: id → why, and which backbone says so unless all do."""
    found = {
        item_id: f"{why} ({each.name})" if any(item_id in one for one in contestants) else why
        for each in contestants
        for item_id, why in each.problems.items()
        if item_id in skipped
    }
    return dict(islice(found.items(), SHOWN_PROBLEMS))


def _notes(contestants: Sequence[Contestant], last: Round, best: Standing) -> Iterator[str]:
    commonest = float(np.bincount(last.sample.y).max() / len(last.sample))
    if best.interval[0] <= commonest:
        yield (
            f"accuracy {best.accuracy:.3f} of {best.name} may be no better than naming the "
            f"commonest class, {commonest:.3f}"
        )
    if twins := last.sample.twins:
        are = (
            "item that is nearly equal to another was"
            if twins == 1
            else ("items that are nearly equal to others were")
        )
        yield f"{twins:,} {are} left out"
    for each in contestants:
        if each.truncated:
            yield f"{each.name}: {each.truncated:,} items were longer than it takes, and were cut"
    if len(last.sample) > CHOOSING_ROWS:
        yield f"heads other than ridge, and mixes, are of {CHOOSING_ROWS:,} of the items"
