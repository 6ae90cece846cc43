"""Where exported rows go: files and folders written whole, which replace only their own kind."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq

from featx.data.files import explained, read_json, sync_file, sync_folder, write_json
from featx.data.setmanifest import FORMAT as SET_FORMAT
from featx.data.setmanifest import NAME as SET_NAME
from featx.errors import StoreError
from featx.export.vectors.table import KIND, MARK

LIST = ".featx.json"
"""What a folder holds and of what it was made; its name keeps readers of the folder off it."""

FORMAT, VERSION = "featx-vectors", 1


def require_file(out: Path) -> None:
    """Raise before a file would be replaced that holds no exported rows.

    Raises
    ------
    StoreError
        Also if `out` is a folder, or lies in an embedding set.
    """
    _require_outside_sets(out)
    with explained(out):
        if out.is_dir():
            raise _in_the_way(out, "a folder")
        if not out.exists() or (out.is_file() and not out.stat().st_size):
            return
        found = _schema(out) if out.is_file() else None
    if found is None or (found.metadata or {}).get(KIND) != MARK:
        raise _in_the_way(out, "a file that holds no exported rows")


def _schema(path: Path) -> pa.Schema | None:
    """Return the schema of a Parquet or Arrow file; None of any other."""
    try:
        return pq.read_schema(path)
    except pa.ArrowException:
        pass
    try:
        with pa.ipc.open_file(str(path)) as file:
            return file.schema
    except pa.ArrowException:
        return None


def require_folder(out: Path, form: str) -> None:
    """Raise before a folder would be replaced that is no export, or to which files were added.

    Parameters
    ----------
    out : Path
    form : str
        Of the export; one in another form is left alone.

    Raises
    ------
    StoreError
        Also if `out` lies in an embedding set.
    """
    _require_outside_sets(out)
    with explained(out):
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return
        if not out.is_dir():
            raise _in_the_way(out, "a file")
    if not (out / LIST).is_file():
        raise _in_the_way(out, "a folder that is no export")
    listed = read_json(out / LIST, format_name=FORMAT, version=VERSION)
    if listed.get("form") != form:
        raise _in_the_way(out, f"an export in the form {listed.get('form')!r}")
    others = _files(out) - set(listed.get("files", [])) - {LIST}
    if others:
        raise _in_the_way(out, f"an export to which {min(others)!r} was added")


def _in_the_way(out: Path, found: str) -> StoreError:
    return StoreError(f"{out}: {found} is in the way; choose another name")


def _require_outside_sets(out: Path) -> None:
    for folder in (out, *out.resolve().parents):
        manifest = folder / SET_NAME
        with explained(out):
            # Web sites have files of that name, too.
            is_set = manifest.is_file() and SET_FORMAT.encode() in manifest.read_bytes()
        if is_set:
            message = f"{out}: lies in the embedding set {folder}; choose a place outside"
            raise StoreError(message)


@contextmanager
def writing_folder(out: Path, form: str, source: Mapping[str, Any]) -> Iterator[Path]:
    """Give a temporary folder beside `out`; on success it is on the disk and takes its name.

    Parameters
    ----------
    out : Path
        An export in the same form is replaced.
    form : str
    source : mapping
        What the rows are of, for the list of files.

    Raises
    ------
    StoreError
        If something else is in the way, the disk is full or the place cannot be written; what
        was at `out` is there as before.
    """
    require_folder(out, form)
    temporary = out.with_name(f".{out.name}.{uuid4().hex[:8]}.tmp")
    with explained(out):
        try:
            temporary.mkdir()
            yield temporary
            document = {"format": FORMAT, "version": VERSION, "form": form, "source": dict(source)}
            files = _files(temporary)
            for name in files:
                sync_file(temporary / name)
            write_json(temporary / LIST, document | {"files": sorted(files)})
            _exchange(temporary, out)
            sync_folder(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchange(made: Path, out: Path) -> None:
    """Give what was made the name `out`; what had it goes, but stays if that fails."""
    if not out.exists():
        made.rename(out)
        return
    old = out.with_name(f"{made.name}.old")
    out.rename(old)
    try:
        made.rename(out)
    except OSError:
        old.rename(out)
        raise
    shutil.rmtree(old)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def size_bytes(out: Path) -> int:
    """Return the size of an exported file, or of all files of a folder."""
    paths = [out / name for name in _files(out)] if out.is_dir() else [out]
    return sum(path.stat().st_size for path in paths)
