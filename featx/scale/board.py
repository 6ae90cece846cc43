"""What of a run is done: the entries of its units, committed a second's work at a time."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from featx.backbone.timings import Timings
from featx.embedding.commit import COMMIT_S
from featx.embedding.progress import FIRST_ERRORS, Progress
from featx.scale.assignment import Outcome
from featx.scale.destination import Destination, Entry
from featx.scale.plan import Inherited, Plan, retold
from featx.scale.unit import Unit, facts_mark
from featx.types import Item

PAUSES = 10
"""A commit takes a tenth of a driver's time at most: the manifest of many units takes seconds."""


class Board:
    """The units of a run: which are to do, and what became of the others.

    Parameters
    ----------
    plan : Plan
    destination : Destination
    clock : callable
        Seconds, of which only differences matter.

    Attributes
    ----------
    progress : Progress
        Counts what was added, which the next commit names.
    timings : Timings
        Sums over all units.
    """

    def __init__(
        self,
        plan: Plan,
        destination: Destination,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plan = plan
        self._destination = destination
        self._inherited = Inherited(destination, plan.dropped)
        self._old = destination.known
        self._replaced = {str(entry["unit"]) for entry in destination.replaced}
        self._covers: dict[int, set[str]] = {}
        self._done: dict[int, Entry] = {}
        self._failed: list[str] = []
        self._is_begun = False
        self._clock = clock
        self._last_s = clock()
        self._pause_s = COMMIT_S
        self.progress = Progress(total=plan.total)
        self.timings = Timings()

    def to_do(self) -> Iterator[Unit]:
        """Yield what has to be embedded; what is done already is counted on the way."""
        for unit in self._plan.units():
            entry = self._plan.kept.get(unit.key)
            if covered := self._inherited.covered(unit):
                self._covers[unit.number] = covered
            left = self._inherited.given(unit) if entry is None else self._rest(unit, entry)
            if left is None:
                continue
            if not self._is_begun:  # workers look for the set that they are to write to
                self.commit()
            yield left

    def _rest(self, unit: Unit, entry: Entry) -> Unit | None:
        """Take in a unit that is done; return the items that failed, if they may be tried again."""
        if entry["facts"] != facts_mark(str(entry["items"]), unit.facts):
            entry = self._told(unit, entry)
        self._take(unit.number, entry)
        failures = {failure.id: failure for failure in self._destination.failures(entry)}
        items = self._without_row(unit, entry, failures)
        truncated = int(entry["truncated"])
        kept = Progress(total=0, kept=int(entry["rows"]), truncated=truncated)
        if any(not item.problem for item in items):
            self._count(kept)
            return replace(unit, items=items, basis=entry)
        first = tuple((each.id, each.problem) for each in failures.values())
        self._count(replace(kept, errors=len(failures), first_errors=first))
        return None

    def _without_row(self, unit: Unit, entry: Entry, failures: Collection[str]) -> list[Item]:
        """Return the items that have no row; one whose id is repeated has it in spite of that."""
        items = [item for item in unit.items if item.id in failures]
        if all(item.problem for item in items):
            return items
        held = set(self._destination.table(entry).column("id").to_pylist())
        return [item for item in items if item.problem or item.id not in held]

    def _take(self, number: int, entry: Entry) -> None:
        """Count a unit as done, and what it takes the place of as replaced."""
        self._done[number] = entry
        self._replaced |= self._covers.pop(number, set())

    def _told(self, unit: Unit, entry: Entry) -> Entry:
        """Bring the table of a unit in line with what the source says of its items."""
        destination = self._destination
        before = destination.table(entry)
        after = retold(before, unit.items)
        if not after.equals(before):
            entry = destination.replace_table(entry, after)
        return {**entry, "facts": facts_mark(str(entry["items"]), unit.facts)}

    def add(self, outcome: Outcome) -> None:
        """Take in what a worker did.

        Raises
        ------
        StoreError
            If its files are not there.
        """
        if outcome.entry is not None:
            self._destination.require(outcome.entry)
            self._take(outcome.number, outcome.entry)
        self._failed += outcome.failed
        self._count(replace(outcome.progress, kept=0))  # those were counted with their entry
        self._time(outcome.timings)

    def _count(self, more: Progress) -> None:
        had = self.progress
        room = FIRST_ERRORS - len(had.first_errors)
        self.progress = replace(
            had,
            kept=had.kept + more.kept,
            cached=had.cached + more.cached,
            embedded=had.embedded + more.embedded,
            errors=had.errors + more.errors,
            truncated=had.truncated + more.truncated,
            first_errors=(*had.first_errors, *more.first_errors[:room]),
        )

    def _time(self, more: Mapping[str, Any]) -> None:
        for field in fields(Timings):
            had, new = getattr(self.timings, field.name), more.get(field.name)
            if field.name in {"loaders", "encoders"}:
                new = max(had, new or 0)
            elif not isinstance(new, str):
                new = had + (new or 0)
            setattr(self.timings, field.name, new)

    @property
    def is_due(self) -> bool:
        """Whether it is time to commit."""
        return self._clock() - self._last_s >= self._pause_s

    @property
    def notes(self) -> list[str]:
        """What a user should know."""
        return self._inherited.notes

    @property
    def errors(self) -> tuple[int, int, str]:
        """Items that failed, items in all, and the first problem."""
        first = [f"{item_id}: {problem}" for item_id, problem in self.progress.first_errors[:1]]
        return self.progress.errors, self.progress.total, "".join(first)

    def commit(self) -> None:
        """Name what is done, in the order of the source, and after it what is not replaced yet.

        What is replaced is kept, but not as rows of the set: each id is there once at any time.
        """
        begun_s = self._clock()
        done = [self._done[number] for number in sorted(self._done)]
        names = {entry["unit"] for entry in done}
        rest = [entry for entry in self._old if entry["unit"] not in names]
        replaced = [entry for entry in rest if entry["unit"] in self._replaced]
        shown = [entry for entry in rest if entry["unit"] not in self._replaced]
        self._destination.commit(
            [*done, *shown], finished=False, size=self._plan.size, replaced=replaced
        )
        self._is_begun = True
        self._last_s = self._clock()
        self._pause_s = max(COMMIT_S, PAUSES * (self._last_s - begun_s))

    def rescue(self) -> None:
        """Name what is done after something ended the run."""
        if self._is_begun:
            self.commit()
            self._destination.list_failures()

    def finish(self) -> int:
        """Name the units of the source and no others; return how many rows are gone."""
        done = [self._done[number] for number in sorted(self._done)]
        self._destination.commit(done, finished=True, size=self._plan.size)
        self._is_begun = False  # nothing is left to rescue
        self._destination.list_failures()
        return self._inherited.removed(self._failed)
