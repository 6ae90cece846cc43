"""The folder of an embedding set: made, locked for one writer, its manifest read or begun."""

import fcntl
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from featx.data.files import explained, write_json
from featx.data.setmanifest import FORMAT, VERSION
from featx.data.space import SHOWN_DIGITS, Made
from featx.data.store import EmbeddingSet
from featx.errors import InputError, SpaceError, StoreError


def versions() -> dict[str, str]:
    """Return the versions that every artefact records."""
    found = {"python": platform.python_version()}
    for package in ("featx", "numpy", "onnxruntime-gpu", "onnxruntime"):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def make_folder(path: Path) -> None:
    """Make a set's folder; refuse a folder or file that is something else."""
    manifest = path / "manifest.json"
    if path.exists() and not path.is_dir():
        message = f"{path}: a file is in the way; choose another name"
        raise StoreError(message)
    if path.is_dir() and not manifest.is_file():
        # A run that was killed before it wrote its manifest leaves these.
        foreign = {p.name for p in path.iterdir() if p.suffix != ".tmp"} - {"lock", ".place.lock"}
        if foreign:
            message = f"{path}: a folder that is no embedding set; choose another name"
            raise StoreError(message)
    with explained(path):
        path.mkdir(parents=True, exist_ok=True)


def lock(path: Path) -> int:
    """Lock a file for this process and return its descriptor; closing that unlocks it."""
    with explained(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as cause:
        os.close(descriptor)
        message = f"{path.parent}: cannot be locked: {cause.strerror}; use a local disk"
        if isinstance(cause, BlockingIOError):
            message = f"{path.parent}: another process is writing to it; wait for it to end"
        raise StoreError(message) from cause
    return descriptor


def read_or_make(path: Path, model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest, made if missing; refuse vectors of another fingerprint."""
    if (path / "manifest.json").is_file():
        manifest = EmbeddingSet.open(path).manifest
        if manifest["model"]["fingerprint"] == model["fingerprint"]:
            return manifest
        if manifest["segments"] or any(path.glob("segment-*")):
            raise other_model(path, manifest["model"], model)
    manifest = begun(model)
    write_json(path / "manifest.json", manifest)
    return manifest


def begun(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest of a set that holds nothing yet."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "set_id": uuid4().hex,
        "created": now(),
        "model": dict(model),
        "segments": [],
        "next_segment": 0,
        "finished": False,
    }


def other_model(path: str | Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> SpaceError:
    """Return the error that says what made a set, and that `new` made other vectors."""
    before, after = Made.of(old), Made.of(new)
    was, is_now = (f"({each['fingerprint'][:SHOWN_DIGITS]})" for each in (old, new))
    return SpaceError(
        f"{path}: holds vectors of {before.beside(after)} {was}, made with other settings"
        f" than {after.beside(before)} {is_now}; choose another -o, or delete it first"
    )


def refuse_other_part(path: str | Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuse to fill a set from a part of a source that lacks some of the rows it holds.

    Parameters
    ----------
    path : str or Path
        The set, for the message.
    old, new : mapping
        Descriptions of the sources; `old` is empty where none was recorded.

    Raises
    ------
    InputError
        If `new` is a shard, or has a limit, that does not hold the whole of `old`.
    """
    (old_shard, old_limit), (new_shard, new_limit) = (
        (source.get("shard"), source.get("limit")) for source in (old, new)
    )
    has_shard = new_shard in (None, old_shard)
    has_limit = new_limit is None or (old_limit is not None and old_limit <= new_limit)
    if old and not (has_shard and has_limit):
        raise InputError(
            f"{path}: holds {_part(old)} of its source; {_part(new)} would drop the other rows; "
            "choose another -o"
        )


def _part(source: Mapping[str, Any]) -> str:
    """Return what of a source is taken, in words."""
    shard, limit = source.get("shard"), source.get("limit")
    shard_words, limit_words = f"shard {shard}", f"the first {limit}"
    if shard and limit:
        return f"{limit_words} items of {shard_words}"
    return shard_words if shard else f"{limit_words} items" if limit else "all"


def now() -> str:
    """Return the time, as manifests record it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
