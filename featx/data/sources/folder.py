"""Folders of files: a class a folder, splits, or a ``metadata`` file that says both."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.columns import SPLITS
from featx.data.sources.options import Options
from featx.data.sources.records import Records, open_records
from featx.data.sources.table import check_ids, pick_listing, read_items
from featx.errors import InputError
from featx.types import Item, Split

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
"""Names of the file that may list a folder's items, in the order they are looked for."""


class Folder:
    """Files below a folder whose suffix the modality reads, in natural order.

    The label is the first folder below the root, or below ``train/``, ``val/`` and ``test/`` where
    the root has them.  A ``metadata`` file with a ``file_name`` column, in the root or in the
    folder of a split, is used instead.  What is hidden is skipped, and a folder that links lead to
    twice is listed once.

    Parameters
    ----------
    path : Path
    options : Options
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path.absolute()
        self.options = options

    def __iter__(self) -> Iterator[Item]:
        """Yield what metadata files list, then every other file."""
        self._require_items()
        for records in self._listings.values():
            yield from self._listed(records)
        for relative in self._files:
            label, split = self._place(relative)
            yield Item(
                id=printable(relative),
                content=self.path / relative,
                uri=printable(f"{self.path}/{relative}"),
                label=label,
                split=split,
            )

    def __len__(self) -> int:
        """Return the number of items; walks the folder once."""
        self._require_items()
        return len(self._files) + self._listed_count

    @property
    def skipped(self) -> int:
        """Files passed over because of their suffix."""
        return self._walked[1]

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "folder", "paths": [str(self.path)], **self.options.facts()}

    @cached_property
    def _top(self) -> list[str]:
        """Names of the folders directly below the root."""
        return [entry.name for entry in list_folder(self.path) if entry.is_dir()]

    @cached_property
    def _has_splits(self) -> bool:
        splits = [SPLITS[name.lower()] for name in self._top if name.lower() in SPLITS]
        return "train" in splits or 0 < len(splits) == len(self._top)

    @cached_property
    def _listings(self) -> dict[str, Records]:
        """Folder below the root ("" for the root itself) → its metadata file."""
        root = find_listing(self.path)
        if root is not None:
            return {"": root}
        splits = [name for name in self._top if self._has_splits and name.lower() in SPLITS]
        found = {name: find_listing(self.path / name) for name in splits}
        return {name: records for name, records in found.items() if records is not None}

    @cached_property
    def _listed_count(self) -> int:
        return sum(records.count() for records in self._listings.values())

    @cached_property
    def _walked(self) -> tuple[list[str], int]:
        return ([], 0) if "" in self._listings else walk(self.path, self.options.suffixes)

    @cached_property
    def _files(self) -> list[str]:
        return [name for name in self._walked[0] if name.split("/", 1)[0] not in self._listings]

    def _require_items(self) -> None:
        if not self._files and not self._listed_count:
            suffixes = " ".join(sorted(self.options.suffixes))
            others = f"{self.skipped} other file{'s' * (self.skipped != 1)}"
            raise InputError(
                f"{self.path}/: no {self.options.modality} files ({suffixes}); {others}"
            )

    def _place(self, relative: str) -> tuple[str | None, Split | None]:
        """Return the label and split that the folders of a relative path stand for."""
        folders = relative.split("/")[:-1]
        split: Split | None = None
        if self._has_splits:
            split = SPLITS.get(folders[0].lower()) if folders else None
            folders = folders[1:] if split else []
        has_label = self.options.labels_from_folders and folders
        return (printable(folders[0]) if has_label else None), split

    def _listed(self, records: Records) -> Iterator[Item]:
        picked = pick_listing(records, self.options.columns)
        check_ids(records, picked.id or "file_name")
        for item in read_items(records, picked):
            if not isinstance(item.content, Path):
                yield item
                continue
            relative = Path(os.path.relpath(item.content, self.path)).as_posix()
            label, split = self._place(relative)
            exists = item.content.is_file()
            yield replace(
                item,
                id=item.id if picked.id else relative,
                label=item.label if picked.label else label,
                split=item.split or split,
                problem="" if exists else f"{records.path.name} lists {relative!r}: no such file",
            )


def find_listing(folder: Path) -> Records | None:
    """Return the metadata file of a folder if it has a ``file_name`` column, else None."""
    for name in METADATA:
        if (folder / name).is_file():
            records = open_records(folder / name)
            return records if "file_name" in records.names else None
    return None


def walk(root: Path, suffixes: frozenset[str] | None) -> tuple[list[str], int]:
    """Return the files below `root` with one of `suffixes`, and how many others there are.

    Parameters
    ----------
    root : Path
    suffixes : frozenset of str, or None
        Lower-case, with the dot; None for every file.

    Returns
    -------
    files : list of str
        Relative to `root`, with forward slashes, folder by folder in natural order.
    skipped : int
        Files with another suffix, hidden ones left out.
    """
    files: list[str] = []
    skipped = 0
    seen: set[tuple[int, int]] = set()
    pending: list[tuple[str, bool]] = [("", True)]
    while pending:
        relative, is_folder = pending.pop()
        if not is_folder:
            files.append(relative)
            continue
        status = (root / relative).stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        prefix = f"{relative}/" if relative else ""
        found = []
        for entry in list_folder(root / relative):
            is_wanted = entry.is_dir() or _is_readable(entry, suffixes)
            skipped += not is_wanted
            if is_wanted:
                found.append((prefix + entry.name, entry.is_dir()))
        pending.extend(reversed(found))
    return files, skipped


def _is_readable(entry: "os.DirEntry[str]", suffixes: frozenset[str] | None) -> bool:
    # A broken link is kept, so that it is reported; a pipe would block and is not.
    is_file = entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())
    if suffixes is None:
        return is_file
    return is_file and os.path.splitext(entry.name)[1].lower() in suffixes  # noqa: PTH122  (fast)


def list_folder(folder: Path) -> "list[os.DirEntry[str]]":
    """Return what is in a folder and not hidden, in natural order.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; a readable folder is needed") from error
    return sorted(visible, key=lambda entry: natural_key(entry.name))


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Return a sort key under which numbers compare by value.

    Examples
    --------
    >>> sorted(["a10", "a9", "B1"], key=natural_key)
    ['a9', 'a10', 'B1']
    """
    pieces = re.split(r"([0-9]+)", name.casefold())
    return [int(piece) if at % 2 else piece for at, piece in enumerate(pieces)], name


def printable(name: str) -> str:
    """Return a file name as valid text; bytes that are not UTF-8 are written in hex."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
