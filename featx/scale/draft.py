"""The rows of one unit, as a worker collects them on its own disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.rows import Row, read_batches, table_writer, to_batch
from featx.data.segment import HEADER_BYTES, header
from featx.data.told import Facts, Held
from featx.errors import StoreError
from featx.types import Vectors


class Draft:
    """A pair of files in the format of a segment; what fails is done anew, so nothing is flushed.

    Parameters
    ----------
    folder : Path
        Files of the same names with `rows` rows lie there, if there are any; they come first.
    dim : int
    rows : int
    """

    VECTORS, TABLE = "unit.npy", "unit.parquet"
    OLD = "old.parquet"

    def __init__(self, folder: Path, dim: int, rows: int = 0) -> None:
        self._folder = folder
        self._dim = dim
        self._rows = rows
        self._held: dict[str, Held] = {}
        with self._writing():
            self._file = (folder / self.VECTORS).open("r+b" if rows else "wb")
            self._file.seek(HEADER_BYTES + rows * dim * 4)
            self._table = table_writer(folder / self.TABLE)
            if rows:
                for batch in read_batches(folder / self.OLD, rows=rows):
                    self._table.write_batch(batch)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with explained(self._folder):
                yield
        except pa.ArrowInvalid as cause:  # of a table that could not be written before
            raise StoreError(f"{self._folder}: cannot be written: {cause}") from cause

    @property
    def committed(self) -> int:
        """Rows so far."""
        return self._rows

    def __len__(self) -> int:
        return self._rows

    def held(self, ids: Sequence[str]) -> dict[str, Held]:
        """Return what is held of those of `ids` that are."""
        return {item_id: self._held[item_id] for item_id in ids if item_id in self._held}

    def append(self, rows: Sequence[Row], X: Vectors) -> None:
        """Write rows and their vectors, shape (N, D).

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        with self._writing():
            self._file.write(np.ascontiguousarray(X, dtype="<f4").tobytes())
            self._table.write_batch(to_batch(rows))
        for at, row in enumerate(rows, self._rows):
            facts = row.uri, row.label, row.split
            self._held[row.id] = Held(at, row.digest, row.truncated, *facts, is_told=True)
        self._rows += len(rows)

    def tell(self, facts: Sequence[Facts]) -> None:
        """Do nothing: rows come in the order of the source, with what it says."""

    def seal(self) -> None:
        """Do nothing: a unit that is not finished is done anew."""

    def finish(self, *, partial: bool = False) -> Self:
        """Complete both files.

        Raises
        ------
        StoreError
            If they cannot be written.
        """
        with self._writing():
            self._file.seek(0)
            self._file.write(header(self._rows, self._dim))
            self._file.close()
            self._table.close()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):  # a draft that is not finished is thrown away
            self._file.close()
        with suppress(OSError, pa.ArrowInvalid):
            self._table.close()
