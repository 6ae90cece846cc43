"""What a folder of items is listed from: a folder of this machine, or a prefix of a bucket."""

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Protocol

from featx.data.places.fetched import fetch_from
from featx.data.places.place import Entry, Place
from featx.data.places.stored import StoredFile
from featx.data.sources.records import Records, open_records
from featx.data.sources.walk import Walk, count_suffix, natural_key, suffix_of, top_folders
from featx.types import Stored


class Found(Protocol):
    """Files of a tree with one of some suffixes: path below it, and why it cannot be read."""

    skipped: Counter[str]
    """Suffix → files passed over because of it, in the part that was walked last."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield path and problem."""
        ...


class Tree(Protocol):
    """Files in folders."""

    where: str
    """A path or URL, without a slash at its end."""

    def walk(self, suffixes: frozenset[str] | None, *, is_sorted: bool = True) -> Found:
        """Return the files with one of some suffixes, folder by folder in natural order."""
        ...

    def top(self) -> list[str]:
        """Return the names of the folders directly below, in natural order."""
        ...

    def content(self, relative: str) -> Path | Stored:
        """Return a file, which need not be there."""
        ...

    def has(self, relative: str) -> bool:
        """Return whether there is such a file."""
        ...

    def records(self, relative: str) -> Records:
        """Open a table."""
        ...


class LocalTree:
    """A folder of this machine.

    Parameters
    ----------
    root : Path
        Absolute.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def walk(self, suffixes: frozenset[str] | None, *, is_sorted: bool = True) -> Walk:
        """Return the files with one of some suffixes; see `Walk`."""
        return Walk(self.root, suffixes, is_sorted=is_sorted)

    def top(self) -> list[str]:
        """Return the names of the folders directly below, in natural order."""
        return top_folders(self.root)

    def content(self, relative: str) -> Path:
        """Return a file, which need not be there."""
        return self.root / relative

    def has(self, relative: str) -> bool:
        """Return whether there is such a file."""
        return (self.root / relative).is_file()

    def records(self, relative: str) -> Records:
        """Open a table."""
        return open_records(self.root / relative)


class StoredTree:
    """A prefix of a bucket, listed once; about 400 MB for a million files.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self.where = place.url

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Path below the prefix → file, folder by folder in natural order; none that is hidden."""
        found = [each for each in self.place.list() if not is_hidden(each.name)]
        found.sort(key=lambda entry: [natural_key(part) for part in entry.name.split("/")])
        return {entry.name: entry for entry in found}

    def walk(self, suffixes: frozenset[str] | None, *, is_sorted: bool = True) -> "StoredWalk":
        """Return the files with one of some suffixes, in natural order."""
        return StoredWalk(self.entries, suffixes)

    def top(self) -> list[str]:
        """Return the names of the folders directly below, in natural order."""
        return list(dict.fromkeys(n.split("/", 1)[0] for n in self.entries if "/" in n))

    def content(self, relative: str) -> Stored:
        """Return a file, which need not be there."""
        entry = self.entries.get(relative)
        if entry is None:
            return StoredFile(f"{self.where}/{relative}", 0, "")
        return StoredFile.of(self.place, entry)

    def has(self, relative: str) -> bool:
        """Return whether there is such a file."""
        return relative in self.entries

    def records(self, relative: str) -> Records:
        """Open a table, from a copy in the cache."""
        return open_records(fetch_from(self.place, relative))


class StoredWalk:
    """Files of a prefix with one of some suffixes."""

    def __init__(self, names: dict[str, Entry], suffixes: frozenset[str] | None) -> None:
        self._names = names
        self._suffixes = suffixes
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the path of each file; none has a problem before it is read."""
        self.skipped = Counter()
        for name in self._names:
            suffix = suffix_of(name)
            if self._suffixes is None or suffix in self._suffixes:
                yield name, ""
            else:
                count_suffix(self.skipped, suffix)


def is_hidden(name: str) -> bool:
    """Return whether a file, or a folder that it lies in, is hidden."""
    return name.startswith(".") or "/." in name


def below(folder: str, listing: Path, path: Path) -> str:
    """Return where a file lies in a tree that a table in one of its folders names.

    Parameters
    ----------
    folder : str
        Of the table, below the tree; empty for the tree itself.
    listing, path : Path
        The table, perhaps a copy elsewhere, and the file as if it lay beside that.
    """
    relative = os.path.relpath(path, listing.parent)
    return Path(os.path.normpath(os.path.join(folder, relative))).as_posix()  # noqa: PTH118
