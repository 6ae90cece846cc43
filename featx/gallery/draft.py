"""Draft: the parts of a gallery's next generation while their files are written."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.files import writing
from featx.data.segment import header, map_segment
from featx.gallery.base import Base, Mask
from featx.gallery.folder import file_digest
from featx.gallery.items import Batches, ItemTable, Names, write_items
from featx.index.neighbours import Index
from featx.index.stack import PartNorms, Stack
from featx.types import Vectors


class Draft:
    """The parts of a generation while their files are written.

    Parameters
    ----------
    path : Path
        The gallery.
    number : int
        Of the generation; used for no files before, see `next_number`.
    dim : int
    """

    def __init__(self, path: Path, number: int, dim: int) -> None:
        self.path = path
        self.number = number
        self.dim = dim
        self.tables: list[ItemTable] = []
        self._parts: list[dict[str, Any]] = []
        self._matrices: list[list[Vectors]] = []
        self._norms: list[list[PartNorms]] = []

    def keep(self, base: Base, parts: int) -> None:
        """Take the first parts of a base as they are."""
        for part in range(parts):
            matrices, norms = base.matrices(part)
            self._take(base.facts["parts"][part], base.tables[part], matrices, norms)

    def refer(
        self,
        batches: Batches,
        names: Names,
        matrices: Sequence[Vectors],
        norms: Sequence[PartNorms],
    ) -> None:
        """Write the items of a part whose vectors lie elsewhere."""
        self._take(*self._items(batches, names), matrices, norms)

    def add(
        self, batches: Batches, names: Names, blocks: Iterable[Vectors], *, is_unit: bool
    ) -> None:
        """Write a part: its items, and its vectors, which are given in blocks."""
        facts, table = self._items(batches, names)
        name = self._name("vectors", "npy")
        rows = len(table)
        with writing(self.path / name) as temporary, temporary.open("wb") as file:
            file.write(header(rows, self.dim))
            for block in blocks:
                file.write(np.ascontiguousarray(block, "<f4").data)
        mapped = map_segment(self.path / name, rows, self.dim)
        norms: list[PartNorms] = ["unit" if is_unit else "unknown"]
        self._take(facts | {"vectors": name}, table, [mapped], norms)

    def _items(self, batches: Batches, names: Names) -> tuple[dict[str, Any], ItemTable]:
        items, order = self._name("items", "arrow"), self._name("order", "npy")
        rows = write_items(self.path / items, self.path / order, batches(), names)
        table = ItemTable.open(self.path / items, self.path / order, rows)
        return {"rows": rows, "items": items, "order": order, "vectors": None}, table

    def _take(
        self,
        facts: dict[str, Any],
        table: ItemTable,
        matrices: Sequence[Vectors],
        norms: Sequence[PartNorms],
    ) -> None:
        self._parts.append(dict(facts))
        self.tables.append(table)
        self._matrices.append(list(matrices))
        self._norms.append(list(norms))
        self.__dict__.pop("stack", None)

    @cached_property
    def stack(self) -> Stack:
        """The vectors of the parts so far."""
        matrices = [matrix for each in self._matrices for matrix in each]
        norms = [norm for each in self._norms for norm in each]
        return Stack(matrices or [np.empty((0, self.dim), np.float32)], norms or "unit")

    def finish(
        self, index: Index | None, facts: Mapping[str, Any], alive: Mask, *, blanked: int
    ) -> Base:
        """Write index, removed rows and lengths of rows; return the base that they make.

        Parameters
        ----------
        index : Index or None
        facts : mapping
            Of ``gallery.json``, but for what is known here.
        alive : ndarray of bool, shape (N,)
        blanked : int
            Removed rows whose facts are gone.
        """
        norms = iter(self.stack.norms)
        for position, (part, matrices) in enumerate(zip(self._parts, self._matrices, strict=True)):
            own = [next(norms) for _ in matrices]
            if "norms" not in part:
                part["norms"] = self._lengths(position, own, matrices)
        made = {
            "generation": self.number,
            "parts": self._parts,
            "index": {**facts["index"], **self._index(index)},
            "removed": self._removed(alive, blanked),
        }
        known = None if alive.all() else alive
        return Base(self.path, {**facts, **made}, self.tables, self.stack, index, known)

    def _lengths(
        self, position: int, norms: Sequence[PartNorms], matrices: Sequence[Vectors]
    ) -> str | None:
        if all(isinstance(each, str) for each in norms):
            return None
        known = [
            np.ones(len(matrix)) if isinstance(each, str) else each
            for each, matrix in zip(norms, matrices, strict=True)
        ]
        return self._save("norms", np.concatenate(known), position)

    def _removed(self, alive: Mask, blanked: int) -> dict[str, Any] | None:
        rows = np.flatnonzero(~alive)
        if not len(rows):
            return None
        return {"file": self._save("removed", rows), "count": len(rows), "blanked": blanked}

    def _index(self, index: Index | None) -> dict[str, Any]:
        if index is None or not index.has_file:
            return {"file": None, "digest": None}
        name = self._name("index", "faiss")
        index.write(self.path / name)
        return {"file": name, "digest": file_digest(self.path / name)}

    def _save(self, noun: str, array: NDArray[Any], part: int | None = None) -> str:
        name = self._name(noun, "npy", part)
        with writing(self.path / name) as temporary, temporary.open("wb") as file:
            np.save(file, array)
        return name

    def _name(self, noun: str, suffix: str, part: int | None = None) -> str:
        part = len(self._parts) if part is None else part
        return f"{noun}-{self.number:05d}-{part}.{suffix}"
