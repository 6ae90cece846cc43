"""Parquet: one file, or a folder of them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featx.data.files import writing
from featx.export.vectors.choices import Choices
from featx.export.vectors.place import require_file, writing_folder
from featx.export.vectors.table import (
    MARK,
    VECTOR,
    WRITTEN,
    Block,
    VectorTable,
    in_files,
    with_vectors,
)

_REPEATED = ("label", "split", "status")


def write_parquet(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write rows as one file where `out` ends in ``.parquet``, else as a folder of files.

    A row group holds a block.  Texts are compressed, vectors are not: it would save little and
    readers would wait for it.
    """
    schema = table.arrow_schema(choices.dtype)
    if out.suffix == ".parquet":
        require_file(out)
        with writing(out) as temporary:
            write_blocks(temporary, schema, choices.blocks(table))
        return {}
    with writing_folder(out, "parquet", table.source) as folder:
        files = in_files(choices.blocks(table), choices.file_blocks(table))
        for number, blocks in enumerate(files):
            write_blocks(folder / f"part-{number:05d}.parquet", schema, blocks)
    return {}


def write_blocks(path: Path, schema: pa.Schema, blocks: Iterable[Block]) -> None:
    """Write one Parquet file with the columns of `schema`, of which vectors may be none."""
    with pq.ParquetWriter(path, schema, **_encoding(schema)) as writer:
        for block in blocks:
            batch = with_vectors(block, schema) if VECTOR in schema.names else block[0]
            writer.write_batch(batch, row_group_size=max(1, batch.num_rows))
            pa.default_memory_pool().release_unused()
        writer.add_key_value_metadata({WRITTEN.decode(): MARK.decode()})


def _encoding(schema: pa.Schema) -> dict[str, Any]:
    facts = [name for name in schema.names if name != VECTOR]
    return {
        "compression": {**dict.fromkeys(facts, "zstd"), f"{VECTOR}.list.element": "none"},
        "use_dictionary": [name for name in _REPEATED if name in facts],
        "write_statistics": facts,
    }
