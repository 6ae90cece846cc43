"""Stack: rows in one or several matrices, read as one."""

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.errors import InputError
from featx.index.metric import (
    MetricName,
    divisors,
    matrix,
    refuse_unfit,
    row_norms,
    scaled,
    snapped,
)
from featx.types import Rows, Vectors

BLOCK_NUMBERS = 1 << 22
"""Numbers of a block: 16 MiB, what a scan holds beside rows that must be scaled."""

PartNorms = NDArray[np.float64] | Literal["unit", "unknown"]
"""Lengths of a part's rows: measured, all one (or zero), or to be measured when needed."""


class Stack:
    """Rows in one or several matrices (memory maps too), read as one (N, D) matrix.

    Nothing is copied.  Lengths of rows are measured when they are first needed, which reads every
    row once and checks that it is finite; give `norms` where they are known and it never happens.

    Parameters
    ----------
    parts : sequence of ndarray of float32, each (n, D), C-contiguous
        At least one; a part may have no rows.
    norms : "unknown", "unit" or a sequence of these and ndarrays of float64, one for each part
        ``"unit"`` promises rows of length one.  Arrays are those of another stack's `norms`, which
        may be stored with `numpy.save` and memory-mapped.

    Raises
    ------
    InputError
        If there is no part, or parts differ in their dimensions.
    """

    def __init__(
        self,
        parts: Sequence[Vectors],
        norms: Sequence[PartNorms] | Literal["unit", "unknown"] = "unknown",
    ) -> None:
        if not parts:
            raise InputError("gallery: no rows; needs at least one matrix")
        self.parts = tuple(matrix(part, "gallery") for part in parts)
        self.dim = int(self.parts[0].shape[1])
        if any(part.shape[1] != self.dim for part in self.parts):
            found = sorted({int(part.shape[1]) for part in self.parts})
            raise InputError(f"gallery: parts of {found} dimensions; must be of one")
        self.ends = np.cumsum([len(part) for part in self.parts])
        self.shape = (int(self.ends[-1]), self.dim)
        each = [norms] * len(self.parts) if isinstance(norms, str) else norms
        self._norms: list[PartNorms] = list(each)
        self._largest: float | None = None
        self._is_random = False

    @classmethod
    def of(cls, X: "Vectors | RowView | Stack") -> "Stack":
        """Return `X` as a stack, uncopied where it is of contiguous float32 rows."""
        if isinstance(X, Stack):
            return X
        return cls(X.segments) if isinstance(X, RowView) else cls([X])

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def starts(self) -> list[int]:
        """First row of each part."""
        return [int(end) - len(part) for end, part in zip(self.ends, self.parts, strict=True)]

    def joined(self, part: Vectors, norms: PartNorms = "unknown") -> Self:
        """Return this stack with one more part at its end; lengths known so far are kept."""
        return type(self)((*self.parts, part), [*self._norms, norms])

    def take(self, rows: Rows) -> Vectors:
        """Return a copy of some rows, in any order."""
        if len(self.parts) == 1:
            return self.parts[0][rows]
        out = np.empty((len(rows), self.dim), np.float32)
        homes = self._homes(rows)
        for home in np.unique(homes):
            own = homes == home
            out[own] = self.parts[home][rows[own] - self.starts[home]]
        return out

    def unit_take(self, rows: Rows) -> Vectors:
        """Return a copy of some rows, of length one."""
        X = self.take(rows)
        return X if self.is_unit else scaled(X, self.lengths(rows))

    def blocks(self, size: int = 0) -> Iterator[tuple[int, Vectors]]:
        """Yield the first row and a view of each block of at most `size` rows, never across parts.

        Without `size` a block is of 16 MiB.
        """
        size = size or max(1, BLOCK_NUMBERS // max(1, self.dim))
        for start, part in zip(self.starts, self.parts, strict=True):
            for at in range(0, len(part), size):
                yield start + at, part[at : at + size]

    def unit_blocks(self, size: int = 0) -> Iterator[tuple[int, Vectors]]:
        """Yield blocks as `blocks` does, of rows of length one: copies unless they are already."""
        for first, block in self.blocks(size):
            home = int(np.searchsorted(self.ends, first, side="right"))
            norms, at = self.norms[home], first - self.starts[home]
            if isinstance(norms, str):
                yield first, block
            else:
                by = divisors(norms[at : at + len(block)]).astype(np.float32)  # thrice as fast
                yield first, block / by[:, None]

    def metric_blocks(self, metric: MetricName) -> Iterator[tuple[int, Vectors]]:
        """Yield blocks of what a metric compares: of rows of length one for cosine."""
        return self.unit_blocks() if metric == "cosine" else self.blocks()

    @property
    def norms(self) -> list[PartNorms]:
        """Lengths of the rows of each part: ``"unit"`` where all are one or zero, else an array.

        Raises
        ------
        InputError
            If a row is not finite, naming it; only where lengths were unknown.
        """
        return list(self._known())

    @property
    def is_unit(self) -> bool:
        """Whether every row is of length one, or zero."""
        return all(isinstance(norms, str) for norms in self._known())

    @property
    def largest_norm(self) -> float:
        """Length of the longest row."""
        if self._largest is None:
            self._largest = max(
                1.0 if isinstance(norms, str) else float(norms.max(initial=0.0))
                for norms in self.norms
            )
        return self._largest

    def lengths(self, rows: Rows) -> NDArray[np.float64]:
        """Return the length of each of these rows; one for zero rows of a unit part."""
        out = np.ones(len(rows))
        if self.is_unit:
            return out
        homes = self._homes(rows)
        for i, norms in enumerate(self._known()):
            if not isinstance(norms, str):
                own = homes == i
                out[own] = norms[rows[own] - self.starts[i]]
        return out

    def expect(self, *, random: bool) -> None:
        """Tell the system how mapped rows will be read: some here and there, or all in order.

        In order it reads far ahead, and a cold row costs 6 ms instead of .2.  This speeds up; it
        changes nothing else.
        """
        if random != self._is_random:
            self._is_random = random
            for part in self.parts:
                _advise(part, random=random)

    def _known(self) -> list[PartNorms]:
        """Return the list of `norms` itself, measuring those that are not known yet."""
        for i, known in enumerate(self._norms):
            if isinstance(known, str) and known == "unknown":
                self._norms[i] = self._measured(i)
        return self._norms

    def _homes(self, rows: Rows) -> Rows:
        return np.searchsorted(self.ends, rows, side="right")

    def _measured(self, part: int) -> PartNorms:
        norms = snapped(row_norms(self.parts[part]))
        refuse_unfit(norms, "gallery", first=self.starts[part])
        return "unit" if bool(np.isin(norms, (0.0, 1.0)).all()) else norms


def _advise(part: Vectors, *, random: bool) -> None:
    owner: Any = part
    while isinstance(owner, np.ndarray):
        owner = owner.base
    if isinstance(owner, mmap.mmap) and hasattr(owner, "madvise"):  # not on Windows
        owner.madvise(mmap.MADV_RANDOM if random else mmap.MADV_NORMAL)
