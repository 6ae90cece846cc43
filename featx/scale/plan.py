"""What of a source is done, and what is left to do."""

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.rows import Row, to_table
from featx.data.sources.options import DescribedSource
from featx.embedding.intake import REPEATED
from featx.errors import InputError, MissingError
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
        done = {str(entry["unit"]): entry for entry in destination.known}
        kept = {key: done[key] for key in keys if key in done}
        dropped = [entry for entry in destination.known if entry["unit"] not in kept]
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
        The oldest first.

    Attributes
    ----------
    notes : list of str
        What a user should know.
    """

    def __init__(self, destination: Destination, dropped: Sequence[Entry]) -> None:
        self.notes: list[str] = []
        self._facts: dict[str, tuple[str | None, str | None]] = {}
        self._units = [str(entry["unit"]) for entry in dropped]
        found = [self._read(destination, entry) for entry in dropped]
        lengths = np.array([len(each) for each in found], dtype=np.intp)
        hashes = np.concatenate([np.empty(0, dtype=np.int64), *found])
        order = np.argsort(hashes)
        self._hashes = hashes[order]
        self._owners = np.repeat(np.arange(len(found), dtype=np.int32), lengths)[order]
        self._is_made = np.zeros(len(hashes), dtype=np.bool_)

    def _read(self, destination: Destination, entry: Entry) -> Hashes:
        """Return hashes of the ids that an entry holds."""
        held = array("q")
        try:
            for row in _facts_of(destination.table(entry)):
                held.append(id_hash(row[0]))
                self._keep(*row)
            for failure in destination.failures(entry):
                self._keep(failure.id, failure.label, failure.split)
        except MissingError as error:  # its items are embedded anew, so that the set is whole again
            if not self.notes:
                self.notes.append(f"{error}; labels and splits that only the set knew are lost")
        return np.array(held, dtype=np.int64)

    def _keep(self, item_id: str, label: str | None, split: str | None) -> None:
        if label is not None or split is not None:
            self._facts[item_id] = label, split

    def given(self, unit: Unit) -> Unit:
        """Return the unit; its items have the labels and splits that only the set knew."""
        if not self._facts:
            return unit
        return replace(unit, items=[self._item(item) for item in unit.items])

    def _item(self, item: Item) -> Item:
        label, split = self._facts.get(item.id, (None, None))
        missing: Any = {"label": item.label or label, "split": item.split or split}
        return replace(item, **missing)

    def removed(self, failed: Sequence[str]) -> int:
        """Return how many rows were dropped whose items no unit holds; `failed` are of none."""
        self._is_made[self._rows(failed)] = False
        return len(np.unique(self._hashes[~self._is_made]))

    def covered(self, unit: Unit) -> set[str]:
        """Return the keys of the units that held some of its items."""
        if not len(self._hashes):
            return set()
        rows = self._rows(item.id for item in unit.items)
        self._is_made[rows] = True
        return {self._units[owner] for owner in np.unique(self._owners[rows])}

    def _rows(self, ids: Iterable[str]) -> NDArray[np.intp]:
        """Return where the hashes of some ids stand: nowhere, or next to each other."""
        wanted = np.fromiter(map(id_hash, ids), dtype=np.int64)
        first = np.searchsorted(self._hashes, wanted)
        count = np.searchsorted(self._hashes, wanted, side="right") - first
        steps = range(int(count.max(initial=0)))
        none = np.empty(0, dtype=np.intp)
        return np.concatenate([none, *(first[count > step] + step for step in steps)])


def _facts_of(table: pa.Table) -> Iterator[tuple[str, str | None, str | None]]:
    columns = (table.column(name).to_pylist() for name in ("id", "label", "split"))
    return zip(*columns, strict=True)


def retold(table: pa.Table, items: Sequence[Item]) -> pa.Table:
    """Return the table of a unit with what the source says now; where it says nothing, it stays."""
    said = {item.id: item for item in reversed(items)}  # of an id that is repeated, the first
    rows = []
    for row in (Row(**values) for values in table.to_pylist()):
        item = said[row.id]
        rows.append(
            row._replace(
                uri=item.uri,
                label=row.label if item.label is None else item.label,
                split=row.split if item.split is None else item.split,
            )
        )
    return to_table(rows)
