"""The folder of a gallery: ``gallery.json``, the files that it names, and what is left over."""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from blake3 import blake3

from featx.data.files import explained, read_json, write_json
from featx.data.places import is_url
from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError
from featx.gallery.shape import misfit
from featx.index.metric import MetricName

FORMAT = "featx-gallery"
VERSION = 2

FACTS, LOG, LOCK = "gallery.json", "log.sqlite", "lock"

_MADE = re.compile(r"(items-.*\.arrow|(order|vectors|norms|removed)-.*\.npy|index-.*\.faiss)")
"""Names of the files that ``gallery.json`` may name."""

DEFAULT_KIND, DEFAULT_RECALL = "auto", 0.99
DEFAULT_METRIC: MetricName = "cosine"
"""What a gallery is unless it is asked to be otherwise."""

_OLD = {"items.parquet"}
"""Files of version 1."""


def identity(embedding_set: EmbeddingSet) -> dict[str, Any]:
    """Return what changes when the vectors or the labels of a set do."""
    return {
        "set_id": embedding_set.set_id,
        "segments": list(embedding_set.segments),
        "items": [segment["items"] for segment in embedding_set.manifest["segments"]],
        "rows": len(embedding_set),
    }


def relative_to_gallery(embedding_set: EmbeddingSet, out: Path) -> str:
    """Return the way from the folder that holds `out` to a set, or the set's URL."""
    if is_url(embedding_set.where):
        return embedding_set.where
    target = embedding_set.path
    return Path(os.path.relpath(target.resolve(), out.resolve().parent)).as_posix()


def set_folder(path: Path, facts: Mapping[str, Any]) -> Path | str:
    """Return where the set of a gallery lies: a folder or a URL."""
    named = str(facts["set"]["path"])
    return named if is_url(named) else path.resolve().parent / named


def broken(path: Path, facts: Mapping[str, Any], found: str) -> StoreError:
    """Return an error that says what was found and the command that mends it.

    Parameters
    ----------
    path : Path
        The gallery.
    facts : mapping
        ``gallery.json``.
    found : str
        It may begin with the path.
    """
    named = str(facts["set"]["path"])
    embedding_set = named if is_url(named) else path.parent / named
    found = found.removeprefix(f"{path}: ").removeprefix(f"{path}/")
    mend = f"-o {path}{_options(facts)}"
    if isinstance(embedding_set, Path) and not embedding_set.is_dir():
        gone = f"its set {embedding_set} is gone; put it back"
        return StoreError(f"{path}: {found}; {gone}; run: featx index SET {mend}")
    first = "then " if "; restore it, or " in found else ""  # the set has to be mended before
    return StoreError(f"{path}: {found}; {first}run: featx index {embedding_set} {mend}")


def _options(facts: Mapping[str, Any]) -> str:
    """Return the options that a gallery was built with, but for those that go without saying."""
    index = facts["index"]
    asked = {
        "kind": (index["asked"], DEFAULT_KIND),
        "recall": (index["recall"], DEFAULT_RECALL),
        "metric": (facts["metric"], DEFAULT_METRIC),
    }
    return "".join(f" --{name} {made}" for name, (made, usual) in asked.items() if made != usual)


def _what_it_is(path: Path) -> str:
    """Say what is at the place of a gallery; empty for a folder that may have been one."""
    if (path / "manifest.json").is_file():
        out = path.with_suffix(".knn")
        return f"an embedding set, not a gallery; build one with: featx index {path} -o {out}"
    if path.is_file():
        return "a file, not a gallery; name a folder that featx index made"
    if path.is_dir():
        return ""
    near = get_close_matches(path.name, [found.name for found in path.parent.glob("*.knn")], n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"build one with: featx index SET -o {path}"
    return f"no such gallery; {hint}"


def read_facts(path: Path) -> dict[str, Any]:
    """Read ``gallery.json``.

    Raises
    ------
    StoreError
        If it is missing, damaged or of another version.
    """
    mend = f"run: featx index SET -o {path}"
    if not (path / FACTS).is_file():
        raise StoreError(f"{path}: {_what_it_is(path) or f'{FACTS} is missing; {mend}'}")
    try:
        facts = read_json(path / FACTS, format_name=FORMAT, version=VERSION)
    except StoreError as cause:
        if "upgrade" in str(cause):
            raise
        raise StoreError(f"{cause}; {mend}") from cause
    if facts["version"] < VERSION:
        found = f"{FORMAT} version {facts['version']} is older than {VERSION}"
        raise StoreError(f"{path / FACTS}: {found}; {mend}")
    if wrong := misfit(facts):
        raise StoreError(f"{path / FACTS}: damaged: {wrong}; {mend}")
    return facts


def backend_of(path: Path) -> str:
    """Return what keeps the items of a gallery: ``"files"`` of its folder, or ``"pgvector"``.

    Raises
    ------
    StoreError
        As `read_facts` does.
    """
    return str(read_facts(path).get("backend", "files"))


def require_backend(path: Path, backend: str) -> None:
    """Refuse to build a gallery in the place of one that another backend keeps.

    Raises
    ------
    StoreError
        Naming what is there.
    """
    try:
        found = backend_of(path)
    except StoreError:  # nothing is there, or nothing that can be read
        return
    if found != backend:
        places = {"files": "files", "pgvector": "PostgreSQL"}
        raise StoreError(
            f"{path}: is a gallery in {places[found]}, which is not replaced by one in "
            f"{places[backend]}; choose another name with -o"
        )


def require_readable(path: Path, *, drop_changes: bool) -> None:
    """Refuse to build a gallery in files where one in PostgreSQL was, whose facts are damaged.

    Such a folder holds ``gallery.json`` alone; galleries in files have a log beside it.

    Raises
    ------
    StoreError
        Unless what was changed online may be lost.
    """
    if drop_changes or not (path / FACTS).is_file() or (path / LOG).exists():
        return
    if {entry.name for entry in path.iterdir() if not entry.name.startswith(".")} - {FACTS, LOCK}:
        return
    try:
        read_facts(path)
    except StoreError as cause:
        raise StoreError(
            f"{cause}; it may be a gallery in PostgreSQL: choose another name with -o, or give "
            "--drop-changes to lose what was changed online, if anything was"
        ) from cause


def write_facts(path: Path, facts: Mapping[str, Any]) -> None:
    """Write ``gallery.json`` whole: from now on the files that it names are the gallery."""
    write_json(path / FACTS, {"format": FORMAT, "version": VERSION, **facts})


def check_files(path: Path, facts: Mapping[str, Any]) -> None:
    """Check that the files of a gallery are there and as long as they were.

    Raises
    ------
    StoreError
        Naming the first that is not.
    """
    for name, size_bytes in {**facts["files"], LOG: None}.items():
        try:
            found = (path / name).stat().st_size
        except OSError as cause:
            raise broken(path, facts, f"{name} is missing") from cause
        if size_bytes not in (None, found):
            what = f"{name} is damaged: {found} bytes instead of {size_bytes}"
            raise broken(path, facts, what)


def open_set(path: Path, facts: Mapping[str, Any]) -> EmbeddingSet:
    """Open the set that a gallery points at.

    Raises
    ------
    StoreError
        If it cannot be opened or is not what it was when the gallery was built.
    """
    folder = set_folder(path, facts)
    try:
        embedding_set = EmbeddingSet.open(folder)
    except (OSError, InputError) as cause:
        is_there = isinstance(folder, str) or folder.is_dir()
        why = f"its set cannot be opened ({cause})" if is_there else "has no vectors"
        raise broken(path, facts, why) from cause
    for name, now in identity(embedding_set).items():
        if now != facts["set"][name]:
            raise broken(path, facts, f"{Path(folder).name} has changed since ({name} differs)")
    return embedding_set


def file_digest(path: Path) -> str:
    """Return the BLAKE3 digest of a file in lower-case hex."""
    with explained(path):
        return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def refuse_strangers(out: Path) -> None:
    """Raise StoreError unless `out` is free, a gallery of any version, or left over from one."""
    if not out.exists() and not out.is_symlink():
        return
    names = {entry.name for entry in out.iterdir()} if out.is_dir() else {"a file"}
    own = {FACTS, LOCK, LOG, f"{LOG}-wal", f"{LOG}-shm", *_OLD}
    if any(name not in own and not _is_made(name) for name in names):
        raise StoreError(f"{out}: exists and is no gallery; choose another name with -o")


def clean(path: Path, named: Iterable[str]) -> None:
    """Delete what earlier generations and writers that were killed have left."""
    kept = set(named)
    with suppress(OSError):
        for entry in path.iterdir():
            if entry.name not in kept and (_is_made(entry.name) or entry.name in _OLD):
                entry.unlink(missing_ok=True)


def _is_made(name: str) -> bool:
    return bool(_MADE.fullmatch(name)) or (name.startswith(".") and name.endswith(".tmp"))
