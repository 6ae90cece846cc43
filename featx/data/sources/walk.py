"""Files below a folder, found one folder at a time and in natural order."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from featx.errors import InputError

KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What a path may be that is neither a file nor a folder."""

COUNTED_SUFFIXES = 1000
"""How many suffixes are told apart when files are passed over: ``x.000001`` has one, too."""

DIGITS = re.compile(r"([0-9]+)")


@dataclass(slots=True)
class _Folder:
    """One folder: its visible names that are still to be looked at, and what they are."""

    prefix: str
    names: Sequence[str] = ()
    folders: set[str] = field(default_factory=set)
    problems: dict[str, str] = field(default_factory=dict)


class Walk:
    """Files below a folder with one of some suffixes; only open folders are held in memory.

    What is hidden is left out, and a folder that links lead to twice is walked once.  A broken
    link is a file, so that reading reports it.

    Parameters
    ----------
    root : Path
    suffixes : frozenset of str, or None
        Lower-case, with the dot; None for every file.
    is_sorted : bool, default True
        Whether to go in natural order; counting is faster without.

    Attributes
    ----------
    skipped : Counter of str
        Suffix → files passed over because of it, in the part that was walked last.
    """

    def __init__(
        self, root: Path, suffixes: frozenset[str] | None, *, is_sorted: bool = True
    ) -> None:
        self.root = root
        self.suffixes = suffixes
        self.is_sorted = is_sorted
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Yield the path of each file relative to the root, and why it cannot be read, if so.

        A folder that cannot be read is yielded too; its path ends in a slash.

        Raises
        ------
        InputError
            If the root cannot be read.
        """
        self.skipped = Counter()
        seen: set[tuple[int, int]] = set()
        try:
            top = self._list("", seen)
        except OSError as error:
            hint = f"{error.strerror}; a readable folder is needed"
            raise InputError(f"{self.root}: {hint}") from error
        stack = [(top, iter(top.names))]
        while stack:
            folder, names = stack[-1]
            for name in names:
                relative = folder.prefix + name
                if name not in folder.folders:
                    yield relative, folder.problems.get(name, "")
                    continue
                try:
                    below = self._list(f"{relative}/", seen)
                except OSError as error:
                    yield f"{relative}/", f"cannot be listed: {error.strerror}"
                    continue
                stack.append((below, iter(below.names)))
                break
            else:
                stack.pop()

    def _list(self, prefix: str, seen: set[tuple[int, int]]) -> _Folder:
        """Return what is in a folder; nothing if it was seen before."""
        place, folder = f"{self.root}/{prefix}", _Folder(prefix)
        status = os.stat(place)  # noqa: PTH116  (a Path for each folder doubles the time)
        if (status.st_dev, status.st_ino) in seen:
            return folder
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(place) as entries:
            visible = (entry for entry in entries if entry.name[0] != ".")
            names = [entry.name for entry in visible if self._take(entry, folder)]
        folder.names = sorted(names, key=natural_key) if self.is_sorted else names
        return folder

    def _take(self, entry: "os.DirEntry[str]", folder: _Folder) -> bool:
        """Return whether an entry is wanted, and note in `folder` what is special about it."""
        try:
            if entry.is_dir():  # known from the listing itself, but for links
                folder.folders.add(entry.name)
                return True
            is_plain = entry.is_file()
        except OSError:  # a link to itself, or into a folder that may not be read
            is_plain = True
        suffix = suffix_of(entry.name)
        is_wanted = self.suffixes is None or suffix in self.suffixes
        if is_wanted and not is_plain:
            folder.problems[entry.name] = problem_of(entry.path)
        if not is_wanted:
            count_suffix(self.skipped, suffix)
        return is_wanted


def problem_of(path: str) -> str:
    """Return why what is at a path cannot be read, by its kind; empty for a file or nothing.

    Examples
    --------
    >>> problem_of("/dev/null")
    'is a device; only regular files are read'
    """
    try:
        kind = KINDS.get(stat.S_IFMT(os.stat(path).st_mode))  # noqa: PTH116  (see above)
    except OSError:
        return ""
    return f"is {kind}; only regular files are read" if kind else ""


def suffix_of(name: str) -> str:
    """Return the suffix of a file name, lower-case with its dot; empty where there is none.

    Examples
    --------
    >>> suffix_of("a.b.JPG"), suffix_of("a.b/README"), suffix_of("a/.b")
    ('.jpg', '', '')
    """
    at = name.rfind(".")
    return name[at:].lower() if at > name.rfind("/") + 1 else ""


def count_suffix(counts: Counter[str], suffix: str) -> None:
    """Count a suffix; once there are very many, those that are new are counted as ``""``."""
    is_new = suffix not in counts and len(counts) >= COUNTED_SUFFIXES
    counts["" if is_new else suffix] += 1


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
        Files with another suffix, and pipes; hidden ones left out.

    Raises
    ------
    InputError
        If a folder cannot be read.
    """
    found, files, pipes = Walk(root, suffixes), [], 0
    for relative, problem in found:
        if relative.endswith("/"):
            raise InputError(f"{root}/{relative} {problem}; a readable folder is needed")
        if problem:
            pipes += 1
        else:
            files.append(relative)
    return files, found.skipped.total() + pipes


def top_folders(root: Path) -> list[str]:
    """Return the names of the visible folders directly below `root`, in natural order.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with os.scandir(root) as entries:
            found = [entry.name for entry in entries if entry.name[0] != "." and is_folder(entry)]
    except OSError as error:
        raise InputError(f"{root}: {error.strerror}; a readable folder is needed") from error
    return sorted(found, key=natural_key)


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a folder or leads to one; a link to itself does not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def natural_key(name: str) -> str:
    """Return a sort key under which numbers compare by value; then by the name itself.

    One text compares several times as fast as the list of pieces that it stands for: a number is
    led by its length, and pieces are parted by what no file name holds.

    Examples
    --------
    >>> sorted(["a10", "a9", "B1"], key=natural_key)
    ['a9', 'a10', 'B1']
    """
    pieces = DIGITS.split(name.casefold())
    for at in range(1, len(pieces), 2):
        number = pieces[at].lstrip("0")
        pieces[at] = chr(len(number) + 1) + number
    return "\0".join(pieces) + "\0\0" + name


def printable(name: str) -> str:
    """Return a file name as valid text; bytes that are not UTF-8 are written in hex."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")
