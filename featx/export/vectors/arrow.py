"""Arrow's IPC file format, also known as Feather, version 2."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from featx.data.files import writing
from featx.export.vectors.choices import Choices
from featx.export.vectors.place import require_file
from featx.export.vectors.table import MARK, WRITTEN, VectorTable, with_vectors


def write_arrow(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write rows as one file, a record batch a block, uncompressed so that it can be mapped."""
    require_file(out)
    schema = table.arrow_schema(choices.dtype)
    with writing(out) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
        for block in choices.blocks(table):
            writer.write_batch(with_vectors(block, schema), custom_metadata={WRITTEN: MARK})
            pa.default_memory_pool().release_unused()
    return {}
