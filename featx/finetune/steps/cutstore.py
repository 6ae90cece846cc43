"""Values at a cut, by item: one file that only grows, read as a memory map.

::

    values     rows of one width, item after item
    records    what each item is called, where its rows lie, and checksums of both

A commit is: values written and flushed, then their records.  What no record names, or what comes
after a record that is damaged, does not exist: it is cut off when the store is opened.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import DTypeLike, NDArray

from featx.data.claim import lock
from featx.data.files import explained, sync_folder

VALUES, RECORDS, LOCK = "values", "records", "lock"

KEY_BYTES = 36

RECORD = np.dtype(
    [
        ("key", f"S{KEY_BYTES}"),
        ("start", "<i8"),
        ("rows", "<i8"),
        ("values_crc", "<u4"),
        ("crc", "<u4"),
    ]
)

Span = tuple[int, int]
"""First row and number of rows."""


class CutStore:
    """A store that is open for one writer; items are never changed.

    Parameters
    ----------
    folder : Path
        Made if missing.
    width : int
        Numbers of a row.
    dtype : dtype
        Of a number.

    Raises
    ------
    StoreError
        If another process writes to it, or the place cannot be written.
    """

    def __init__(self, folder: Path, *, width: int, dtype: DTypeLike) -> None:
        self.folder, self.width, self.dtype = folder, width, np.dtype(dtype)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock(folder / LOCK)
            self._values, self._records = (_opened(folder / name) for name in (VALUES, RECORDS))
            sync_folder(folder)
        self._spans: dict[bytes, Span] = {}
        self._checksums: dict[bytes, int] = {}
        self._rows = self._count = 0
        self._recover()

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.dtype.itemsize

    @property
    def values_path(self) -> Path:
        """The file of the values."""
        return self.folder / VALUES

    def __contains__(self, key: bytes) -> bool:
        return key in self._spans

    def span(self, key: bytes) -> Span:
        """Return where the rows of an item lie that is there."""
        return self._spans[key]

    def holds(self, key: bytes) -> bool:
        """Return whether an item is there, and its values are those that were written."""
        if (span := self._spans.get(key)) is None:
            return False
        start, rows = span
        with explained(self.values_path):
            found = os.pread(self._values, rows * self.row_bytes, start * self.row_bytes)
        if crc32(found) == self._checksums[key]:
            return True
        del self._spans[key]
        return False

    def append(self, keys: Sequence[bytes], arrays: Sequence[NDArray[np.floating]]) -> None:
        """Add items durably, all of them or none.

        Parameters
        ----------
        keys : sequence of bytes, `KEY_BYTES` each
        arrays : sequence of ndarray, shape (rows, width)

        Raises
        ------
        StoreError
            If the disk is full or cannot be written; what was there before stays.
        """
        raws = [np.ascontiguousarray(array, dtype=self.dtype).tobytes() for array in arrays]
        ends = np.cumsum([self._rows, *(len(array) for array in arrays)])
        records = np.zeros(len(keys), dtype=RECORD)
        for place, (key, raw) in enumerate(zip(keys, raws, strict=True)):
            start = int(ends[place])
            records[place] = _record(key, start, int(ends[place + 1]) - start, crc32(raw))
        with explained(self.values_path):
            _write(self._values, b"".join(raws), at=self._rows * self.row_bytes)
            _write(self._records, records.tobytes(), at=self._count * RECORD.itemsize)
        self._know(records)

    def close(self) -> None:
        """Close the files, and let another process write."""
        for descriptor in (self._values, self._records, self._lock):
            os.close(descriptor)

    def _recover(self) -> None:
        """Know what was committed, and cut off the rest."""
        with explained(self.folder):
            raw = os.pread(self._records, self._size(self._records), 0)
            whole = np.frombuffer(raw[: len(raw) // RECORD.itemsize * RECORD.itemsize], RECORD)
            self._know(whole[: self._n_sound(whole)])
            os.ftruncate(self._records, self._count * RECORD.itemsize)
            os.ftruncate(self._values, self._rows * self.row_bytes)
            os.utime(self.folder)

    def _n_sound(self, records: NDArray[np.void]) -> int:
        """Return how many records, from the first on, are as they were written."""
        rows = self._size(self._values) // self.row_bytes
        for number, record in enumerate(records):
            key, start, count, values_crc, _ = record.item()
            is_same = record == _record(_full(key), start, count, values_crc)
            if not is_same or start + count > rows:
                return number
        return len(records)

    def _know(self, records: NDArray[np.void]) -> None:
        for key, start, rows, values_crc, _ in records.tolist():
            self._spans[_full(key)] = start, rows
            self._checksums[_full(key)] = values_crc
            self._rows = start + rows
            self._count += 1

    @staticmethod
    def _size(descriptor: int) -> int:
        return os.fstat(descriptor).st_size


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _record(key: bytes, start: int, rows: int, values_crc: int) -> NDArray[np.void]:
    record = np.array((key, start, rows, values_crc, 0), dtype=RECORD)
    record["crc"] = crc32(record.tobytes())
    return record


def _full(key: bytes) -> bytes:
    """Return a key with the zeros at its end that NumPy leaves out."""
    return key.ljust(KEY_BYTES, b"\0")


def _write(descriptor: int, raw: bytes, *, at: int) -> None:
    view = memoryview(raw)
    while view:
        count = os.pwrite(descriptor, view, at)
        view, at = view[count:], at + count
    os.fdatasync(descriptor)
