"""A folder of an index as faiss writes it, and a table of the items, by row.

::

    index.faiss      ids are rows of the table, from 0
    items.parquet
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from featx.errors import InputError
from featx.export.vectors.choices import Choices
from featx.export.vectors.parquet import write_blocks
from featx.export.vectors.place import writing_folder
from featx.export.vectors.table import Block, VectorTable, as_type
from featx.index.faiss import faiss_metric, load_faiss
from featx.index.metric import row_norms, scaled, snapped
from featx.types import Vectors

if TYPE_CHECKING:
    from types import ModuleType

TRAINING_ROWS = 1 << 18
"""Rows that an index is trained on at most, spread over all."""

_ROWS_AT = 8  # where an index begins: 4 bytes of its kind, 4 of its width, 8 of its rows


def write_faiss(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write an index and the items.

    A flat index is written as its rows are read.  Others are trained and held in memory.  Where
    cosines are compared and rows are not of length one, the index holds them scaled.

    Raises
    ------
    InputError
        If faiss makes no such index, or not of these vectors, or halves do not hold them.
    MissingPackageError
        If faiss is not installed.
    """
    faiss = load_faiss()
    name = "SQfp16" if (choices.index, choices.precision) == ("Flat", "fp16") else choices.index
    if choices.precision == "fp16" and name == choices.index:
        message = f"--index {name}: says itself how numbers are stored; leave out --precision"
        raise InputError(message)
    empty = _made(faiss, name, table)
    with writing_folder(out, "faiss", table.source) as folder:
        place = folder / "index.faiss"
        is_flat = name in {"Flat", "SQfp16"}
        blocks = _streamed if is_flat else _added
        write_blocks(folder / "items.parquet", table.schema, blocks(place, empty, table, choices))
    return {"index": name, "metric": table.metric}


def _made(faiss: "ModuleType", name: str, table: VectorTable) -> Any:  # noqa: ANN401
    try:
        index = faiss.index_factory(table.dim, name, faiss_metric(table.metric))
    except RuntimeError as cause:
        said = str(cause).splitlines()[0].rpartition(": ")[2]
        message = f"--index {name}: faiss makes no such index of {table.dim} numbers: {said}"
        raise InputError(message) from cause
    return index


def _streamed(path: Path, index: Any, table: VectorTable, choices: Choices) -> Iterator[Block]:  # noqa: ANN401
    """Write a flat index, as its file is: what faiss writes of an empty one, and the codes."""
    faiss = load_faiss()
    if not index.is_trained:
        index.train(np.zeros((1, table.dim), np.float32))  # of fp16 there is nothing to learn
    head = faiss.serialize_index(index).tobytes()
    index.add(np.zeros((1, table.dim), np.float32))
    one = faiss.serialize_index(index).tobytes()
    # It ends with the number of the codes, in units of the index's own, and the codes.
    unit = int.from_bytes(one[len(head) - 8 : len(head)], "little")
    rows = 0
    with path.open("wb") as file:
        file.write(head)
        for facts, X in choices.blocks(table):
            file.write(index.sa_encode(_ready(X, table, choices)).data)
            rows += len(X)
            yield facts, X
        for at, number in ((_ROWS_AT, rows), (len(head) - 8, unit * rows)):
            file.seek(at)
            file.write(number.to_bytes(8, "little"))


def _added(path: Path, index: Any, table: VectorTable, choices: Choices) -> Iterator[Block]:  # noqa: ANN401
    """Train an index, add the rows in blocks, and write it at the end."""
    faiss = load_faiss()
    if not index.is_trained:
        try:
            index.train(_ready(_spread(table, choices), table, choices))
        except RuntimeError as cause:
            said = str(cause).splitlines()[0].rpartition(": ")[2]
            message = f"faiss: {table.rows:,} rows do not train this index: {said}; use Flat"
            raise InputError(message) from cause
    for facts, X in choices.blocks(table):
        index.add(_ready(X, table, choices))
        yield facts, X
    faiss.write_index(index, str(path))


def _spread(table: VectorTable, choices: Choices) -> Vectors:
    """Return rows at equal distances, all where there are few."""
    step = max(1, -(-table.rows // TRAINING_ROWS))
    parts, start = [np.empty((0, table.dim), np.float32)], 0
    for _, X in choices.blocks(table):
        parts.append(np.array(X[-start % step :: step]))
        start += len(X)
    return np.concatenate(parts)


def _ready(X: Vectors, table: VectorTable, choices: Choices) -> Vectors:
    """Return rows as the index compares them."""
    if table.metric == "cosine" and not table.is_unit:
        return scaled(X, snapped(row_norms(X)))
    if choices.precision == "fp16" or choices.index.endswith("SQfp16"):
        as_type(X, np.float16)  # raises where faiss would write infinity
    return np.ascontiguousarray(X, dtype=np.float32)
