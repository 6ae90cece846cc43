"""What came of a comparison, for people and for programs."""

from dataclasses import dataclass
from typing import Any

from featx.transfer.compare.mixes import Mix
from featx.transfer.compare.standing import Standing

FASTER = 1.2
"""A backbone that is as good is worth a word if it is so many times as fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of a comparison.

    Attributes
    ----------
    modality : str
    labelled, looked_at, compared : int
        Items that could have been looked at, that were, and that all backbones were judged by.
    classes : int
    standings : tuple of Standing
        The best first; backbones that left the race early last.
    mixes : tuple of Mix
    problems : dict of str to str
        The first items that were skipped: id → why.
    skipped : int
        Items that were looked at and that not all backbones could embed.
    notes : tuple of str
        What a person should know.
    seconds : float
    """

    modality: str
    labelled: int
    looked_at: int
    compared: int
    classes: int
    standings: tuple[Standing, ...]
    mixes: tuple[Mix, ...]
    problems: dict[str, str]
    skipped: int
    notes: tuple[str, ...]
    seconds: float

    @property
    def best(self) -> Standing:
        """The most accurate backbone; of several within a standard error, that of most evidence."""
        return self.standings[0]

    @property
    def level(self) -> tuple[Standing, ...]:
        """Other backbones that cannot be told apart from the best."""
        return tuple(each for each in self.standings[1:] if each.is_level)

    @property
    def fastest(self) -> Standing:
        """The fastest of the best and those that are level with it, if it is much faster."""
        found = max((self.best, *self.level), key=lambda each: each.items_per_s)
        return found if found.items_per_s >= FASTER * self.best.items_per_s else self.best

    @property
    def narrower(self) -> Mix | None:
        """The fewest dimensions of the best that are as good as all."""
        found = [each for each in self.mixes if each.kind == "reduced" and each.helps]
        return min(found, key=lambda each: each.dim, default=None)

    @property
    def joined(self) -> Mix | None:
        """The best backbone joined with another, if that is surely better."""
        found = [each for each in self.mixes if each.kind == "joined" and each.helps]
        return max(found, key=lambda each: each.hits, default=None)

    def verdict(self) -> list[str]:
        """Return sentences that say what to take, and how sure that is."""
        best, n = self.best, f"{self.compared:,} items"
        if not self.level:
            said = [f"{best.name} is the best of {len(self.standings)}, by more than chance on {n}"]
        else:
            names = ", ".join(each.name for each in self.level)
            said = [f"{best.name} is first, but cannot be told apart from {names} on {n}"]
        leader = max(self.standings, key=lambda each: (not each.is_dropped, each.hits))
        if leader.hits > best.hits:
            more = f"{leader.hits - best.hits:,} more right, within a standard error"
            said.append(f"{leader.name} gets {more}: LogME decided")
        if self.fastest is not best:
            times = self.fastest.items_per_s / best.items_per_s
            said.append(f"{self.fastest.name} is {times:.1f} times as fast as {best.name}: take it")
        elif self.level and best.items_per_s:
            said.append(f"none of them is much faster than {best.name}: take it")
        if self.joined is not None:
            said.append(f"{self.joined.name} together are better: {_points(self.joined)}")
        if self.narrower is not None:
            of = f"{self.narrower.dim} of its {best.dim} dimensions"
            said.append(f"{of}, by PCA, are as good: {_points(self.narrower)}")
        return said

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "best": self.best.name,
            "level": [each.name for each in self.level],
            "fastest": self.fastest.name if self.best.items_per_s else None,
            "verdict": self.verdict(),
            "modality": self.modality,
            "items": {
                "labelled": self.labelled,
                "looked_at": self.looked_at,
                "compared": self.compared,
                "skipped": self.skipped,
                "classes": self.classes,
            },
            "backbones": [
                self.best.facts() | {"difference": None},
                *(each.facts() for each in self.standings[1:]),
            ],
            "mixes": [each.facts() for each in self.mixes],
            "notes": list(self.notes),
            "seconds": self.seconds,
        }


def _points(mix: Mix) -> str:
    low, high = (100 * end for end in mix.gain.bounds(mix.confidence))
    return f"{100 * mix.gain.difference:+z.1f} points [{low:+z.1f}, {high:+z.1f}]"
