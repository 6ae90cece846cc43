"""Base: the parts of a gallery as they lie on the disk, opened."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.segment import map_segment
from featx.errors import InputError, StoreError
from featx.gallery.arrays import map_array
from featx.gallery.folder import broken, check_files, file_digest, open_set
from featx.gallery.items import NAMED, Codes, ItemFacts, ItemTable, Names
from featx.index.neighbours import Index
from featx.index.opening import index_class
from featx.index.stack import PartNorms, Stack
from featx.types import Vectors

P = ParamSpec("P")
T = TypeVar("T")

_DAMAGE = (OSError, ValueError, LookupError, OverflowError, pa.ArrowException)
"""What reading a table raises where its bytes are not what they were."""

Mask = NDArray[np.bool_]
"""Truths, one a row."""


@dataclass(frozen=True, eq=False)
class Base:
    """Parts, index and removed rows of one generation; nothing of it changes.

    Attributes
    ----------
    path : Path
    facts : dict
        ``gallery.json``.
    tables : list of ItemTable
        One for each part.
    stack : Stack
        The vectors of all parts.
    index : Index or None
        None where there is no row.
    alive : ndarray of bool, shape (N,), or None
        Rows that were not removed; None where all are.
    """

    path: Path
    facts: dict[str, Any]
    tables: list[ItemTable]
    stack: Stack
    index: Index | None
    alive: Mask | None

    @classmethod
    def open(cls, path: Path, facts: dict[str, Any]) -> Self:
        """Open the files that ``gallery.json`` names.

        Raises
        ------
        StoreError
            If one is missing or damaged, or the set has changed, with the command that mends it.
        """
        check_files(path, facts)
        try:
            stack = _open_stack(path, facts)
            tables = [
                ItemTable.open(path / part["items"], path / part["order"], int(part["rows"]))
                for part in facts["parts"]
            ]
            return cls(
                path,
                facts,
                tables,
                stack,
                _open_index(path, facts, stack),
                _open_alive(path, facts, len(stack)),
            )
        except (StoreError, InputError) as cause:  # parts that do not fit together are input
            if "featx index" in str(cause):
                raise
            raise broken(path, facts, str(cause)) from cause

    def __len__(self) -> int:
        """Return the number of rows, removed ones too."""
        return len(self.stack)

    @property
    def generation(self) -> int:
        """Number of the generation."""
        return int(self.facts["generation"])

    @cached_property
    def starts(self) -> list[int]:
        """First row of each part, and the number of rows."""
        return [0, *np.cumsum([len(table) for table in self.tables]).tolist()]

    @cached_property
    def names(self) -> Names:
        """Labels and splits that rows have, removed ones too."""
        parts = range(len(self.tables))
        found = [[self._ask(part, ItemTable.names, each) for part in parts] for each in NAMED]
        return Names(*(sorted({name for part in each for name in part}) for each in found))

    @cached_property
    def labels(self) -> Codes:
        """Number of each row's label among `names`, -1 for none; shape (N,)."""
        return self._codes("label", self.names.label)

    @cached_property
    def splits(self) -> Codes:
        """Number of each row's split among `names`, -1 for none; shape (N,)."""
        return self._codes("split", self.names.split)

    def _codes(self, column: str, names: list[str]) -> Codes:
        number = {name: code for code, name in enumerate(names)}
        codes = [np.empty(0, np.int32)]
        codes += [self._ask(i, _codes, column, number) for i in range(len(self.tables))]
        return np.concatenate(codes)

    def id(self, row: int) -> str:
        """Return the id of a row."""
        part, at = self._place(row)
        return self._ask(part, ItemTable.id, at)

    def item(self, row: int) -> ItemFacts:
        """Return the facts of a row but for its thumbnail."""
        part, at = self._place(row)
        return self._ask(part, ItemTable.facts, at)

    def thumbnail(self, row: int) -> bytes | None:
        """Return the thumbnail of a row, None if it has none."""
        part, at = self._place(row)
        return self._ask(part, ItemTable.thumbnail, at)

    def rows_of(self, item_id: str) -> list[int]:
        """Return all rows of an id, removed ones too."""
        return [
            start + row
            for part, start in enumerate(self.starts[:-1])
            for row in self._ask(part, ItemTable.rows_of, item_id)
        ]

    def batches(self, part: int) -> Iterator[pa.RecordBatch]:
        """Yield the rows of a part in order, in batches of `featx.gallery.items.SCHEMA`."""
        try:
            yield from self.tables[part].batches()
        except _DAMAGE as cause:
            raise self._damaged(part, "items") from cause

    def matrices(self, part: int) -> tuple[list[Vectors], list[PartNorms]]:
        """Return the matrices of a part, several where its set has several segments, and norms."""
        low, high = self.starts[part], self.starts[part + 1]
        own = [i for i, end in enumerate(self.stack.ends) if low < end <= high]
        norms = self.stack.norms
        return [self.stack.parts[i] for i in own], [norms[i] for i in own]

    def _place(self, row: int) -> tuple[int, int]:
        part = bisect_right(self.starts, row) - 1
        return part, row - self.starts[part]

    def _ask(
        self,
        part: int,
        question: Callable[Concatenate[ItemTable, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Return what the table of a part answers; what is mapped is not checked before."""
        try:
            return question(self.tables[part], *args, **kwargs)
        except _DAMAGE as cause:
            raise self._damaged(part, "items", "order") from cause

    def _damaged(self, part: int, *nouns: str) -> StoreError:
        made = self.facts["parts"][part]
        found = f"{' or '.join(made[noun] for noun in nouns)} is damaged"
        return broken(self.path, self.facts, found)


def _codes(table: ItemTable, column: str, number: Mapping[str, int]) -> Codes:
    numbers = [number[name] for name in table.names(column)]
    return np.array([*numbers, -1], np.int32)[table.codes(column)]


def _open_stack(path: Path, facts: Mapping[str, Any]) -> Stack:
    """Return the vectors of all parts, mapped, with their lengths as stored."""
    parts: list[Vectors] = []
    norms: list[PartNorms] = []
    dim = int(facts["dim"])
    for part in facts["parts"]:
        found = _vectors(path, facts, part)
        parts += found
        norms += _norms(path, part, [len(each) for each in found])
    return Stack(parts or [np.empty((0, dim), np.float32)], norms or "unit")


def _vectors(path: Path, facts: Mapping[str, Any], part: Mapping[str, Any]) -> list[Vectors]:
    if part["vectors"] is not None:
        return [map_segment(path / part["vectors"], int(part["rows"]), int(facts["dim"]))]
    try:
        return list(Stack.of(open_set(path, facts).X).parts)
    except InputError as cause:
        raise broken(path, facts, str(cause)) from cause


def _norms(path: Path, part: Mapping[str, Any], counts: list[int]) -> list[PartNorms]:
    if part["norms"] is None:
        return ["unit"] * len(counts)
    stored: NDArray[np.float64] = map_array(path / part["norms"], np.float64, (sum(counts),))
    return list(np.split(stored, np.cumsum(counts)[:-1]))


def _open_index(path: Path, facts: Mapping[str, Any], stack: Stack) -> Index | None:
    if not len(stack):
        return None
    made = facts["index"]
    file = path / (made["file"] or "none")
    if made["file"] and file_digest(file) != made["digest"]:
        raise broken(path, facts, f"{file.name} is damaged: its digest differs")
    return index_class(made["kind"]).read(file, stack, facts["metric"], made["settings"])


def _open_alive(path: Path, facts: Mapping[str, Any], rows: int) -> Mask | None:
    if facts["removed"] is None:
        return None
    file, count = path / facts["removed"]["file"], facts["removed"]["count"]
    removed = map_array(file, np.int64, (count,))
    if count and not 0 <= removed.min() <= removed.max() < rows:
        raise StoreError(f"{file.name} is damaged: names rows beyond the {rows} that there are")
    alive = np.ones(rows, np.bool_)
    alive[removed] = False
    return alive
