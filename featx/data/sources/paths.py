"""Several paths, globs, and single files."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

from featx.data.places import is_url, url_of
from featx.data.sources import SUFFIX_KINDS, kind_of, open_path
from featx.data.sources.columns import SPLITS
from featx.data.sources.fetched import Fetched
from featx.data.sources.folder import Folder
from featx.data.sources.located import uri_of
from featx.data.sources.options import DescribedSource, Options, SkipsFiles
from featx.data.sources.patterns import expand_braces, has_braces, is_pattern
from featx.data.sources.storedtars import StoredTars
from featx.data.sources.table import Table
from featx.data.sources.tar import Tar, is_tar
from featx.data.sources.tars import OneOfTars, Tars
from featx.data.sources.urls import expand_url, stored_file
from featx.data.sources.walk import natural_key, printable, suffix_of
from featx.errors import InputError
from featx.types import Item, Split, Stored


class Paths:
    """Files, folders, tables and globs, one after the other.

    A file is an item, and its id its path relative to `base`.  The ids of what is opened start
    with where it lies, so that they stay unique.  A file that is named twice is listed once.

    Parameters
    ----------
    arguments : sequence of str
        As typed.
    options : Options
    base : Path, optional
        What relative paths start from; default the working folder.
    """

    def __init__(
        self, arguments: Sequence[str], options: Options, *, base: Path | None = None
    ) -> None:
        self.arguments = list(arguments)
        self.options = options
        self.base = (base or Path()).absolute()

    def __iter__(self) -> Iterator[Item]:
        """Yield the items in the order of the arguments, a glob in natural order."""
        for name, source in self._parts.items():
            path = Path(name)
            if source is None:
                ident, content = printable(self._relative(path)), self._file(name)
                yield Item(id=ident, content=content, uri=uri_of(content))
                continue
            prefix, split = self._prefix(path, source), _split_of(path, source)
            for item in source:
                yield replace(item, id=prefix + item.id, split=item.split or split)

    def __len__(self) -> int:
        """Return the number of items."""
        return sum(1 if source is None else len(source) for source in self._parts.values())

    @property
    def skipped(self) -> int:
        """Files that a glob or a folder matched, passed over because of their suffix."""
        inner = sum(source.skipped for source in self._parts.values() if source is not None)
        return inner + self._expanded[1].total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files passed over because of it."""
        total = self._expanded[1].copy()
        for source in self._parts.values():
            if source is not None and isinstance(source, SkipsFiles):
                total += source.skipped_suffixes
        return total

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        paths = [self._whole(argument) for argument in self.arguments]
        return {
            "kind": "paths",
            "paths": paths,
            "arguments": self.arguments,
            "base": str(self.base),
            **self.options.facts(),
        }

    @cached_property
    def _expanded(self) -> tuple[list[str], Counter[str]]:
        """Every path, and how many others the globs matched, by suffix."""
        found: dict[str, None] = {}
        skipped: Counter[str] = Counter()
        for argument in self.arguments:
            if is_url(argument):
                found.update(dict.fromkeys(self._expand_url(argument, skipped)))
                continue
            if not is_pattern(argument, self.base):
                found[argument] = None
                continue
            for pattern in expand_braces(argument):
                is_glob = is_pattern(pattern, self.base)
                matches = self._glob(pattern, skipped) if is_glob else [pattern]
                if has_braces(argument) and not is_glob:
                    self._require(pattern, argument)
                found.update(dict.fromkeys(matches))
        return list(found), skipped

    def _glob(self, pattern: str, skipped: Counter[str]) -> list[str]:
        """Return what a glob matches and can be read, in natural order."""
        matches = glob(pattern, root_dir=self.base, recursive=True)  # noqa: PTH207  (keeps hidden files out)
        suffixes = self.options.suffixes
        wanted = [match for match in matches if self._is_wanted(match, suffixes)]
        if not wanted:
            raise InputError(
                f"{pattern}: no {self.options.modality} files ({' '.join(sorted(suffixes))}); "
                f"{len(matches)} other matches"
            )
        skipped.update(suffix_of(match) for match in set(matches).difference(wanted))
        return sorted(wanted, key=natural_key)

    def _require(self, path: str, argument: str) -> None:
        if not (self.base / path).exists():
            hint = "every path that braces stand for must be there"
            raise InputError(f"{argument}: {path!r} is missing; {hint}")

    def _is_wanted(self, match: str, suffixes: frozenset[str]) -> bool:
        return suffix_of(match) in suffixes or kind_of(self.base / match) != "file"

    @cached_property
    def _parts(self) -> dict[str, DescribedSource | None]:
        """Absolute path → what to list; nothing where it is a file."""
        arguments = drop_nested(self._expanded[0], self.base)
        suffixes = self.options.suffixes.difference(SUFFIX_KINDS)
        parts: dict[str, DescribedSource | None] = {}
        for argument in arguments:
            path = os.path.join(self.base, argument)  # noqa: PTH118  (Paths take ten times as long)
            if suffix_of(path) in suffixes and os.path.isfile(path):  # noqa: PTH113  (as above)
                parts.setdefault(str(Path(path)) if "/." in path or "//" in path else path)
                continue
            source = open_path(argument, self.options, base=self.base)
            if isinstance(source, Tar) and len(arguments) > 1:
                source = OneOfTars(source.path, self.options)
            if isinstance(source, Fetched) and is_tar(source.url) and len(arguments) > 1:
                source = Fetched(source.url, self.options, OneOfTars)
            parts.setdefault(self._whole(argument.removeprefix("@")), source)
        return parts

    def _whole(self, argument: str) -> str:
        """Return an argument as an absolute path, or as a URL."""
        return url_of(argument) if is_url(argument) else str(self.base / argument)

    def _file(self, name: str) -> Path | Stored:
        """Return a single file, by its absolute path or URL."""
        if not is_url(name):
            return Path(name)
        return self._listed.get(name) or stored_file(name)

    def _expand_url(self, argument: str, skipped: Counter[str]) -> Iterator[str]:
        """Yield what a URL stands for and can be read."""
        suffixes = self.options.suffixes
        for url, stored in expand_url(argument).items():
            if stored is not None and not self._is_wanted(url, suffixes):
                skipped[suffix_of(url)] += 1
                continue
            if stored is not None:
                self._listed[url] = stored
            yield url

    @cached_property
    def _listed(self) -> dict[str, Stored]:
        """URL → file, as far as a pattern was listed."""
        return {}

    def _relative(self, path: Path) -> str:
        is_below = path.is_relative_to(self.base)
        return url_of((path.relative_to(self.base) if is_below else path).as_posix())

    def _prefix(self, path: Path, source: DescribedSource) -> str:
        source = source.inner if isinstance(source, Fetched) else source
        if isinstance(source, (Folder, Tars, StoredTars)):
            return printable(self._relative(path)) + "/"
        if isinstance(source, Table) and source.picked.id is not None:
            return printable(self._relative(path)) + ":"
        parent = printable(self._relative(path.parent))
        return "" if parent == "." else parent + "/"


def _split_of(path: Path, source: DescribedSource) -> Split | None:
    """Return the split that the name of a folder, or of the folder of a tar, stands for."""
    source = source.inner if isinstance(source, Fetched) else source
    if isinstance(source, Tar):
        path = path.parent
    has_split = isinstance(source, (Folder, Tar, Tars, StoredTars))
    return SPLITS.get(path.name.lower()) if has_split else None


def drop_nested(arguments: Iterable[str], base: Path) -> list[str]:
    """Return the arguments that do not lie in a folder that is also listed."""
    paths = {argument: os.path.join(base, argument) for argument in arguments}  # noqa: PTH118
    folders = {Path(path) for path in paths.values() if os.path.isdir(path)}  # noqa: PTH112
    if not folders:
        return list(paths)
    return [a for a, path in paths.items() if folders.isdisjoint(Path(path).parents)]
