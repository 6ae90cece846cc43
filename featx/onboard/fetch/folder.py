"""A model that lies on this machine: a folder laid out as on the hub, or one ONNX file."""

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from featx.data.files import explained
from featx.errors import InputError
from featx.onboard.fetch.files import MOST_FILES, Say, missing, require_size
from featx.onboard.fetch.origin import Origin, safe_name

SUBFOLDER = "onnx"
"""Where the hub keeps graphs; what describes them lies one folder up."""

DEPTH = 3
"""Folders that are looked into; of a file without a model's folder around it, its own alone."""

MARKS = ("config.json", "modules.json")


@dataclass(frozen=True)
class Folder:
    """Files of a folder; those that are links count as what they point to.

    Attributes
    ----------
    origin : Origin
    folder : Path
        What names are relative to.
    limit_bytes : int
        Largest file that may be taken.
    """

    origin: Origin
    folder: Path
    limit_bytes: int
    is_complete: bool = True

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """Name → bytes; hidden files are left out."""
        found: dict[str, int] = {}
        is_model = any((self.folder / mark).is_file() for mark in MARKS)
        depth = DEPTH if is_model or not self.origin.file else 1
        for path in _walk(self.folder, depth):
            found[path.relative_to(self.folder).as_posix()] = path.stat().st_size
            if len(found) > MOST_FILES:
                message = (
                    f"{self.folder}: holds more than {MOST_FILES:,} files; "
                    "give the model's own folder"
                )
                raise InputError(message)
        return found

    @property
    def chosen(self) -> str:
        """The file that the origin names."""
        return self.origin.file

    def weights_of(self, graph: str) -> str:
        """Return nothing: the sha256 tells weights apart."""
        return ""

    def take(self, name: str, place: Path) -> None:
        """Copy one file."""
        source = self.folder / name
        if not safe_name(name) or not source.is_file():
            raise missing(self.folder, name, self.sizes)
        require_size(str(source), source.stat().st_size, self.limit_bytes)
        with explained(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, place)

    def url(self, name: str, sha256: str) -> str:
        """Return nothing: another machine does not find it."""
        return ""

    def close(self) -> None:
        """Leave all as it is."""


def open_folder(origin: Origin, *, limit_bytes: int, say: Say) -> Folder:
    """Return the files of a folder, or those around one ONNX file.

    Raises
    ------
    InputError
        If there is no such folder or file.
    """
    path = Path(origin.place).expanduser()
    if path.is_dir():
        return Folder(origin, path, limit_bytes)
    if not path.is_file():
        message = f"{path}: no such file or folder; to take a model of the hub, say hf:org/name"
        raise InputError(message)
    folder = path.parent
    if folder.name == SUBFOLDER and any((folder.parent / mark).is_file() for mark in MARKS):
        folder = folder.parent
    chosen = path.relative_to(folder).as_posix()
    return Folder(Origin(kind="path", place=origin.place, file=chosen), folder, limit_bytes)


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    with explained(folder):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_file():
            yield Path(entry.path)
        elif depth > 1 and entry.is_dir():
            yield from _walk(Path(entry.path), depth - 1)
