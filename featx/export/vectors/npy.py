"""NumPy files with Parquet tables beside them, as embedding-reader, autofaiss and clip-retrieval.

::

    img_emb/img_emb_00000.npy           vectors; of texts text_emb, of others emb
    metadata/metadata_00000.parquet     facts, row i with row i
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from featx.export.vectors.choices import Choices
from featx.export.vectors.parquet import write_blocks
from featx.export.vectors.place import writing_folder
from featx.export.vectors.table import Block, VectorTable, as_type, in_files

_NAMES = {"image": "img_emb", "text": "text_emb"}


def write_npy(out: Path, table: VectorTable, choices: Choices) -> dict[str, Any]:
    """Write rows as pairs of files with the same number."""
    name = _NAMES.get(table.modality, "emb")
    files = in_files(choices.blocks(table), choices.file_blocks(table))
    with writing_folder(out, "npy", table.source) as folder:
        for kind in (name, "metadata"):
            (folder / kind).mkdir()
        for number, (rows, blocks) in enumerate(zip(choices.files(table), files, strict=True)):
            path = folder / name / f"{name}_{number:05d}.npy"
            kept = _writing_vectors(path, blocks, (rows, table.dim), choices.dtype)
            facts = folder / "metadata" / f"metadata_{number:05d}.parquet"
            write_blocks(facts, table.schema, kept)
    return {"embeddings": name}


def _writing_vectors(
    path: Path,
    blocks: Iterable[Block],
    shape: tuple[int, int],
    dtype: Any,  # noqa: ANN401
) -> Iterable[Block]:
    """Write the vectors of blocks as these are taken for their facts."""
    kind = np.dtype(dtype).newbyteorder("<")
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for facts, X in blocks:
            file.write(np.ascontiguousarray(as_type(X, dtype), dtype=kind).data)
            yield facts, X
