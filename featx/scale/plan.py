"""What of a source is done, and what is left to do."""

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.rows import Row, to_table
from featx.data.sources.options import DescribedSource
from featx.embedding.intake import REPEATED
from featx.errors import InputError
from featx.scale.cutting import cut
from featx.scale.destination import Destination, Entry
from featx.scale.unit import Unit, id_hash
from featx.types import Item

Hashes = NDArray[np.int64]


class Distinct:
    """The items of a source; one whose id came before has a problem instead.

    Parameters
    ----------
    source : DescribedSource
    suspects : collection of int
        Hashes of ids that may occur twice.
    """

    def __init__(self, source: DescribedSource, suspects: Collection[int]) -> None:
        self._source = source
        self._suspects = suspects

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in order."""
        if not self._suspects:
            yield from self._source
            return
        seen: set[str] = set()
        for item in self._source:
            if id_hash(item.id) not in self._suspects:
                yield item
            elif item.id in seen:
                yield replace(item, content="", problem=item.problem or REPEATED)
            else:
                seen.add(item.id)
                yield item


@dataclass(frozen=True, slots=True)
class Plan:
    """How a source is cut, and what of it is done.

    Attributes
    ----------
    items : Distinct
    total : int
        Items of the source.
    size : int
        Items of a unit, on average.
    seed : str
        A part of every key.
    kept : dict of str to Entry
        Key of a unit → what the manifest says of it.
    dropped : list of Entry
        Units that are no longer in the source, or have changed.
    """

    items: Distinct
    total: int
    size: int
    seed: str
    kept: Mapping[str, Entry]
    dropped: Sequence[Entry]

    @classmethod
    def of(
        cls, source: DescribedSource, destination: Destination, *, size: int, seed: str
    ) -> "Plan":
        """List a source once, or twice if ids occur in it more than once.

        Raises
        ------
        InputError
            If a folder cannot be listed, and rows of it would be dropped.
        """
        items = Distinct(source, ())
        keys, hashes, unlisted = _listed(items, size, seed)
        if len(repeated := _repeated(hashes)):
            items = Distinct(source, frozenset(repeated.tolist()))
            keys, hashes, unlisted = _listed(items, size, seed)
        done = {str(entry["unit"]): entry for entry in destination.entries}
        kept = {key: done[key] for key in keys if key in done}
        dropped = [entry for entry in destination.entries if entry["unit"] not in kept]
        if dropped and unlisted:
            raise InputError(
                f"{unlisted}: cannot be listed, and what the set holds of it would be dropped; "
                "mend that and run the command again"
            )
        return cls(items, len(hashes), size, seed, kept, dropped)

    def units(self) -> Iterator[Unit]:
        """Yield the units, done or not, as the source is now."""
        return cut(self.items, size=self.size, seed=self.seed)


def _listed(items: Distinct, size: int, seed: str) -> tuple[list[str], Hashes, str]:
    """Return the keys of all units, hashes of all ids, and a folder that cannot be listed."""
    keys, held, unlisted = [], array("q"), ""
    for unit in cut(items, size=size, seed=seed):
        keys.append(unit.key)
        held.extend(id_hash(item.id) for item in unit.items)
        bad = (item.id for item in unit.items if item.problem and item.id.endswith("/"))
        unlisted = unlisted or next(bad, "")
    return keys, np.frombuffer(held, dtype=np.int64), unlisted


def _repeated(hashes: Hashes) -> Hashes:
    """Return the hashes that occur twice; sorts them in place, since there may be many."""
    hashes.sort()
    repeated: Hashes = hashes[1:][hashes[1:] == hashes[:-1]]
    return repeated


class Inherited:
    """What the units that are dropped held: labels that the source does not say, and ids.

    Parameters
    ----------
    destination : Destination
    dropped : sequence of Entry
    """

    def __init__(self, destination: Destination, dropped: Sequence[Entry]) -> None:
        self._facts: dict[str, tuple[str | None, str | None]] = {}
        self._held: set[int] = set()
        self._made: set[int] = set()
        for entry in dropped:
            for row in _facts_of(destination.table(entry)):
                self._held.add(id_hash(row[0]))
                self._keep(*row)
            for failure in destination.failures(entry):
                self._keep(failure.id, failure.label, failure.split)

    def _keep(self, item_id: str, label: str | None, split: str | None) -> None:
        if label is not None or split is not None:
            self._facts[item_id] = label, split

    def given(self, unit: Unit) -> Unit:
        """Return the unit; its items have the labels and splits that only the set knew."""
        if not self._held and not self._facts:
            return unit
        self._made.update(id_hash(item.id) for item in unit.items)
        return replace(unit, items=[self._item(item) for item in unit.items])

    def _item(self, item: Item) -> Item:
        label, split = self._facts.get(item.id, (None, None))
        missing: Any = {"label": item.label or label, "split": item.split or split}
        return replace(item, **missing)

    def removed(self, failed: Sequence[str]) -> int:
        """Return how many rows were dropped whose items no unit holds; `failed` are of none."""
        return len(self._held - (self._made - {id_hash(item_id) for item_id in failed}))


def _facts_of(table: pa.Table) -> Iterator[tuple[str, str | None, str | None]]:
    columns = (table.column(name).to_pylist() for name in ("id", "label", "split"))
    return zip(*columns, strict=True)


def retold(table: pa.Table, items: Sequence[Item]) -> pa.Table:
    """Return the table of a unit with what the source says now; where it says nothing, it stays."""
    said = {item.id: item for item in items}
    rows = []
    for row in (Row(**values) for values in table.to_pylist()):
        item = said[row.id]
        rows.append(
            replace(
                row,
                uri=item.uri,
                label=row.label if item.label is None else item.label,
                split=row.split if item.split is None else item.split,
            )
        )
    return to_table(rows)
