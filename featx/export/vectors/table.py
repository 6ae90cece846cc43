"""Rows to be exported: the facts and the vector of each, read in blocks."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.mirror import facts_of
from featx.data.rows import SCHEMA
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.gallery.held import Held
from featx.index.metric import MetricName
from featx.types import Vectors

VECTOR = "vector"
"""Name of the column of vectors."""

KIND, SOURCE = b"featx", b"featx.source"
"""Keys of a schema's metadata: that it is an export of rows, and of what, as JSON."""

WRITTEN = b"featx.written"
"""Key of a mark beside the rows of a file: tables that are read do not carry it."""

MARK = b"vectors"

Block = tuple[pa.RecordBatch, Vectors]
"""Facts of n rows, and their vectors (n, D)."""

_GALLERY_SCHEMA = pa.schema([SCHEMA.field(name) for name in ("id", "uri", "label", "split")])
_GALLERY_SCHEMA = _GALLERY_SCHEMA.append(SCHEMA.field("preview"))


@dataclass(frozen=True, kw_only=True)
class VectorTable:
    """Rows with their facts, which may be read again and again.

    Attributes
    ----------
    rows : int
        That are to come; fewer are read of a gallery from which some are removed meanwhile.
    dim : int
        Width D of a vector.
    schema : Schema
        Of the facts.
    metric : {"cosine", "dot", "l2"}
        What nearness means for these vectors.
    is_unit : bool
        Whether they are known to be of length one.
    source : dict
        Model, fingerprint and the like, as JSON values.
    read : callable
        Number of rows → blocks of at most as many, in order.
    """

    rows: int
    dim: int
    schema: pa.Schema
    metric: MetricName
    is_unit: bool
    source: dict[str, Any]
    read: Callable[[int], Iterator[Block]] = field(repr=False)

    @property
    def modality(self) -> str:
        """Name of the modality."""
        return str(self.source["modality"])

    def arrow_schema(self, dtype: Any, more: dict[bytes, bytes] | None = None) -> pa.Schema:  # noqa: ANN401
        """Return the schema of facts and vectors of a NumPy type, with marks in its metadata."""
        kind: Any = pa.from_numpy_dtype(dtype)
        told = json.dumps(self.source, ensure_ascii=False).encode()
        schema = self.schema.append(pa.field(VECTOR, pa.list_(kind, self.dim)))
        return schema.with_metadata({KIND: MARK, SOURCE: told, **(more or {})})


def with_vectors(block: Block, schema: pa.Schema) -> pa.RecordBatch:
    """Return facts and vectors as one batch of a schema that `VectorTable.arrow_schema` made."""
    facts, X = block
    column = schema.field(VECTOR).type
    values = pa.array(np.ascontiguousarray(as_type(X, column.value_type.to_pandas_dtype())).ravel())
    vectors = pa.FixedSizeListArray.from_arrays(values, type=column)
    return pa.RecordBatch.from_arrays([*facts.columns, vectors], schema=schema)


def as_type(X: Vectors, dtype: Any) -> NDArray[Any]:  # noqa: ANN401
    """Return vectors in another precision.

    Raises
    ------
    InputError
        If a number is beyond what that can hold.
    """
    with np.errstate(over="ignore"):
        out = X.astype(dtype, copy=False)
    if out.dtype != X.dtype and (np.isinf(out) & np.isfinite(X)).any():
        largest = float(np.finfo(dtype).max)
        found = float(np.abs(X[np.isfinite(X)]).max())
        message = f"vectors: hold {found:g}; {np.dtype(dtype)} holds {largest:g} at most; use fp32"
        raise InputError(message)
    return out


def in_files(blocks: Iterator[Block], per_file: int) -> Iterator[Iterator[Block]]:
    """Yield the blocks of each file, one file at least; each is to be used up before the next."""
    yield islice(blocks, per_file)
    for first in blocks:
        yield chain((first,), islice(blocks, per_file - 1))


def of_set(opened: EmbeddingSet) -> VectorTable:
    """Return the rows of an embedding set, in its order."""

    def read(rows: int) -> Iterator[Block]:
        start = 0
        for facts in _regrouped(facts_of(opened), rows):
            yield facts, np.asarray(opened.X[start : start + facts.num_rows])
            start += facts.num_rows

    return VectorTable(
        rows=len(opened),
        dim=opened.dim,
        schema=SCHEMA,
        metric="cosine" if opened.normalized else "l2",
        is_unit=opened.normalized,
        source=_source(opened.path, opened.manifest["model"]),
        read=read,
    )


def of_gallery(held: Held) -> VectorTable:
    """Return the items of a gallery that can be found, what was added last."""

    def read(rows: int) -> Iterator[Block]:
        for block in held.blocks(rows):
            listed = [
                {"id": item_id, "uri": each.uri, "label": each.label, "split": each.split}
                | {"preview": each.preview}
                for item_id, each in block.items
            ]
            yield pa.RecordBatch.from_pylist(listed, schema=_GALLERY_SCHEMA), block.X

    return VectorTable(
        rows=len(held),
        dim=held.dim,
        schema=_GALLERY_SCHEMA,
        metric=held.metric,
        is_unit=False,
        source=_source(held.path, held.facts),
        read=read,
    )


def _source(path: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    names = ("modality", "prompt", "fingerprint", "space", "dim", "normalize")
    told = {"made_of": path.name, "model": facts.get("name") or facts.get("model")}
    return told | {name: facts[name] for name in names if name in facts}


def _regrouped(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield the same rows in batches of `rows`, the last one shorter."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        at = 0
        while at < batch.num_rows:
            taken = batch.slice(at, rows - sum(each.num_rows for each in held))
            held.append(taken)
            at += taken.num_rows
            if sum(each.num_rows for each in held) == rows:
                yield _joined(held)
                held = []
    if held:
        yield _joined(held)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    (whole,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    return whole
