"""NumPy files with Parquet tables beside them, as embedding-reader, autofaiss and clip-retrieval.

::

    img_emb/img_emb_00000.npy           vectors; of texts text_emb, of others emb
    metadata/metadata_00000.parquet     facts, row i with row i
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

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
        for number, blocks in enumerate(files):
            path = folder / name / f"{name}_{number:05d}.npy"
            kept = _writing_vectors(path, blocks, table.dim, choices.dtype)
            facts = folder / "metadata" / f"metadata_{number:05d}.parquet"
            write_blocks(facts, table.schema, kept)
    return {"embeddings": name}


def _writing_vectors(
    path: Path,
    blocks: Iterable[Block],
    dim: int,
    dtype: Any,  # noqa: ANN401
) -> Iterable[Block]:
    """Write the vectors of blocks as these are taken for their facts."""
    kind = np.dtype(dtype).newbyteorder("<")
    rows = 0
    with path.open("wb") as file:
        _write_header(file, kind, (rows, dim))
        for facts, X in blocks:
            file.write(np.ascontiguousarray(as_type(X, dtype), dtype=kind).data)
            rows += len(X)
            yield facts, X
        file.seek(0)  # NumPy leaves room for any number of rows
        _write_header(file, kind, (rows, dim))


def _write_header(file: BinaryIO, kind: np.dtype[Any], shape: tuple[int, int]) -> None:
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
