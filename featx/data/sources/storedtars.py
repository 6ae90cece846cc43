"""Tars below a prefix of a bucket, such as the shards of a webdataset."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from featx.data.sources.columns import SPLITS
from featx.data.sources.fetched import Fetched
from featx.data.sources.options import Options
from featx.data.sources.tar import is_tar
from featx.data.sources.tars import OneOfTars
from featx.data.sources.tree import StoredTree
from featx.data.sources.walk import printable, suffix_of
from featx.types import Item


class StoredTars:
    """The tars below a prefix, in natural order, each copied when its turn comes.

    A first folder named ``train``, ``val`` or ``test`` is the split of the items below it.

    Parameters
    ----------
    tree : StoredTree
    options : Options
    """

    def __init__(self, tree: StoredTree, options: Options) -> None:
        self.tree = tree
        self.options = options

    @staticmethod
    def is_for(tree: StoredTree, options: Options) -> bool:
        """Return whether there are tars below a prefix, and no file that the modality reads."""
        names, suffixes = tree.entries, options.suffixes
        return any(map(is_tar, names)) and not any(suffix_of(n) in suffixes for n in names)

    def __iter__(self) -> Iterator[Item]:
        """Yield the items of each tar."""
        for relative, tar in self._found.items():
            top, _, below = relative.partition("/")
            split = SPLITS.get(top.lower()) if below else None
            prefix = relative.rpartition("/")[0]
            prefix = printable(f"{prefix}/") if prefix else ""
            for item in tar:
                yield replace(item, id=prefix + item.id, split=item.split or split)

    def __len__(self) -> int:
        """Return the number of items; copies all tars."""
        return sum(map(len, self._found.values()))

    @property
    def skipped(self) -> int:
        """Members passed over because of their suffix."""
        return self.skipped_suffixes.total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → members passed over because of it."""
        return sum((tar.skipped_suffixes for tar in self._found.values()), Counter[str]())

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "tars", "paths": [self.tree.where], **self.options.facts()}

    @cached_property
    def _found(self) -> Mapping[str, Fetched]:
        where = self.tree.where
        return {
            name: Fetched(f"{where}/{name}", self.options, OneOfTars)
            for name in self.tree.entries
            if is_tar(name)
        }
