"""Putting a backbone into a zoo: all of its files, and last the manifest that names them."""

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from featx.data.files import explained, sync_file, sync_folder, writing
from featx.errors import InputError, ManifestError
from featx.zoo import catalog
from featx.zoo.manifest import Manifest
from featx.zoo.writing import manifest_text, write_manifest

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

STAGING = ".adding-"

UNFINISHED = ".adding"
"""Lies in a backbone's folder until its manifest is there: what a killed process left has it, and
what is somebody's own has not."""

STALE_S = 24 * 3600
"""A staging folder of this age was left by a process that was killed."""


def require_free(name: str) -> None:
    """Raise unless a backbone may have this name.

    Raises
    ------
    InputError
        If it is no name, or one has it.
    """
    require_name(name)
    if name in catalog.names():
        message = f"{name}: a model of this name exists; choose another with --name"
        raise InputError(message)


def require_name(name: str) -> None:
    """Raise unless a backbone may be called so: files and folders are named after it.

    Raises
    ------
    InputError
        Saying what names are.
    """
    if not NAME.fullmatch(name) or name.endswith(".toml") or name == "golden":
        message = f"{name!r}: a name has a-z 0-9 . _ - and at most 64 of them; choose with --name"
        raise InputError(message)


def name_of(text: str) -> str:
    """Return a name that a text suggests.

    Examples
    --------
    >>> name_of("BAAI/bge-Small_en v1.5")
    'bge-small_en-v1.5'
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", text.rstrip("/").rpartition("/")[2].lower())
    return plain.strip("._-")[:64]


@contextmanager
def staging(zoo: Path) -> Iterator[Path]:
    """Give a folder of the zoo's disk, which is gone afterwards.

    Raises
    ------
    StoreError
        If the zoo cannot be written.
    """
    with explained(zoo):
        zoo.mkdir(parents=True, exist_ok=True)
        for old in zoo.glob(f"{STAGING}*"):
            if time.time() - old.stat().st_mtime > STALE_S:
                shutil.rmtree(old, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=STAGING, dir=zoo))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place(
    *made: Manifest, zoo: Path, changes: Sequence[tuple[Manifest, Manifest]] = ()
) -> list[Manifest]:
    """Move backbones from their staging folders into the zoo: all of them, or none.

    Parameters
    ----------
    *made : Manifest
        Its files lie in ``<folder>/<name>/``, golden vectors in ``<folder>/golden/``.
    zoo : Path
    changes : sequence of pairs of Manifest, optional
        Manifests of the zoo as they were read before, and what they become with this.

    Returns
    -------
    list of Manifest
        What was made, in the zoo.

    Raises
    ------
    InputError
        If another process has just taken a name, or changed or removed what is to be changed.
    StoreError
        If the zoo cannot be written.
    """
    with explained(zoo):
        for file in [file for manifest in made for file in _files(manifest)]:
            sync_file(file)
    with _alone(zoo), explained(zoo):
        for before, _ in changes:
            _require_unchanged(before, zoo)
        for manifest in made:
            _make_room(manifest.name, zoo)
        with ExitStack() as written:  # manifests take their names when it ends, if it ends well
            for manifest in [*made, *(after for _, after in changes)]:
                path = zoo / f"{manifest.name}.toml"
                write_manifest(written.enter_context(writing(path)), manifest)
            for manifest in made:
                _move(manifest, zoo)
        for manifest in made:
            (zoo / manifest.name / UNFINISHED).unlink(missing_ok=True)
    return [replace(manifest, folder=zoo) for manifest in made]


def _files(manifest: Manifest) -> list[Path]:
    files = [*(manifest.file(role) for role in manifest.files), catalog.golden_file(manifest)]
    return [file for file in files if file.is_file()]


def _require_unchanged(before: Manifest, zoo: Path) -> None:
    path = zoo / f"{before.name}.toml"
    if not path.is_file() or manifest_text(Manifest.read(path)) != manifest_text(before):
        message = f"{path}: was changed or removed meanwhile; run the command again"
        raise InputError(message)


def _make_room(name: str, zoo: Path) -> None:
    if (zoo / f"{name}.toml").exists():
        message = f"{name}: a model of this name exists in {zoo}; choose another --name"
        raise InputError(message)
    if (zoo / name).exists():
        _drop_what_nothing_names(zoo / name, zoo)


def _move(manifest: Manifest, zoo: Path) -> None:
    made, golden = manifest.folder / manifest.name, catalog.golden_file(manifest)
    if manifest.files:  # the identity of arrays has none
        (made / UNFINISHED).touch()
        made.rename(zoo / manifest.name)
    if golden.is_file():
        (zoo / "golden").mkdir(exist_ok=True)
        golden.replace(zoo / "golden" / golden.name)


@contextmanager
def _alone(zoo: Path) -> Iterator[None]:
    """Have other processes wait, for as long as it takes to rename."""
    with explained(zoo):
        descriptor = os.open(zoo, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(name: str, zoo: Path) -> int:
    """Delete a backbone of the user's zoo and return the bytes freed.

    The manifest goes first, then those of its files that no other manifest names.  Manifests and
    golden vectors of others are no files of a backbone, whatever a manifest names.

    Raises
    ------
    InputError
        If there is none of that name in this zoo.
    ManifestError
        If it or another one of the zoo cannot be read: who knows which files that names.
    """
    require_name(name)
    path = zoo / f"{name}.toml"
    if not path.is_file():
        known = catalog.find(name)
        advice = f"say --zoo {known.folder}"
        if known.folder == catalog.embedded_zoo():
            advice = "it travels with featx, and stays"
        message = f"{name}: lies in {known.folder}, not in {zoo}; {advice}"
        raise InputError(message)
    with _alone(zoo), explained(path):
        manifest = Manifest.read(path)
        if manifest.name != name:
            message = f"{path}: name = {manifest.name!r}; expected the file's stem {name!r}"
            raise ManifestError(message)
        golden = catalog.golden_file(manifest)
        kept = {file for file, owner in _named(zoo) if owner != name}
        gone = [file for file in _files(manifest) if file not in kept]
        gone = [file for file in gone if file == golden or not _is_of_zoo(file, zoo)]
        path.unlink()
        sync_folder(zoo)
        freed = sum(file.stat().st_size for file in gone if file != golden)
        for file in [*gone, zoo / name / UNFINISHED]:
            file.unlink(missing_ok=True)
        for folder in sorted({file.parent for file in gone} - {zoo}, reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
    return freed


def _is_of_zoo(file: Path, zoo: Path) -> bool:
    return file.suffix == ".toml" or file.is_relative_to(zoo / "golden")


def _drop_what_nothing_names(folder: Path, zoo: Path) -> None:
    """Delete what a killed process left; raise if it is anything else."""
    for file, name in _named(zoo):
        if file.is_relative_to(folder):
            message = f"{folder}: holds files of {name!r}; choose another name with --name"
            raise InputError(message)
    if not (folder / UNFINISHED).is_file():
        message = f"{folder}: is in the way, and no backbone; choose another name with --name"
        raise InputError(message)
    shutil.rmtree(folder)


def _named(zoo: Path) -> Iterator[tuple[Path, str]]:
    """Yield each file that a manifest of the zoo names, with the manifest's name."""
    for path in sorted(zoo.glob("*.toml")):
        manifest = Manifest.read(path)
        for role in manifest.files:
            yield manifest.file(role), manifest.name
