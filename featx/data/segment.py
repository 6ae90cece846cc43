"""Segments: append-only ``.npy`` files of float32 rows, and a view over several of them.

The header is padded to 128 bytes, so that it can be written anew in place when the segment is
sealed; until then the committed length is kept elsewhere (`featx.data.log`).
"""

import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.data.files import explained, sync_folder
from featx.errors import StoreError
from featx.types import Vectors

HEADER_BYTES = 128


def header(rows: int, dim: int) -> bytes:
    """Return a ``.npy`` header (version 1.0) of exactly 128 bytes for (rows, dim) float32."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}"
    padded = text.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode("ascii")


class SegmentFile:
    """A segment open for appending.

    Parameters
    ----------
    path : Path
        Created if missing.
    dim : int
    committed : int
        Rows that count; anything after them is cut off.

    Raises
    ------
    StoreError
        If the file holds fewer rows than that.
    """

    def __init__(self, path: Path, dim: int, committed: int) -> None:
        self.path = path
        self.dim = dim
        with explained(path):
            if committed:
                _check_size(path, committed, dim)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.pwrite(self._descriptor, header(committed, dim), 0)
            os.ftruncate(self._descriptor, self._offset(committed))
            sync_folder(path.parent)

    def write(self, X: Vectors, at: int) -> None:
        """Write rows at position `at` and flush them to the disk."""
        self.put(X, at)
        with explained(self.path):
            os.fdatasync(self._descriptor)

    def put(self, X: Vectors, at: int) -> None:
        """Write rows at position `at`; they are on the disk for sure once the file is sealed."""
        raw = np.ascontiguousarray(X, dtype="<f4").reshape(-1).view(np.uint8).data
        offset = self._offset(at)
        with explained(self.path):
            while raw:
                count = os.pwrite(self._descriptor, raw, offset)
                raw, offset = raw[count:], offset + count

    def seal(self, rows: int) -> None:
        """Write the final header; the file is a plain ``.npy`` from now on."""
        with explained(self.path):
            os.ftruncate(self._descriptor, self._offset(rows))
            os.pwrite(self._descriptor, header(rows, self.dim), 0)
            os.fsync(self._descriptor)
        self.close()

    def close(self) -> None:
        """Close the file; what was not committed is cut off at the next opening."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _offset(self, row: int) -> int:
        return HEADER_BYTES + row * self.dim * 4


def map_segment(path: Path, rows: int, dim: int) -> Vectors:
    """Map a segment's first `rows` rows, read-only.

    Raises
    ------
    StoreError
        If the file is missing or shorter than it should be.
    """
    if rows == 0:
        return np.empty((0, dim), dtype=np.float32)
    with explained(path):
        _check_size(path, rows, dim)
        mapped = np.memmap(path, dtype="<f4", mode="r", offset=HEADER_BYTES, shape=(rows, dim))
    return mapped.view(np.ndarray)


def _check_size(path: Path, rows: int, dim: int) -> None:
    needed, size_bytes = HEADER_BYTES + rows * dim * 4, path.stat().st_size
    if size_bytes < needed:
        message = f"{path}: damaged: {size_bytes} bytes; {rows} rows of {dim} need {needed}"
        raise StoreError(message)


class RowView:
    """Several segments, read as one (N, D) matrix; rows are fetched when they are asked for.

    ``view[i]``, ``view[a:b]`` and ``view[rows]`` copy just those rows; ``np.asarray(view)``
    copies all of them.
    """

    def __init__(self, segments: Sequence[Vectors]) -> None:
        self.segments = list(segments)
        self._ends = np.cumsum([len(segment) for segment in self.segments])
        self.shape = (int(self._ends[-1]), self.segments[0].shape[1])
        self.dtype = np.dtype(np.float32)
        self.ndim = 2

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> Vectors:  # noqa: ANN401
        if isinstance(key, tuple):
            return np.asarray(self[key[0]][..., key[1]])
        if isinstance(key, slice):  # of a billion rows too, no list of all is made
            return self._take(np.arange(*key.indices(len(self))))
        rows = np.arange(len(self))[key]
        return self._take(rows) if rows.ndim else self._take(rows[None])[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:  # noqa: ANN401
        if copy is False:
            message = "a set of several segments cannot be one array without a copy"
            raise ValueError(message)
        return np.concatenate(self.segments).astype(dtype or self.dtype, copy=False)

    def _take(self, rows: NDArray[np.int64]) -> Vectors:
        out = np.empty((len(rows), self.shape[1]), dtype=np.float32)
        homes = np.searchsorted(self._ends, rows, side="right")
        for home in np.unique(homes):
            mask = homes == home
            start = self._ends[home] - len(self.segments[home])
            out[mask] = self.segments[home][rows[mask] - start]
        return out
