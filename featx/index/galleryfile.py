"""The folder of a gallery, ``X.knn/``, written whole and read with checks."""

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from featx.data.files import explained, read_json, sync_file, sync_folder
from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError

FORMAT = "featx-gallery"
VERSION = 1
COLUMNS = ("id", "uri", "label", "split", "preview")

_KEYS = {"vectors", "model", "space", "dim", "kind", "k", "temperature"}
_VECTOR_KEYS = {"set", "set_id", "segments", "items", "rows"}
_LOG = (
    "CREATE TABLE log (seq INTEGER PRIMARY KEY, action TEXT, id TEXT, label TEXT, "
    "vector BLOB, at TEXT)"
)


def identity(embedding_set: EmbeddingSet) -> dict[str, Any]:
    """Return what changes when the vectors or the labels of a set do."""
    return {
        "set_id": embedding_set.set_id,
        "segments": list(embedding_set.segments),
        "items": [segment["items"] for segment in embedding_set.manifest["segments"]],
        "rows": len(embedding_set),
    }


def relative_to_gallery(target: Path, out: Path) -> str:
    """Return the way from the folder that holds `out` to `target`."""
    return Path(os.path.relpath(target.resolve(), out.resolve().parent)).as_posix()


def read_facts(path: Path) -> dict[str, Any]:
    """Read ``gallery.json``.

    Raises
    ------
    StoreError
        If it is missing, damaged or of a newer version.
    """
    mend = f"run: featx index SET -o {path}"
    if not (path / "gallery.json").is_file():
        raise StoreError(f"{path}: not a gallery, gallery.json is missing; {mend}")
    try:
        facts = read_json(path / "gallery.json", format_name=FORMAT, version=VERSION)
    except StoreError as cause:
        if "upgrade" in str(cause):
            raise
        raise StoreError(f"{cause}; {mend}") from cause
    vectors = facts.get("vectors")
    if not facts.keys() >= _KEYS or not isinstance(vectors, dict) or _VECTOR_KEYS - vectors.keys():
        raise StoreError(f"{path / 'gallery.json'}: damaged: keys are missing; {mend}")
    return facts


def read_items(path: Path, facts: Mapping[str, Any]) -> pa.Table:
    """Read the facts of the items, in row order.

    Raises
    ------
    StoreError
        If a file of the gallery is missing or damaged.
    """
    try:
        items = pq.read_table(path / "items.parquet", columns=list(COLUMNS), partitioning=None)
    except (OSError, pa.ArrowException) as cause:
        raise _broken(path, facts, "items.parquet is missing or damaged") from cause
    if items.num_rows != facts["vectors"]["rows"] or items.num_columns != len(COLUMNS):
        raise _broken(path, facts, f"items.parquet is damaged: {items.num_rows} rows")
    if not (path / "log.sqlite").is_file():
        raise _broken(path, facts, "log.sqlite is missing")
    return items


def open_set(path: Path, facts: Mapping[str, Any]) -> EmbeddingSet:
    """Open the set that a gallery points at.

    Raises
    ------
    StoreError
        If it cannot be opened or is not what it was when the gallery was built.
    """
    folder = path.resolve().parent / facts["vectors"]["set"]
    try:
        embedding_set = EmbeddingSet.open(folder)
    except (OSError, InputError) as cause:
        raise _broken(path, facts, f"its set cannot be opened ({cause})") from cause
    for name, now in identity(embedding_set).items():
        if now != facts["vectors"][name]:
            raise _broken(path, facts, f"{folder.name} has changed since ({name} differs)")
    return embedding_set


def refuse_strangers(out: Path) -> None:
    """Raise StoreError unless `out` is free or a gallery."""
    if not out.exists() and not out.is_symlink():
        return
    try:
        facts = json.loads((out / "gallery.json").read_text("utf-8"))
    except (OSError, ValueError):
        facts = None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise StoreError(f"{out}: exists and is no gallery; choose another name with -o")


def write_gallery(out: Path, facts: Mapping[str, Any], items: pa.Table) -> None:
    """Write the files beside `out` and rename them into place together.

    Raises
    ------
    StoreError
        If the place cannot be written; what was there stays.
    """
    with explained(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        try:
            fresh = work / "new"
            fresh.mkdir()
            _fill(fresh, facts, items)
            _swap(fresh, out, work / "old")
            sync_folder(out.parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)


def _fill(fresh: Path, facts: Mapping[str, Any], items: pa.Table) -> None:
    pq.write_table(items, fresh / "items.parquet")
    log = sqlite3.connect(fresh / "log.sqlite")
    try:
        log.execute("PRAGMA journal_mode=WAL")
        log.execute(_LOG)
        log.commit()
    finally:
        log.close()
    text = json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False)
    (fresh / "gallery.json").write_text(text + "\n", "utf-8")
    for file in (*fresh.iterdir(), fresh):
        sync_file(file)


def _broken(path: Path, facts: Mapping[str, Any], found: str) -> StoreError:
    embedding_set = path.parent / facts["vectors"]["set"]
    return StoreError(f"{path}: {found}; run: featx index {embedding_set} -o {path}")


def _swap(fresh: Path, out: Path, old: Path) -> None:
    """Rename `fresh` to `out`; what was there goes to `old`, and comes back on failure."""
    replaces = out.exists()
    if replaces:
        out.rename(old)
    try:
        fresh.rename(out)
    except BaseException:
        if replaces and not out.exists():
            old.rename(out)
        raise
