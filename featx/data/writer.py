"""Embedding sets, as they are written: commit by commit, then sealed, then put in order.

Kill the process at any instant: rows that were committed stay, nothing half-written is read,
and the next run goes on where this one stopped.
"""

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa

from featx.data.claim import (
    lock,
    make_folder,
    now,
    read_or_make,
    refuse_other_part,
    versions,
)
from featx.data.files import write_json
from featx.data.log import KNOWN_COLUMNS, CommitLog, DamagedLogError, Known
from featx.data.mirror import facts_of, relabel, replace_table, rewrite
from featx.data.rows import BATCH_ROWS, Row, regrouped, relabelled, write_batches
from featx.data.segment import HEADER_BYTES, SegmentFile
from featx.data.store import EmbeddingSet
from featx.data.told import Changes, Facts, Held, Told
from featx.errors import StoreError
from featx.types import Rows, Vectors

__all__ = ["SEGMENT_ROWS", "Facts", "Held", "SetWriter", "relabelled", "versions"]

SEGMENT_ROWS = 1_000_000


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
    InputError
        If `source` is a shard, or has a limit, and the set holds rows of another part.
    SpaceError
        If the folder holds a set of another backbone or other preprocessing.
    StoreError
        If the folder is something else or a damaged set, another process writes to it, or it
        cannot be written.
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
        make_folder(path)
        self._lock = lock(path / "lock")
        try:
            self._manifest = read_or_make(path, model)
            # What a set holds is not embedded again: a run would end well and leave it damaged.
            EmbeddingSet(path, self._manifest).check_files()
            old, new = self._manifest.get("source"), dict(source or {})
            if self._manifest["segments"] or any(path.glob("segment-*")):
                refuse_other_part(path, old or {}, new)
            self._manifest |= {"command": command, "versions": versions()}
            self._manifest["source"] = new
            self._is_recorded = old == new
            self._was_finished = bool(self._manifest["finished"])
            self._told = Told(path)
            self._found: dict[str, Known | None] = {}  # in the log, of items that are under way
            try:
                self._open_log()
            except DamagedLogError:
                self._open_log()
        except BaseException:
            self.close()
            raise

    def _open_log(self) -> None:
        self._log = CommitLog(self.path / "index.sqlite")
        self._forget_lost_rows()
        self._recover()

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

    def _forget_lost_rows(self) -> None:
        """Drop the log's rows if their file is gone or cut; their items are embedded again."""
        path, dim = self.path / self._open_name(), int(self._manifest["model"]["dim"])
        needed = HEADER_BYTES + self._log.committed() * dim * 4
        if self._log.committed() and (not path.is_file() or path.stat().st_size < needed):
            self._log.forget_open(sealed=self._sealed_name())

    def _recover(self) -> None:
        """Bring this object and the log in line with the manifest; drop files it does not name.

        The manifest on the disk counts: an interruption may come right after it is written.
        """
        self._drop_open_file()
        self._found.clear()
        found = EmbeddingSet.open(self.path).manifest
        self._manifest |= {key: found[key] for key in ("segments", "next_segment", "finished")}
        if self._log.state("sealed") != self._sealed_name():
            self._log.forget_open(sealed=self._sealed_name())
        if self._log.state("known") != self._known_name():
            sealed = facts_of(EmbeddingSet(self.path, self._manifest), KNOWN_COLUMNS)
            self._log.rebuild(sealed, known=self._known_name())
        self._rows = self._log.committed()
        named = {self._open_name()} if self._rows else set()
        replaced = [] if found["finished"] else found.get("replaced", [])  # by units, with labels
        for segment in [*self._manifest["segments"], *replaced]:
            named |= {f"{segment['name']}.npy", segment["items"]}
        for file in self.path.glob("segment-*"):
            if file.name not in named:
                file.unlink()
        for file in self.path.glob(".*.tmp"):
            file.unlink()

    def _sealed_name(self) -> str:
        parts = [f"{s['name']}:{s['rows']}" for s in self._manifest["segments"]]
        return f"{self._manifest['set_id']} {' '.join(parts)}"

    def _known_name(self) -> str:
        return (
            f"{self._manifest['set_id']} {' '.join(s['items'] for s in self._manifest['segments'])}"
        )

    def _open_name(self) -> str:
        return f"segment-{self._manifest['next_segment']:05d}.npy"

    @cached_property
    def _segment(self) -> SegmentFile:
        dim = int(self._manifest["model"]["dim"])
        return SegmentFile(self.path / self._open_name(), dim, self._rows)

    @property
    def _sealed_rows(self) -> int:
        return sum(int(segment["rows"]) for segment in self._manifest["segments"])

    @property
    def committed(self) -> int:
        """Rows committed so far, sealed or not; rows that were replaced are counted."""
        return self._rows + self._sealed_rows

    def held(self, ids: Sequence[str]) -> dict[str, Held]:
        """Return what the set holds of those of `ids` that it holds."""
        self._look_up(ids)
        return {
            item_id: Held(known.row, *known[2:], known.row in self._told)
            for item_id in ids
            if (known := self._found[item_id]) is not None
        }

    def _look_up(self, ids: Sequence[str]) -> None:
        self._found |= dict.fromkeys(ids) | self._log.find(ids)

    def _known(self, ids: Sequence[str]) -> list[Known | None]:
        """Return what the log knows of each id; it is asked only for what it was not asked yet."""
        if missing := [item_id for item_id in ids if item_id not in self._found]:
            self._look_up(missing)
        return [self._found[item_id] for item_id in ids]

    def append(self, rows: Sequence[Row], X: Vectors) -> None:
        """Commit rows and their vectors, durably; all of them or none.

        A row takes the place of the one that its id had.  Where it has no label or split, that
        one's stays: it may have been given by ``featx label``.

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
        if self._manifest["finished"] or not self._is_recorded:
            self._commit_manifest(finished=False)  # before any row, so that it says whose they are
        old = self._known([row.id for row in rows])
        rows = [
            _inherit(row, known) if known else row for row, known in zip(rows, old, strict=True)
        ]
        self._segment.write(X, self._rows)
        new = self._log.commit(rows, at=self._rows, sealed=self._sealed_rows)
        self._found |= {known.id: known for known in new}
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
        write_batches(self.path / f"{name}.parquet", regrouped(self._log.pending()))
        entry = {"name": name, "rows": self._rows, "items": f"{name}.parquet"}
        self._commit_segments([*self._manifest["segments"], entry])
        self._log.seal(sealed=self._sealed_name(), known=self._known_name())
        self._recover()

    def tell(self, facts: Sequence[Facts]) -> None:
        """Take in what the source says of its next items, in its order.

        Parameters
        ----------
        facts : sequence of Facts
            Of items that the set holds, each told once.  Where they have no label or split,
            what is held stays.

        Raises
        ------
        StoreError
            If the set does not hold an item, or has been told of it.
        """
        held = self._known([fact.id for fact in facts])
        for fact, known in zip(facts, held, strict=True):
            self._found.pop(fact.id, None)
            if known is None or known.row in self._told:
                problem = "is not held" if known is None else "has been told of before"
                raise StoreError(f"{self.path}: {fact.id!r} {problem}; nothing can be told of it")
            self._told.add(fact, known)

    def finish(self, *, partial: bool = False) -> EmbeddingSet:
        """Seal; the set then holds the items that were told, in that order, as they were told.

        Parameters
        ----------
        partial : bool, default False
            Keep every item where it is, new ones at the end, and drop replaced rows only; the
            set is as finished as it was when this writer opened it.
        """
        self.seal()
        current = EmbeddingSet(self.path, self._manifest)
        order, changes = self._told.order(), self._told.changes()
        if partial:
            order, changes = self._live_rows(), Changes()
        if not (isinstance(order, range) and len(order) == len(current)):
            segments = rewrite(current, order, changes, segment_rows=self._segment_rows)
            self._replace_segments(segments)
        elif changes.is_before(len(current)):
            self._replace_segments(relabel(current, changes))
        self._commit_manifest(finished=self._was_finished or not partial)
        self._told.close()
        self._told = Told(self.path)
        return EmbeddingSet.open(self.path)

    def _live_rows(self) -> Rows | range:
        """Return the rows that were not replaced, ascending."""
        rows = self._log.live_rows()
        return rows if len(rows) < self.committed else range(len(rows))

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
        segments, start = [], 0
        for segment in self._manifest["segments"]:
            part = table.slice(start, segment["rows"]).to_batches(max_chunksize=BATCH_ROWS)
            segments.append(replace_table(self.path, segment, part))
            start += segment["rows"]
        self._replace_segments(segments)
        return EmbeddingSet.open(self.path)

    def _replace_segments(self, segments: list[dict[str, Any]]) -> None:
        self._commit_segments(segments)
        self._recover()

    def _commit_segments(self, segments: list[dict[str, Any]]) -> None:
        numbers = [int(segment["name"].split("-")[1]) + 1 for segment in segments]
        following = max([self._manifest["next_segment"], *numbers])
        self._commit_manifest(segments=segments, next_segment=following)

    def _commit_manifest(self, **changes: Any) -> None:  # noqa: ANN401
        manifest = {**self._manifest, **changes, "updated": now()}
        manifest["items"] = sum(int(s["rows"]) for s in manifest["segments"])
        write_json(self.path / "manifest.json", manifest)
        self._manifest = manifest
        self._is_recorded = True

    def close(self) -> None:
        """Close the files and let other writers in; what is committed stays."""
        self._drop_open_file()
        for part in ("_log", "_told"):
            if part in self.__dict__:
                self.__dict__[part].close()
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


def _inherit(row: Row, old: Known) -> Row:
    if row.label is not None and row.split is not None:
        return row
    label = old.label if row.label is None else row.label
    split = old.split if row.split is None else row.split
    return row._replace(label=label, split=split)
