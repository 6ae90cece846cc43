"""Folders of tars, such as the shards of a webdataset."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.columns import SPLITS
from featx.data.sources.options import Options
from featx.data.sources.tar import Tar, is_tar
from featx.data.sources.walk import Walk, printable, suffix_of
from featx.errors import InputError
from featx.types import Item


class OneOfTars(Tar):
    """A tar among others; one that cannot be read is an item with a problem."""

    def __iter__(self) -> Iterator[Item]:
        """Yield the items, or the one with the problem."""
        try:
            yield from super().__iter__()
        except InputError as error:
            self._counted = 1, Counter()
            problem = str(error).removeprefix(f"{self.path}: ")
            yield Item(id=self._id(), content=b"", uri=self._uri(), problem=problem)

    @cached_property
    def _counted(self) -> tuple[int, Counter[str]]:
        try:
            return super()._counted
        except InputError:
            return 1, Counter()


class Tars:
    """The tars below a folder, in natural order, one after the other.

    A first folder named ``train``, ``val`` or ``test`` is the split of the items below it.

    Parameters
    ----------
    path : Path
    options : Options
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path.absolute()
        self.options = options

    @staticmethod
    def is_for(folder: Path, options: Options) -> bool:
        """Return whether there are tars below a folder, and no file that the modality reads."""
        has_tars, suffixes = False, options.suffixes
        for relative, _ in Walk(folder, None, is_sorted=False):
            if suffix_of(relative) in suffixes:
                return False
            has_tars = has_tars or is_tar(relative)
        return has_tars

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of each tar."""
        for relative, tar in self._found.items():
            yield from self._items(relative, tar)

    def __len__(self) -> int:
        """Return the number of items; reads every header once, unless that was done before."""
        return sum(1 if isinstance(tar, str) else len(tar) for tar in self._found.values())

    @property
    def skipped(self) -> int:
        """Files and members passed over because of their suffix."""
        return self.skipped_suffixes.total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → members passed over because of it."""
        tars = (tar for tar in self._found.values() if isinstance(tar, Tar))
        return sum((tar.skipped_suffixes for tar in tars), Counter[str]())

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "tars", "paths": [str(self.path)], **self.options.facts()}

    @cached_property
    def _found(self) -> dict[str, Tar | str]:
        """Path below the folder → tar, or why it, or a folder, cannot be read."""
        return {
            name: problem or OneOfTars(self.path / name, self.options)
            for name, problem in Walk(self.path, None)
            if is_tar(name) or name.endswith("/")
        }

    def _items(self, relative: str, tar: Tar | str) -> Iterator[Item]:
        if isinstance(tar, str):
            yield Item(id=printable(relative), content=self.path / relative, problem=tar)
            return
        top, _, below = relative.partition("/")
        split = SPLITS.get(top.lower()) if below else None
        prefix = printable(relative.removesuffix(tar.path.name))
        for item in tar:
            yield replace(item, id=prefix + item.id, split=item.split or split)
