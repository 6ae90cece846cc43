"""Facts of a gallery's items: Arrow files that are mapped, never read as a whole.

::

    items-<n>.arrow    id, uri, label, split, preview, thumbnail; row i belongs to vector i
    order-<n>.npy      uint64, two lines: hashes of the ids, ascending, and the row of each, so that
                       an id is found by halving numbers

Neither is read as a whole to find an id; of equal hashes the ids themselves are compared.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
from blake3 import blake3
from numpy.typing import NDArray

from featx.data.files import writing
from featx.errors import StoreError
from featx.gallery.arrays import map_array
from featx.types import Rows

Column = Any
"""An Arrow array; generic only in the stubs."""

Codes = NDArray[np.int32]
"""Numbers of names, one a row; -1 where a row has none."""

Hashes = NDArray[np.uint64]
"""Numbers of ids, one a row; two ids may share one, which hardly ever happens."""

TEXTS = ("id", "uri", "label", "split", "preview")
NAMED = ("label", "split")
"""Columns of few distinct names."""

_TYPES: dict[str, Any] = {
    **dict.fromkeys(TEXTS, pa.string()),
    "thumbnail": pa.large_binary(),
}
SCHEMA = pa.schema(_TYPES)
"""Of batches that are handed over; in the file `NAMED` columns are dictionaries."""

BATCH_ROWS = 4096
"""Rows of each batch of a file, but for the last."""

_STORED = pa.schema(
    [
        field.with_type(pa.dictionary(pa.int32(), pa.string())) if field.name in NAMED else field
        for field in SCHEMA
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFacts:
    """What a gallery keeps of an item beside its id and vector.

    Attributes
    ----------
    label, split : str or None
    uri : str
        Where it came from, for people.
    preview : str
        What reminds a person of it, such as the beginning of a text.
    thumbnail : bytes or None
        A small picture, as the bytes of an image file.
    """

    label: str | None = None
    split: str | None = None
    uri: str = ""
    preview: str = ""
    thumbnail: bytes | None = None


class Names(NamedTuple):
    """The distinct labels and splits of some items, each sorted."""

    label: list[str]
    split: list[str]


def to_batch(ids: Sequence[str], facts: Sequence[ItemFacts]) -> pa.RecordBatch:
    """Return items as a batch of `SCHEMA`."""
    columns: list[Sequence[Any]] = [ids]
    columns += [[getattr(each, name) for each in facts] for name in SCHEMA.names[1:]]
    arrays = [to_column(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def from_batch(batch: pa.RecordBatch) -> Iterator[tuple[str, ItemFacts]]:
    """Yield the id and the facts, but for the thumbnail, of each item of a batch of `SCHEMA`."""
    columns: list[Column] = [batch.column(name) for name in TEXTS]
    for item_id, uri, label, split, preview in zip(*(c.to_pylist() for c in columns), strict=True):
        facts = ItemFacts(uri=uri or "", label=label, split=split, preview=preview or "")
        yield item_id, facts


def to_column(values: Sequence[str | bytes | None], kind: pa.DataType) -> Column:
    """Return an Arrow array of texts or bytes, of type `kind`, with nulls for None.

    `pyarrow.array` would import pandas, where it is installed: half a second in a thread beside
    searches and adds.
    """
    pieces = [v.encode() if isinstance(v, str) else v or b"" for v in values]
    is_valid = np.array([value is not None for value in values], np.bool_)
    offsets = np.zeros(len(values) + 1, np.int32 if kind == pa.string() else np.int64)
    np.cumsum([len(piece) for piece in pieces], out=offsets[1:])
    validity = np.packbits(is_valid, bitorder="little")
    contents: list[Any] = [validity, offsets, b"".join(pieces)]
    return pa.Array.from_buffers(kind, len(values), [pa.py_buffer(each) for each in contents])


def names_of(batches: Iterable[pa.RecordBatch]) -> Names:
    """Return the distinct labels and splits of batches that have such columns."""
    found: dict[str, set[str]] = {name: set() for name in NAMED}
    for batch in batches:
        for name, seen in found.items():
            column: Column = batch.column(name)
            seen.update(column.unique().drop_null().to_pylist())
    return Names(sorted(found["label"]), sorted(found["split"]))


def write_items(items: Path, order: Path, batches: Iterable[pa.RecordBatch], names: Names) -> int:
    """Write both files of a part, each whole or not at all; return the number of rows.

    Parameters
    ----------
    items, order : Path
    batches : iterable of RecordBatch
        Of `SCHEMA`, of any length.
    names : Names
        At least those that occur.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written.
    """
    found = [np.empty(0, "<u8")]
    with writing(items) as temporary, pa.ipc.new_file(str(temporary), _STORED) as file:
        for batch in _even(batches):
            file.write_batch(_stored(batch, names))
            ids: Column = batch.column("id")
            found.append(_hashes(ids.to_pylist()))
    hashes = np.concatenate(found)
    rows = np.argsort(hashes, kind="stable")
    with writing(order) as temporary, temporary.open("wb") as opened:
        np.save(opened, np.stack((hashes[rows], rows.astype("<u8"))))
    return len(rows)


def _hashes(ids: Iterable[str]) -> Hashes:
    """Return a number for each id, the same on every machine: 64 bits of its BLAKE3 digest."""
    # A file name that is not UTF-8 is no id, but may be asked for.
    raw = (item_id.encode("utf-8", "surrogatepass") for item_id in ids)
    digests = b"".join(blake3(each).digest(length=8) for each in raw)
    return np.frombuffer(digests, "<u8")


def _even(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `BATCH_ROWS`."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        while sum(each.num_rows for each in held) >= BATCH_ROWS:
            whole = _joined(held)
            yield whole.slice(0, BATCH_ROWS)
            held = [whole.slice(BATCH_ROWS)]
    if any(batch.num_rows for batch in held):
        yield _joined(held)


def _joined(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return batch


def _stored(batch: pa.RecordBatch, names: Names) -> pa.RecordBatch:
    columns: list[Column] = []
    for field in SCHEMA:
        column = batch.column(field.name)
        if field.name in NAMED:
            from pyarrow import compute as pc  # 90 ms that no reader needs

            values = to_column(getattr(names, field.name), pa.string())
            column = pa.DictionaryArray.from_arrays(pc.index_in(column, values), values)
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=_STORED)


class ItemTable:
    """Items of one part, mapped; opened by `ItemTable.open`."""

    def __init__(self, file: pa.ipc.RecordBatchFileReader, order: Hashes) -> None:
        self._file = file
        self._hashes, self._order = order
        self._batches: dict[int, list[Column]] = {}
        self._reading = Lock()  # Arrow does not promise that two threads may read a file

    @classmethod
    def open(cls, items: Path, order: Path, rows: int) -> Self:
        """Map the files of a part.

        Raises
        ------
        StoreError
            If one is missing, damaged or not of `rows` rows.
        """
        try:
            file = pa.ipc.open_file(pa.memory_map(str(items)))
            count = max(0, file.num_record_batches - 1)
            full = count * BATCH_ROWS
            last = file.get_batch(count).num_rows if file.num_record_batches else 0
        except (OSError, pa.ArrowException) as cause:
            raise StoreError(f"{items.name} is missing or damaged") from cause
        if file.schema != _STORED or full + last != rows:
            raise StoreError(f"{items.name} is damaged: {full + last} rows instead of {rows}")
        return cls(file, map_array(order, np.uint64, (2, rows)))

    def __len__(self) -> int:
        return len(self._order)

    def id(self, row: int) -> str:
        """Return the id of a row."""
        number, at = divmod(row, BATCH_ROWS)
        found: str = (self._batches.get(number) or self._read(number))[0][at].as_py()
        return found

    def facts(self, row: int) -> ItemFacts:
        """Return the facts of a row but for its thumbnail."""
        number, at = divmod(row, BATCH_ROWS)
        columns = (self._batches.get(number) or self._read(number))[1:5]
        uri, label, split, preview = [column[at].as_py() for column in columns]
        return ItemFacts(uri=uri or "", label=label, split=split, preview=preview or "")

    def thumbnail(self, row: int) -> bytes | None:
        """Return the thumbnail of a row, None if it has none."""
        found: bytes | None = self._value(row, 5)
        return found or None

    def rows_of(self, item_id: str) -> list[int]:
        """Return the rows of an id; several where it was replaced within the part."""
        (wanted,) = _hashes([item_id])
        at = int(self._hashes.searchsorted(wanted))
        found = []
        while at < len(self._order) and self._hashes[at] == wanted:
            if self.id(row := int(self._order[at])) == item_id:
                found.append(row)
            at += 1
        return found

    def repeated(self) -> Rows:
        """Return the rows whose id a later row has too; reads the ids of equal hashes only."""
        is_same = self._hashes[:-1] == self._hashes[1:]
        either = np.append(is_same, False) | np.append(False, is_same)
        found = []
        later: set[str] = set()
        for row in np.sort(self._order[either])[::-1].tolist():
            item_id = self.id(row)
            if item_id in later:
                found.append(row)
            later.add(item_id)
        return np.array(found[::-1], np.int64)

    def names(self, column: str) -> list[str]:
        """Return the names that a column of `NAMED` is made of."""
        if not self._file.num_record_batches:
            return []
        dictionary = self._column(0, column).dictionary
        dictionary.validate(full=True)
        found: list[str] = dictionary.to_pylist()
        return found

    def codes(self, column: str) -> Codes:
        """Return the number of each row's name among `names`; shape (N,)."""
        batches = range(self._file.num_record_batches)
        parts = [_filled(self._column(i, column).indices) for i in batches]
        return np.concatenate(parts) if parts else np.empty(0, np.int32)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows in order, in batches of `SCHEMA`, checked in whole.

        Raises
        ------
        ArrowInvalid
            If one is damaged: what follows a wrong offset would read beyond the file.
        """
        for batch in self._stored():
            batch.validate(full=True)
            if batch.column("id").null_count:
                raise pa.ArrowInvalid("an id is null")
            columns: list[Column] = list(batch.columns)
            for at, name in enumerate(SCHEMA.names):
                columns[at] = columns[at].dictionary_decode() if name in NAMED else columns[at]
            yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    def _stored(self) -> Iterator[pa.RecordBatch]:
        return (self._batch(i) for i in range(self._file.num_record_batches))

    def _batch(self, number: int) -> pa.RecordBatch:
        with self._reading:
            return self._file.get_batch(number)

    def _column(self, batch: int, name: str) -> Any:  # noqa: ANN401
        return self._batch(batch).column(name)

    def _value(self, row: int, column: int) -> Any:  # noqa: ANN401
        number, at = divmod(row, BATCH_ROWS)
        return (self._batches.get(number) or self._read(number))[column][at].as_py()

    def _read(self, number: int) -> list[Column]:
        columns: list[Column] = list(self._batch(number).columns)
        self._batches[number] = columns
        return columns


def _filled(indices: Column) -> Codes:
    """Return int32 indices with -1 where they are null.

    By NumPy: what Arrow does with scalars imports pandas where that is installed, half a second.
    """
    valid, values = indices.buffers()
    end = indices.offset + len(indices)
    found = np.frombuffer(values, np.int32, end)
    if valid is not None:
        bits = np.unpackbits(np.frombuffer(valid, np.uint8), count=end, bitorder="little")
        found = np.where(bits, found, np.int32(-1))
    return found[indices.offset :]


Batches = Callable[[], Iterator[pa.RecordBatch]]
"""Gives the same batches again at each call."""


def only(batches: Batches, alive: NDArray[np.bool_] | None) -> Batches:
    """Return the rows of batches that `alive` marks; all if it is None."""
    return batches if alive is None else lambda: _chosen(batches(), alive, _kept)


def blanked(batches: Batches, alive: NDArray[np.bool_] | None) -> Batches:
    """Return all rows of batches, without the facts of those that `alive` does not mark."""
    return batches if alive is None else lambda: _chosen(batches(), alive, _emptied)


def _chosen(
    batches: Iterator[pa.RecordBatch],
    alive: NDArray[np.bool_],
    choose: Callable[[pa.RecordBatch, Column], pa.RecordBatch],
) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in batches:
        yield choose(batch, pa.array(alive[start : start + batch.num_rows]))
        start += batch.num_rows


def _kept(batch: pa.RecordBatch, alive: Column) -> pa.RecordBatch:
    return batch.filter(alive)


def _emptied(batch: pa.RecordBatch, alive: Column) -> pa.RecordBatch:
    from pyarrow import compute as pc

    # Empty, not null: the bytes of a null stay in the file.
    columns = [
        pc.if_else(alive, column, pa.scalar(None if field.name in NAMED else b"", field.type))
        for field, column in zip(SCHEMA, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
