"""Lance: a dataset that LanceDB and others search; the only file that imports pylance."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from featx.errors import MissingPackageError
from featx.export.vectors.choices import Choices
from featx.export.vectors.place import writing_folder
from featx.export.vectors.table import VectorTable, with_vectors

if TYPE_CHECKING:
    from types import ModuleType


def write_lance(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write rows as version 1 of a dataset.

    Raises
    ------
    MissingPackageError
        If pylance is not installed.
    """
    lance = _lance()
    schema = table.arrow_schema(choices.dtype)
    batches = (with_vectors(block, schema) for block in choices.blocks(table))
    reader = pa.RecordBatchReader.from_batches(schema, batches)
    with writing_folder(out, "lance", table.source) as folder:
        lance.write_dataset(
            reader, str(folder), schema=schema, max_rows_per_file=choices.most_rows(table)
        )
    return {}


def _lance() -> "ModuleType":
    try:
        import lance
    except ModuleNotFoundError as cause:
        raise MissingPackageError("pylance", "'featx[lance]'") from cause
    module: ModuleType = lance
    return module
