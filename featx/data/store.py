"""Embedding sets on disk, as they are read: ``X.emb/``.

::

    manifest.json           format, version, model, source, the sealed segments; what it does not
                            name does not exist
    segment-00000.npy       float32 rows
    segment-00000.parquet   facts of each row, row i with row i
    errors.jsonl            items that the last run could not embed
    index.sqlite            the commit log of the open segment; can be rebuilt from the rest
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.places import is_url
from featx.data.places.copies import local_copy, origin_of
from featx.data.rows import SCHEMA, check_table, read_table
from featx.data.segment import RowView, map_segment
from featx.data.setmanifest import read_manifest, remade
from featx.errors import StoreError
from featx.types import Vectors


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

        Parameters
        ----------
        path : str or Path
            A folder, or a URL of an object store: then of a copy in the cache, where a file of
            the set is copied once.

        Raises
        ------
        StoreError
            If there is no set, or its manifest is damaged or newer, with what mends it.
        """
        path = local_copy(path) if is_url(path) else Path(path)
        return cls(path, read_manifest(path))

    @property
    def where(self) -> str:
        """As a user names it: its path, or the URL that it is a copy of."""
        return origin_of(self.path)

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
        with self.mended():
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
        with self.mended():
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

    def check_files(self) -> None:
        """Check that all files of the rows are there and whole; what they hold is not read.

        Raises
        ------
        StoreError
            If one is not, with what mends the set.
        """
        _ = self.X  # sizes are checked as they are mapped
        with self.mended():
            for segment in self.manifest["segments"]:
                check_table(self.path / str(segment["items"]), rows=int(segment["rows"]))

    @contextmanager
    def mended(self) -> Iterator[None]:
        """Say what mends the set too, where a file of it is found missing or damaged."""
        try:
            yield
        except StoreError as cause:
            known = cause.__cause__
            if isinstance(known, OSError) and known.errno not in {None, errno.ENOENT}:
                raise  # such as a file that may not be read
            raise StoreError(f"{cause}; {remade(self.path, self.manifest)}") from cause

    def __repr__(self) -> str:
        labels = self.items.column("label").drop_null()
        classes = len(labels.unique())
        return (
            f"EmbeddingSet({self.where!r}: {len(self):,} {self.modality} items, "
            f"{self.model}, {self.dim} dimensions, {len(labels):,} labelled in {classes} classes)"
        )
