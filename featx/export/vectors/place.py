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
from featx.data.outside import require_outside_sets
from featx.errors import StoreError
from featx.export.vectors.table import MARK, WRITTEN

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
    require_outside_sets(out)
    with explained(out):
        if out.is_dir():
            raise _in_the_way(out, "a folder")
        if not out.exists() or (out.is_file() and not out.stat().st_size):
            return
        is_ours = out.is_file() and _marks(out).get(WRITTEN) == MARK
    if not is_ours:
        raise _in_the_way(out, "a file that is not as it was exported")


def _marks(path: Path) -> Mapping[bytes, bytes]:
    """Return what an export says of a Parquet or Arrow file, and no table that is read from it."""
    try:
        return pq.read_metadata(path).metadata or {}
    except pa.ArrowException:
        pass
    try:
        with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
            if not file.num_record_batches:  # no row is lost
                return {WRITTEN: MARK}
            return file.get_batch_with_custom_metadata(0).custom_metadata or {}
    except pa.ArrowException:
        return {}


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
    require_outside_sets(out)
    with explained(out):
        if Path.cwd().is_relative_to(out.resolve()):
            raise _in_the_way(out, "the folder that this runs in")
        if found := _foreign(out, form):
            raise _in_the_way(out, found)


def _foreign(place: Path, form: str) -> str:
    """Return what at a place is no export in a form; empty if nothing is."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return ""
    if not place.is_dir():
        return "a file"
    if not (place / LIST).is_file():
        return "a folder that is no export"
    listed = read_json(place / LIST, format_name=FORMAT, version=VERSION)
    if listed.get("form") != form:
        return f"an export in the form {listed.get('form')!r}"
    others = _contents(place) - set(listed.get("files", [])) - {LIST}
    return f"an export to which {min(others)!r} was added" if others else ""


def _in_the_way(out: Path, found: str) -> StoreError:
    return StoreError(f"{out}: {found} is in the way; choose another name")


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
        If something else is in the way, the disk is full or the place cannot be written, or
        something was added meanwhile; what was at `out` is there as before.
    """
    require_folder(out, form)
    place = out.resolve()  # what a link leads to is replaced, and not the link
    temporary = place.with_name(f".{place.name}.{uuid4().hex[:8]}.tmp")
    with explained(out):
        try:
            temporary.mkdir()
            yield temporary
            document = {"format": FORMAT, "version": VERSION, "form": form, "source": dict(source)}
            files = _contents(temporary)
            for name in files:
                sync_file(temporary / name)
            write_json(temporary / LIST, document | {"files": sorted(files)})
            if found := _exchange(temporary, place, form):
                raise _in_the_way(out, found)
            sync_folder(place.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _exchange(made: Path, out: Path, form: str) -> str:
    """Give what was made the name `out`; what had it goes, but stays if that fails.

    Returns
    -------
    str
        What stays there since it came while the export was made; empty if nothing did.
    """
    if not out.exists():
        made.rename(out)
        return ""
    old = out.with_name(f"{made.name}.old")
    out.rename(old)  # nobody finds it by its name, so that nothing is added from here on
    try:
        found = _foreign(old, form)
        if not found:
            made.rename(out)
    except (OSError, StoreError):
        old.rename(out)
        raise
    if found:
        old.rename(out)
        return found
    shutil.rmtree(old)
    return ""


def _contents(folder: Path) -> set[str]:
    """Return the names of all files and links below a folder, and of empty folders."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir() or not any(path.iterdir())
    }


def size_bytes(out: Path) -> int:
    """Return the size of an exported file, or of all files of a folder."""
    paths = out.rglob("*") if out.is_dir() else [out]
    return sum(path.stat().st_size for path in paths if path.is_file())
