"""Other libraries that read exported rows: in each, the columns that tests compare.

Those of `PEERS` live in environments of their own, which ``python -m bench.peers`` makes, and are
asked by programs of a few lines.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

ENVIRONMENTS = Path(__file__).parents[1] / ".bench" / "environments"

Read = tuple[list[str], list[str | None], NDArray[Any]]
"""Ids, labels and vectors (N, D)."""


def by_pyarrow(path: Path) -> Read:
    import pyarrow.dataset as ds

    kind: Literal["ipc", "parquet"] = "ipc" if path.suffix == ".arrow" else "parquet"
    return _of_table(ds.dataset(str(path), format=kind).to_table())


def by_polars(path: Path) -> Read:
    import polars as pl

    read = pl.read_ipc if path.suffix == ".arrow" else pl.read_parquet
    frame = read(path / "*.parquet" if path.is_dir() else path)
    vectors = np.asarray(frame["vector"].to_list())
    return frame["id"].to_list(), frame["label"].to_list(), vectors


def by_pandas(path: Path) -> Read:
    import pandas as pd

    frame = pd.read_feather(path) if path.suffix == ".arrow" else pd.read_parquet(path)
    labels = [None if pd.isna(label) else label for label in frame["label"]]
    return frame["id"].tolist(), labels, np.stack(frame["vector"].tolist())


def by_duckdb(path: Path) -> Read:
    import duckdb

    place = path / "*.parquet" if path.is_dir() else path
    with duckdb.connect() as database:
        asked = "SELECT id, label, vector FROM read_parquet(?)"
        ids, labels, vectors = zip(*database.execute(asked, [str(place)]).fetchall(), strict=True)
    return list(ids), list(labels), np.asarray(vectors)


def by_numpy(path: Path) -> Read:
    import pandas as pd

    (folder,) = (each for each in path.glob("*emb") if each.is_dir())
    files = sorted(folder.glob("*.npy"))
    vectors = np.concatenate([np.load(file, allow_pickle=False) for file in files])
    tables = [pd.read_parquet(file) for file in sorted((path / "metadata").iterdir())]
    ids = [item_id for table in tables for item_id in table["id"]]
    labels = [None if pd.isna(label) else label for table in tables for label in table["label"]]
    return ids, labels, vectors


def by_faiss(path: Path) -> Read:
    import pandas as pd

    from featx.index.faiss import load_faiss

    index = load_faiss().read_index(str(path / "index.faiss"))
    table = pd.read_parquet(path / "items.parquet")
    labels = [None if pd.isna(label) else label for label in table["label"]]
    return table["id"].tolist(), labels, index.reconstruct_n(0, index.ntotal)


def by_lance(path: Path) -> Read:
    lance = pytest.importorskip("lance", reason="the extra lance is not installed")
    return _of_table(lance.dataset(str(path)).to_table())


def _of_table(table: Any) -> Read:  # noqa: ANN401
    vectors = table.column("vector").combine_chunks()
    values = np.asarray(vectors.flatten()).reshape(len(vectors), -1)
    return table.column("id").to_pylist(), table.column("label").to_pylist(), values


HERE: dict[str, list[Callable[[Path], Read]]] = {
    "x.parquet": [by_pyarrow, by_polars, by_pandas, by_duckdb],
    "x.arrow": [by_pyarrow, by_polars, by_pandas],
    "parquet": [by_pyarrow, by_polars, by_pandas, by_duckdb],
    "npy": [by_numpy],
    "faiss": [by_faiss],
    "lance": [by_lance],
}
"""Output → who reads it; the format is the output's name, or its suffix."""

TAIL = """
import json, sys
import numpy as np
np.save(sys.argv[2], np.asarray(vectors))
print(json.dumps([list(ids), list(labels)]))
"""

_FROM_DISK = """
import sys, datasets
made = datasets.load_from_disk(sys.argv[1])
assert list(made.features) == made.column_names
made.set_format("numpy", columns=["vector"], output_all_columns=True)
ids, labels, vectors = made["id"], made["label"], made[:]["vector"]
"""

_FROM_PARQUET = """
import sys, datasets
files = sys.argv[1] + "/*.parquet"
made = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=sys.argv[2])
made.set_format("numpy", columns=["vector"], output_all_columns=True)
ids, labels, vectors = made["id"], made["label"], made[:]["vector"]
sys.argv[2] += ".npy"
"""

_LANCE = """
import sys, lance
table = lance.dataset(sys.argv[1]).to_table()
ids, labels, vectors = (table.column(n).to_pylist() for n in ("id", "label", "vector"))
"""

_EMBEDDING_READER = """
import sys
import numpy as np
from embedding_reader import EmbeddingReader
reader = EmbeddingReader(
    sys.argv[1] + "/emb", file_format="parquet_npy", metadata_folder=sys.argv[1] + "/metadata",
    meta_columns=["id", "label"],
)
parts = list(reader(batch_size=7, show_progress=False))
vectors = np.concatenate([part for part, _ in parts])
ids = [each for _, meta in parts for each in meta["id"]]
labels = [each if isinstance(each, str) else None for _, meta in parts for each in meta["label"]]
"""

_AUTOFAISS = """
import sys, tempfile
import faiss, pyarrow.parquet as pq
from autofaiss import build_index
with tempfile.TemporaryDirectory() as place:
    index, _ = build_index(
        sys.argv[1] + "/emb", index_path=place + "/i", index_infos_path=place + "/j",
        index_key="Flat", metric_type="l2", verbose=40,
    )
vectors = index.reconstruct_n(0, index.ntotal)
facts = pq.read_table(sys.argv[1] + "/metadata")
ids, labels = facts.column("id").to_pylist(), facts.column("label").to_pylist()
"""

PEERS = {
    "hf by datasets": ("hf", "readers", _FROM_DISK),
    "parquet by datasets": ("parquet", "readers", _FROM_PARQUET),
    "lance by pylance": ("lance", "readers", _LANCE),
    "npy by embedding-reader": ("npy", "readers", _EMBEDDING_READER),
    "npy by autofaiss": ("npy", "autofaiss", _AUTOFAISS),
}
"""Name → output, environment and program, which sets ``ids``, ``labels`` and ``vectors``."""


def by_peer(path: Path, environment: str, program: str, scratch: Path) -> Read:
    """Ask a program in another environment; skips where that has not been made."""
    python = ENVIRONMENTS / environment / ("Scripts" if sys.platform == "win32" else "bin")
    if not python.is_dir():
        pytest.skip(f"no environment {environment!r}; run: python -m bench.peers {environment}")
    command = [str(python / "python"), "-c", program + TAIL, str(path), str(scratch / "vectors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=scratch)
    assert done.returncode == 0, done.stderr
    ids, labels = json.loads(done.stdout.splitlines()[-1])
    return ids, labels, np.load(scratch / "vectors.npy")
