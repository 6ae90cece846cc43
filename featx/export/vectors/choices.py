"""What may be chosen of an export of rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from featx.export.vectors.table import Block, VectorTable
from featx.zoo.manifest import Precision

BLOCK_BYTES = 16 << 20
"""Vectors in fp32 that are held at once, and those of a row group."""

FILE_BYTES = 512 << 20
"""Vectors in fp32 of each file of a folder."""

_MOST_ROWS = 1 << 16  # of a block, however short the vectors are


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """How rows are written.

    Attributes
    ----------
    precision : {"fp32", "fp16"}
        Of the vectors.
    index : str
        faiss: what its ``index_factory`` makes.
    file_rows : int, optional
        About how many rows a file of a folder holds; as many as take 512 MB in fp32 unless given.
        A file holds whole blocks.
    """

    precision: Precision = "fp32"
    index: str = "Flat"
    file_rows: int | None = None

    @property
    def dtype(self) -> type[np.floating[Any]]:
        """NumPy's type of the vectors."""
        return np.float16 if self.precision == "fp16" else np.float32

    def blocks(self, table: VectorTable) -> Iterator[Block]:
        """Return the rows of a table in blocks."""
        return table.read(self.block_rows(table))

    def block_rows(self, table: VectorTable) -> int:
        """Return how many rows a block has, the last one excepted."""
        held = max(1, BLOCK_BYTES // (4 * table.dim))
        return min(held, _MOST_ROWS, self.file_rows or _MOST_ROWS)

    def file_blocks(self, table: VectorTable) -> int:
        """Return how many blocks make a file."""
        rows = self.file_rows or FILE_BYTES // (4 * table.dim)
        return max(1, rows // self.block_rows(table))

    def most_rows(self, table: VectorTable) -> int:
        """Return how many rows a file of a folder has, the last one excepted."""
        return self.file_blocks(table) * self.block_rows(table)
