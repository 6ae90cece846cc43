"""Several paths, globs, and single files."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import Any

from featx.data.sources import kind_of, open_path
from featx.data.sources.columns import SPLITS
from featx.data.sources.folder import Folder
from featx.data.sources.options import DescribedSource, Options, SkipsFiles
from featx.data.sources.patterns import expand_braces, has_braces, is_pattern
from featx.data.sources.table import Table
from featx.data.sources.tar import Tar
from featx.data.sources.tars import Tars
from featx.data.sources.walk import natural_key, printable, suffix_of
from featx.errors import InputError
from featx.types import Item, Split


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
        for path, source in self._parts:
            if source is None:
                name = printable(self._relative(path))
                yield Item(id=name, content=path, uri=printable(str(path)))
                continue
            prefix, split = self._prefix(path, source), _split_of(path, source)
            for item in source:
                yield replace(item, id=prefix + item.id, split=item.split or split)

    def __len__(self) -> int:
        """Return the number of items."""
        return sum(1 if source is None else len(source) for _, source in self._parts)

    @property
    def skipped(self) -> int:
        """Files that a glob or a folder matched, passed over because of their suffix."""
        inner = sum(source.skipped for _, source in self._parts if source is not None)
        return inner + self._expanded[1].total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files passed over because of it."""
        total = self._expanded[1].copy()
        for source in filter(None, dict(self._parts).values()):
            if isinstance(source, SkipsFiles):
                total += source.skipped_suffixes
        return total

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        paths = [str(self.base / argument) for argument in self.arguments]
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
        wanted = [match for match in matches if self._is_wanted(match)]
        if not wanted:
            suffixes = " ".join(sorted(self.options.suffixes))
            raise InputError(
                f"{pattern}: no {self.options.modality} files ({suffixes}); "
                f"{len(matches)} other matches"
            )
        skipped.update(suffix_of(Path(match).name) for match in set(matches).difference(wanted))
        return sorted(wanted, key=natural_key)

    def _require(self, path: str, argument: str) -> None:
        if not (self.base / path).exists():
            hint = "every path that braces stand for must be there"
            raise InputError(f"{argument}: {path!r} is missing; {hint}")

    def _is_wanted(self, match: str) -> bool:
        path = self.base / match
        return path.suffix.lower() in self.options.suffixes or kind_of(path) != "file"

    @cached_property
    def _parts(self) -> list[tuple[Path, DescribedSource | None]]:
        """What to list: a file where there is no source."""
        parts: dict[Path, DescribedSource | None] = {}
        for argument in drop_nested(self._expanded[0], self.base):
            source = open_path(argument, self.options, base=self.base)
            parts.setdefault(self.base / argument.removeprefix("@"), source)
        return list(parts.items())

    def _relative(self, path: Path) -> str:
        is_below = path.is_relative_to(self.base)
        return (path.relative_to(self.base) if is_below else path).as_posix()

    def _prefix(self, path: Path, source: DescribedSource) -> str:
        if isinstance(source, (Folder, Tars)):
            return printable(self._relative(path)) + "/"
        if isinstance(source, Table) and source.picked.id is not None:
            return printable(self._relative(path)) + ":"
        parent = printable(self._relative(path.parent))
        return "" if parent == "." else parent + "/"


def _split_of(path: Path, source: DescribedSource) -> Split | None:
    """Return the split that the name of a folder, or of the folder of a tar, stands for."""
    if isinstance(source, Tar):
        path = path.parent
    return SPLITS.get(path.name.lower()) if isinstance(source, (Folder, Tar, Tars)) else None


def drop_nested(arguments: Iterable[str], base: Path) -> list[str]:
    """Return the arguments that do not lie in a folder that is also listed."""
    paths = {argument: base / argument for argument in arguments}
    folders = {path for path in paths.values() if path.is_dir()}
    return [a for a, path in paths.items() if folders.isdisjoint(path.parents)]
