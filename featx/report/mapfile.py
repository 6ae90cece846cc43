"""A map as a Parquet table, for tools that draw maps of millions of items."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from featx.data.files import writing
from featx.data.store import EmbeddingSet
from featx.report.outputs import MAP_MARK
from featx.report.places import Method, Places, lay_out

COLUMNS = ("id", "uri", "label", "split", "text")


def write_map(
    embedding_set: EmbeddingSet, out: Path, method: Method = "pca", *, seed: int = 0
) -> Places:
    """Write where each row of a set lies on a map, and return it.

    Columns: those of `COLUMNS` (``text`` is what the set keeps of a text, at most 200
    characters; null for other items), ``x`` and ``y`` (float32; null where the vector is not
    finite).

    Parameters
    ----------
    embedding_set : EmbeddingSet
    out : Path
        There whole, or not at all.
    method : {"pca", "umap"}
    seed : int

    Raises
    ------
    InputError
        If no vector is finite.
    MissingPackageError
        If the method's package is absent.
    StoreError
        If the file cannot be written.
    """
    places = lay_out(embedding_set.X, method, seed=seed)
    items = embedding_set.items
    is_text = embedding_set.modality == "text"
    text = items.column("preview") if is_text else pa.nulls(len(items), pa.string())
    columns = {name: items.column(name) for name in COLUMNS[:-1]} | {"text": text}
    for name, values in zip("xy", places.xy.T, strict=True):
        columns[name] = pa.array(values, mask=np.isnan(values))
    with writing(out) as temporary:
        pq.write_table(pa.table(columns).replace_schema_metadata(MAP_MARK), temporary)
    return places
