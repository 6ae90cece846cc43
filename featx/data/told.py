"""What a source says in one run of the items that a set holds, in constant memory.

As long as it tells of rows 0, 1, 2 ... just what the set holds, a counter is kept; from the first
difference on, a bit a row, and the order and the facts that differ in files without a name.
"""

import json
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, NamedTuple

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.log import Known
from featx.data.rows import BATCH_ROWS, SCHEMA
from featx.types import Rows


class Held(NamedTuple):
    """A committed row, as the set holds it.

    Attributes
    ----------
    row : int
        Sealed rows are counted first, then the open segment's.
    digest : str
        In hex.
    truncated : bool
    uri, label, split : str
        Label and split may be None.
    is_told : bool
        Whether `SetWriter.tell` has named this row: its id then stands twice in the source.
    """

    row: int
    digest: str
    truncated: bool
    uri: str
    label: str | None
    split: str | None
    is_told: bool


class Facts(NamedTuple):
    """What a source says of an item that is in the set already; it may have changed."""

    id: str
    uri: str = ""
    label: str | None = None
    split: str | None = None


class Change(NamedTuple):
    """New facts of the row at `position` of the order that was told."""

    position: int
    uri: str
    label: str | None
    split: str | None


class Told:
    """The rows that a source has told of, in its order, and which of their facts are new.

    Parameters
    ----------
    folder : Path
        Where order and new facts are spooled, to files without a name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._order: IO[bytes] | None = None
        self._changes: IO[bytes] | None = None
        self._bits = bytearray()

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        """Tell whether a row has been told of."""
        assert isinstance(row, int)
        if self._order is None:
            return row < self._count
        return row >> 3 < len(self._bits) and bool(self._bits[row >> 3] >> (row & 7) & 1)

    def add(self, facts: Facts, known: Known) -> None:
        """Put a row that has not been told of after the others.

        What the source does not say of a label or split stays as it is: it may have been given
        by ``featx label``.
        """
        if self._order is not None or known.row != self._count:
            self._keep_order(known.row)
        label = known.label if facts.label is None else facts.label
        split = known.split if facts.split is None else facts.split
        if (facts.uri, label, split) != (known.uri, known.label, known.split):
            self._keep_change(Change(self._count, facts.uri, label, split))
        self._count += 1

    def _keep_order(self, row: int) -> None:
        with explained(self._folder):
            if self._order is None:
                self._order = TemporaryFile(dir=self._folder)  # noqa: SIM115
                for start in range(0, self._count, BATCH_ROWS):
                    rows = np.arange(start, min(start + BATCH_ROWS, self._count), dtype=np.int64)
                    self._order.write(rows.tobytes())
                self._bits = bytearray(b"\xff") * (self._count >> 3)
                self._bits.append((1 << (self._count & 7)) - 1)
            self._order.write(row.to_bytes(8, sys.byteorder))
        if row >> 3 >= len(self._bits):
            self._bits.extend(bytes((row >> 3) + 1))
        self._bits[row >> 3] |= 1 << (row & 7)

    def _keep_change(self, change: Change) -> None:
        with explained(self._folder):
            if self._changes is None:
                self._changes = TemporaryFile(dir=self._folder)  # noqa: SIM115
            self._changes.write(json.dumps(change).encode() + b"\n")

    def order(self) -> Rows | range:
        """Return the rows in the order that was told; a range if it is that of the set."""
        if self._order is None:
            return range(self._count)
        self._order.flush()
        return np.frombuffer(mapped(self._order), dtype=np.int64)

    def changes(self) -> "Changes":
        """Return the facts that are new, by position."""
        return Changes(self._changes)

    def close(self) -> None:
        """Give the spools' space back."""
        for spool in (self._order, self._changes):
            if spool is not None:
                spool.close()


class Changes:
    """New facts, by ascending position; each is given once."""

    def __init__(self, spool: IO[bytes] | None = None) -> None:
        if spool is not None:
            spool.seek(0)
        lines = iter(spool or ())
        self._rest = (Change(*json.loads(line)) for line in lines)
        self._next = next(self._rest, None)

    def until(self, end: int) -> Iterator[Change]:
        """Yield those before position `end`."""
        while self._next is not None and self._next.position < end:
            yield self._next
            self._next = next(self._rest, None)

    def is_before(self, end: int) -> bool:
        """Tell whether there are any before position `end`."""
        return self._next is not None and self._next.position < end

    def apply(self, batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
        """Return the batch of the rows at position `start` and following, with their new facts."""
        found = list(self.until(start + batch.num_rows))
        if not found:
            return batch
        for name in ("uri", "label", "split"):
            values = batch.column(name).to_pylist()
            for change in found:
                values[change.position - start] = getattr(change, name)
            at = SCHEMA.get_field_index(name)
            batch = batch.set_column(at, SCHEMA.field(at), pa.array(values, pa.string()))
        return batch


def mapped(file: IO[bytes]) -> mmap.mmap:
    """Map a file that is not empty; the map lives on when the file is closed."""
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
