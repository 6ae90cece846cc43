"""Embedding sets on disk, as they are read: ``X.emb/``.

::

    manifest.json           format, version, model, source, the sealed segments; what it does not
                            name does not exist
    segment-00000.npy       float32 rows
    segment-00000.parquet   facts of each row, row i with row i
    errors.jsonl            items that the last run could not embed
    index.sqlite            the commit log of the open segment; can be rebuilt from the rest
"""

from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.files import read_json
from featx.data.rows import SCHEMA, read_table
from featx.data.segment import RowView, map_segment
from featx.errors import StoreError
from featx.types import Vectors

FORMAT = "featx-embeddings"
VERSION = 1


def _mended(path: Path) -> str:
    """Return what to do about a path that is no embedding set."""
    if (path / "gallery.json").is_file():
        return "it is a gallery; name the set that it was made of"
    source, out = ("SOURCE", path) if not path.exists() else (path, path.with_suffix(".emb"))
    if out == path:
        source = "SOURCE"
    return f"make one with: featx embed {source} -m MODEL -o {out}"


class EmbeddingSet:
    """A set of embeddings with the facts of its items, read-only.

    Attributes
    ----------
    path : Path
    manifest : dict
        ``manifest.json``.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a set; the vectors are mapped, not read.

        Raises
        ------
        StoreError
            If there is no set, or it is damaged, unfinished with no sealed row, or newer.
        """
        path = Path(path)
        if not (path / "manifest.json").is_file():
            raise StoreError(f"{path}: not an embedding set; {_mended(path)}")
        manifest = read_json(path / "manifest.json", format_name=FORMAT, version=VERSION)
        return cls(path, manifest)

    @property
    def model(self) -> str:
        """Name of the backbone."""
        return str(self.manifest["model"]["name"])

    @property
    def modality(self) -> str:
        """Name of the modality."""
        return str(self.manifest["model"]["modality"])

    @property
    def dim(self) -> int:
        """Width D of a vector."""
        return int(self.manifest["model"]["dim"])

    @property
    def prompt(self) -> str:
        """Name of the prompt that was put before each item; mostly empty."""
        return str(self.manifest["model"].get("prompt", ""))

    @property
    def normalized(self) -> bool:
        """Whether vectors have unit length."""
        return bool(self.manifest["model"]["normalize"])

    @property
    def fingerprint(self) -> str:
        """Hash of every fact that made the vectors."""
        return str(self.manifest["model"]["fingerprint"])

    @property
    def space(self) -> str:
        """Hash of the space the vectors lie in."""
        return str(self.manifest["model"]["space"])

    @property
    def set_id(self) -> str:
        """Given once, when the set was made."""
        return str(self.manifest["set_id"])

    @property
    def segments(self) -> list[str]:
        """Names of the sealed segments; a name is never used again for other vectors."""
        return [str(segment["name"]) for segment in self.manifest["segments"]]

    @property
    def finished(self) -> bool:
        """Whether the last embedding run came to its end."""
        return bool(self.manifest["finished"])

    def __len__(self) -> int:
        return sum(int(segment["rows"]) for segment in self.manifest["segments"])

    @cached_property
    def X(self) -> Vectors | RowView:  # noqa: N802
        """Vectors, shape (N, D): a memory map of one segment, or a lazy view over several."""
        mapped = [
            map_segment(self.path / f"{segment['name']}.npy", int(segment["rows"]), self.dim)
            for segment in self.manifest["segments"]
        ]
        if len(mapped) > 1:
            return RowView(mapped)
        return mapped[0] if mapped else np.empty((0, self.dim), dtype=np.float32)

    @cached_property
    def items(self) -> pa.Table:
        """Facts of the rows: id, uri, label, split, digest, status, n_tokens, truncated, preview.

        Raises
        ------
        StoreError
            If a table is missing or damaged.
        """
        tables = [
            read_table(self.path / str(segment["items"]), rows=int(segment["rows"]))
            for segment in self.manifest["segments"]
        ]
        return pa.concat_tables(tables) if tables else SCHEMA.empty_table()

    @cached_property
    def ids(self) -> list[str]:
        """Ids of the rows, in order."""
        return [str(value) for value in self.items.column("id").to_pylist()]

    @cached_property
    def y(self) -> NDArray[np.object_]:
        """Labels, shape (N,): str, or None where an item has none."""
        return np.array(self.items.column("label").to_pylist(), dtype=object)

    def __repr__(self) -> str:
        labels = self.items.column("label").drop_null()
        classes = len(labels.unique())
        return (
            f"EmbeddingSet({str(self.path)!r}: {len(self):,} {self.modality} items, "
            f"{self.model}, {self.dim} dimensions, {len(labels):,} labelled in {classes} classes)"
        )
