"""Embedding sets, as they are written: commit by commit, then sealed, then put in order.

Kill the process at any instant: rows that were committed stay, nothing half-written is read,
and the next run goes on where this one stopped.
"""

import fcntl
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.files import explained, write_json
from featx.data.log import CommitLog
from featx.data.rows import Row, to_table, write_table
from featx.data.segment import HEADER_BYTES, SegmentFile
from featx.data.store import FORMAT, VERSION, EmbeddingSet
from featx.errors import SpaceError, StoreError
from featx.types import Vectors

SEGMENT_ROWS = 1_000_000


def versions() -> dict[str, str]:
    """Return the versions that every artefact records."""
    found = {"python": platform.python_version()}
    for package in ("featx", "numpy", "onnxruntime-gpu", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@dataclass(frozen=True, slots=True)
class Facts:
    """What a source says of an item that is in the set already; it may have changed."""

    id: str
    uri: str = ""
    label: str | None = None
    split: str | None = None


class SetWriter:
    """The one writer of an embedding set.

    Parameters
    ----------
    path : Path
        The set's folder; made if missing.
    model : mapping
        Facts of the backbone: name, modality, dim, normalize, fingerprint, space.
    command, source : str, mapping
        What made the set; recorded in its manifest.
    segment_rows : int
        Rows after which a segment is sealed.

    Raises
    ------
    SpaceError
        If the folder holds a set of another backbone or other preprocessing.
    StoreError
        If the folder is something else, another process writes to it, or it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        *,
        model: Mapping[str, Any],
        command: str = "",
        source: Mapping[str, Any] | None = None,
        segment_rows: int = SEGMENT_ROWS,
    ) -> None:
        self.path = path
        self._segment_rows = segment_rows
        self._make_folder()
        self._lock = _lock(path / "lock")
        try:
            self._manifest = self._read_or_make(model)
            self._manifest |= {"command": command, "versions": versions()}
            self._manifest["source"] = dict(source or {})
            self._log = CommitLog(path / "index.sqlite")
            self._forget_lost_rows()
            self._recover()
        except BaseException:
            self.close()
            raise

    @classmethod
    def reopen(cls, path: Path) -> Self:
        """Open an existing set for writing, as it was made.

        Raises
        ------
        StoreError
            If there is no set, or another process writes to it.
        """
        manifest = EmbeddingSet.open(path).manifest
        return cls(
            path,
            model=manifest["model"],
            command=manifest["command"],
            source=manifest["source"],
        )

    def _make_folder(self) -> None:
        manifest = self.path / "manifest.json"
        if self.path.exists() and not self.path.is_dir():
            message = f"{self.path}: a file is in the way; choose another name"
            raise StoreError(message)
        if self.path.is_dir() and not manifest.is_file():
            # A run that was killed before it wrote its manifest leaves these.
            foreign = {p.name for p in self.path.iterdir() if p.suffix != ".tmp"} - {"lock"}
            if foreign:
                message = f"{self.path}: a folder that is no embedding set; choose another name"
                raise StoreError(message)
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)

    def _read_or_make(self, model: Mapping[str, Any]) -> dict[str, Any]:
        if (self.path / "manifest.json").is_file():
            manifest = EmbeddingSet.open(self.path).manifest
            old = manifest["model"]
            holds_rows = manifest["segments"] or any(self.path.glob("segment-*"))
            if old["fingerprint"] == model["fingerprint"]:
                return manifest
            if holds_rows:
                message = (
                    f"{self.path}: holds vectors of {old['name']!r} made with other settings "
                    f"({old['fingerprint'][:12]}, now {model['fingerprint'][:12]} of "
                    f"{model['name']!r}); choose another -o, or delete it first"
                )
                raise SpaceError(message)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "set_id": uuid4().hex,
            "created": _now(),
            "model": dict(model),
            "segments": [],
            "next_segment": 0,
            "finished": False,
        }
        write_json(self.path / "manifest.json", manifest)
        return manifest

    def _forget_lost_rows(self) -> None:
        """Drop the log's rows if their file is gone or cut; their items are embedded again."""
        path, dim = self.path / self._open_name(), int(self._manifest["model"]["dim"])
        needed = HEADER_BYTES + self._log.committed() * dim * 4
        if self._log.committed() and (not path.is_file() or path.stat().st_size < needed):
            self._log.rebuild([], sealed="")

    def _recover(self) -> None:
        """Bring this object and the log in line with the manifest; drop files it does not name.

        The manifest on the disk counts: an interruption may come right after it is written.
        """
        self._drop_open_file()
        found = EmbeddingSet.open(self.path).manifest
        self._manifest |= {key: found[key] for key in ("segments", "next_segment", "finished")}
        sealed = self._sealed_name()
        if self._log.state("sealed") != sealed:
            table = EmbeddingSet(self.path, self._manifest).items
            pairs = table.select(["id", "digest"]).to_pylist()
            self._log.rebuild([(pair["id"], pair["digest"]) for pair in pairs], sealed=sealed)
        self._rows = self._log.committed()
        named = {self._open_name()} if self._rows else set()
        for segment in self._manifest["segments"]:
            named |= {f"{segment['name']}.npy", segment["items"]}
        for file in self.path.glob("segment-*"):
            if file.name not in named:
                file.unlink()
        for file in self.path.glob(".*.tmp"):
            file.unlink()

    def _sealed_name(self) -> str:
        parts = [f"{s['name']}:{s['rows']}" for s in self._manifest["segments"]]
        return f"{self._manifest['set_id']} {' '.join(parts)}"

    def _open_name(self) -> str:
        return f"segment-{self._manifest['next_segment']:05d}.npy"

    @cached_property
    def _segment(self) -> SegmentFile:
        dim = int(self._manifest["model"]["dim"])
        return SegmentFile(self.path / self._open_name(), dim, self._rows)

    def digest_of(self, item_id: str) -> str:
        """Return the digest (hex) of the committed row of `item_id`, or an empty string."""
        return self._log.digest_of(item_id)

    @property
    def committed(self) -> int:
        """Rows committed so far, sealed or not; rows that were replaced are counted."""
        return self._rows + sum(int(s["rows"]) for s in self._manifest["segments"])

    def append(self, rows: Sequence[Row], X: Vectors) -> None:
        """Commit rows and their vectors, durably; all of them or none.

        Parameters
        ----------
        rows : sequence of Row, length N
        X : ndarray of float32, shape (N, D)

        Raises
        ------
        StoreError
            If they cannot be written; what was committed before stays.
        """
        if not rows:
            return
        if self._manifest["finished"]:
            self._commit_manifest(finished=False)
        self._segment.write(X, self._rows)
        self._log.commit(rows, at=self._rows)
        self._rows += len(rows)
        if self._rows >= self._segment_rows:
            self.seal()

    def seal(self) -> None:
        """Turn the open segment into a plain ``.npy`` and ``.parquet`` pair."""
        self._recover()
        if not self._rows:
            return
        name = self._open_name().removesuffix(".npy")
        self._segment.seal(self._rows)
        write_table(self.path / f"{name}.parquet", to_table(list(self._log.pending())))
        entry = {"name": name, "rows": self._rows, "items": f"{name}.parquet"}
        self._replace_segments([*self._manifest["segments"], entry])

    def finish(self, facts: Sequence[Facts]) -> EmbeddingSet:
        """Seal, keep exactly the items of `facts` in that order, and update what is said of them.

        Items that no row holds are left out.
        """
        self.seal()
        current = EmbeddingSet(self.path, self._manifest)
        table = current.items
        newest = {item_id: row for row, item_id in enumerate(table.column("id").to_pylist())}
        kept = [fact for fact in facts if fact.id in newest]
        order = np.array([newest[fact.id] for fact in kept], dtype=np.int64)
        updated = _updated(table, order, kept)
        if not np.array_equal(order, np.arange(table.num_rows)):
            self._rewrite(current, order, updated)
        elif updated != table:
            self._relabel(updated)
        self._commit_manifest(finished=True)
        return EmbeddingSet.open(self.path)

    def update(self, table: pa.Table) -> EmbeddingSet:
        """Replace the facts of all rows by `table`, which has the same ids in the same order.

        Raises
        ------
        StoreError
            If it has other ids.
        """
        if table.column("id").to_pylist() != EmbeddingSet(self.path, self._manifest).ids:
            message = f"{self.path}: its rows have changed meanwhile; run the command again"
            raise StoreError(message)
        self._relabel(table)
        return EmbeddingSet.open(self.path)

    def _rewrite(self, current: EmbeddingSet, order: Any, table: pa.Table) -> None:  # noqa: ANN401
        """Write new segments that hold the rows of `order`; then drop the old ones."""
        segments: list[dict[str, Any]] = []
        for start in range(0, len(order), self._segment_rows):
            rows = order[start : start + self._segment_rows]
            name = f"segment-{self._manifest['next_segment'] + len(segments):05d}"
            file = SegmentFile(self.path / f"{name}.npy", current.dim, 0)
            for at in range(0, len(rows), 8192):
                file.write(np.asarray(current.X[rows[at : at + 8192]], dtype=np.float32), at)
            file.seal(len(rows))
            write_table(self.path / f"{name}.parquet", table.slice(start, len(rows)))
            segments.append({"name": name, "rows": len(rows), "items": f"{name}.parquet"})
        self._replace_segments(segments)

    def _relabel(self, table: pa.Table) -> None:
        """Write new tables beside the same vectors; then drop the old ones."""
        segments, start = [], 0
        for segment in self._manifest["segments"]:
            revision = int(segment.get("revision", 0)) + 1
            items = f"{segment['name']}-r{revision}.parquet"
            write_table(self.path / items, table.slice(start, segment["rows"]))
            segments.append({**segment, "items": items, "revision": revision})
            start += segment["rows"]
        self._replace_segments(segments)

    def _replace_segments(self, segments: list[dict[str, Any]]) -> None:
        numbers = [int(segment["name"].split("-")[1]) + 1 for segment in segments]
        following = max([self._manifest["next_segment"], *numbers])
        self._commit_manifest(segments=segments, next_segment=following)
        self._recover()

    def _commit_manifest(self, **changes: Any) -> None:  # noqa: ANN401
        manifest = {**self._manifest, **changes, "updated": _now()}
        manifest["items"] = sum(int(s["rows"]) for s in manifest["segments"])
        write_json(self.path / "manifest.json", manifest)
        self._manifest = manifest

    def close(self) -> None:
        """Close the files and let other writers in; what is committed stays."""
        self._drop_open_file()
        if "_log" in self.__dict__:
            self._log.close()
        descriptor, self._lock = self._lock, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _drop_open_file(self) -> None:
        """Close the open segment's file; it is opened again when it is needed."""
        if "_segment" in self.__dict__:
            self._segment.close()
            del self._segment

    def __enter__(self) -> "SetWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _updated(table: pa.Table, order: NDArray[np.int64], facts: Sequence[Facts]) -> pa.Table:
    """Return rows `order` of `table` with the uri, label and split of `facts`, row by row.

    Where the source says nothing of a label or split, what the id had stays: it may have been
    given by ``featx label``.
    """
    taken = table.take(order)
    ids = table.column("id").to_pylist()
    for name in ("uri", "label", "split"):
        old = zip(ids, table.column(name).to_pylist(), strict=True)
        had = {item_id: value for item_id, value in old if value is not None}
        found = [getattr(fact, name) for fact in facts]
        pairs = zip(facts, found, strict=True)
        told = [had.get(fact.id) if value is None else value for fact, value in pairs]
        values = pa.array(told, pa.string())
        taken = taken.set_column(taken.schema.get_field_index(name), name, values)
    return taken


def relabelled(
    table: pa.Table, labels: Mapping[str, str | None], splits: Mapping[str, str | None]
) -> pa.Table:
    """Return `table` with the labels and splits of the ids that are named; others stay."""
    old = (Row(**row) for row in table.to_pylist())
    new = [
        replace(row, label=labels.get(row.id, row.label), split=splits.get(row.id, row.split))
        for row in old
    ]
    return to_table(new)


def _lock(path: Path) -> int:
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as cause:
        os.close(descriptor)
        message = f"{path.parent}: another process is writing to it; wait for it to end"
        raise StoreError(message) from cause
    return descriptor


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
