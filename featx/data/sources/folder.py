"""Folders of files: a class a folder, splits, or a ``metadata`` file that says both."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.columns import SPLITS
from featx.data.sources.located import uri_of
from featx.data.sources.options import Options
from featx.data.sources.records import Records
from featx.data.sources.table import check_ids, pick_listing, read_items
from featx.data.sources.tree import Found, LocalTree, Tree, below
from featx.data.sources.walk import printable
from featx.errors import InputError
from featx.types import Item, Split

METADATA = ("metadata.csv", "metadata.tsv", "metadata.jsonl", "metadata.parquet")
"""Names of the file that may list a folder's items, in the order they are looked for."""


class Folder:
    """Files below a folder whose suffix the modality reads, in natural order.

    The label is the first folder below the root, or below ``train/``, ``val/`` and ``test/`` where
    the root has them.  A ``metadata`` file with a ``file_name`` column, in the root or in the
    folder of a split, is used instead.  What is hidden is skipped, and a folder that links lead to
    twice is listed once.  Pipes, devices and folders that cannot be read are items with a problem.
    Folders are listed one at a time, so that millions of files are never held in memory.

    Parameters
    ----------
    path : Path or Tree
        What the files are listed from.
    options : Options
    """

    def __init__(self, path: Path | Tree, options: Options) -> None:
        self.tree = LocalTree(path.absolute()) if isinstance(path, Path) else path
        self.options = options

    def __iter__(self) -> Iterator[Item]:
        """Yield what metadata files list, then every other file."""
        count = 0
        for folder, records in self._listings.items():
            for item in self._listed(folder, records):
                count += 1
                yield item
        found = self.tree.walk(self.options.suffixes)
        for relative, problem in self._unlisted(found):
            count += 1
            yield self._item(relative, problem)
        self._counted = count, found.skipped
        self._require_items()

    def __len__(self) -> int:
        """Return the number of items; walks the folder once, unless that was done before."""
        self._require_items()
        return self._counted[0]

    @property
    def skipped(self) -> int:
        """Files passed over because of their suffix."""
        return self._counted[1].total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → files passed over because of it."""
        return self._counted[1]

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "folder", "paths": [self.tree.where], **self.options.facts()}

    @cached_property
    def _top(self) -> list[str]:
        """Names of the folders directly below the root."""
        return self.tree.top()

    @cached_property
    def _has_splits(self) -> bool:
        splits = [SPLITS[name.lower()] for name in self._top if name.lower() in SPLITS]
        return "train" in splits or 0 < len(splits) == len(self._top)

    @cached_property
    def _listings(self) -> dict[str, Records]:
        """Folder below the root ("" for the root itself) → its metadata file."""
        root = find_listing(self.tree, "")
        if root is not None:
            return {"": root}
        splits = [name for name in self._top if self._has_splits and name.lower() in SPLITS]
        found = {name: find_listing(self.tree, name) for name in splits}
        return {name: records for name, records in found.items() if records is not None}

    @cached_property
    def _counted(self) -> tuple[int, Counter[str]]:
        """Number of items, and of files passed over by suffix."""
        # The order decides only where a folder is listed that links lead to twice, which matters
        # only if one of them lies in a listed folder.
        found = self.tree.walk(self.options.suffixes, is_sorted=bool(self._listings))
        listed = sum(records.count() for records in self._listings.values())
        return listed + sum(1 for _ in self._unlisted(found)), found.skipped

    def _unlisted(self, found: Found) -> Iterator[tuple[str, str]]:
        """Yield path and problem of the files that no metadata file is there for."""
        listings = self._listings
        if "" in listings:
            return iter(())
        if not listings:
            return iter(found)
        return (leaf for leaf in found if leaf[0].split("/", 1)[0] not in listings)

    def _require_items(self) -> None:
        count, skipped = self._counted
        if not count:
            suffixes = " ".join(sorted(self.options.suffixes))
            others = f"{skipped.total()} other file{'s' * (skipped.total() != 1)}"
            raise InputError(
                f"{self.tree.where}/: no {self.options.modality} files ({suffixes}); {others}"
            )

    def _item(self, relative: str, problem: str) -> Item:
        label, split = self._place(relative)
        return Item(
            id=printable(relative),
            content=self.tree.content(relative),
            uri=printable(f"{self.tree.where}/{relative}"),
            label=label,
            split=split,
            problem=problem,
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

    def _listed(self, folder: str, records: Records) -> Iterator[Item]:
        picked = pick_listing(records, self.options.columns)
        check_ids(records, picked.id or "file_name")
        for item in read_items(records, picked):
            if not isinstance(item.content, Path):
                yield item
                continue
            relative = below(folder, records.path, item.content)
            label, split = self._place(relative)
            exists, content = self.tree.has(relative), self.tree.content(relative)
            yield replace(
                item,
                content=content,
                uri=uri_of(content),
                id=item.id if picked.id else relative,
                label=item.label if picked.label else label,
                split=item.split or split,
                problem="" if exists else f"{records.path.name} lists {relative!r}: no such file",
            )


def find_listing(tree: Tree, folder: str) -> Records | None:
    """Return the metadata file of a folder if it has a ``file_name`` column, else None.

    Parameters
    ----------
    tree : Tree
    folder : str
        Below the tree; empty for the tree itself.
    """
    for name in METADATA:
        relative = f"{folder}/{name}" if folder else name
        if tree.has(relative):
            records = tree.records(relative)
            return records if "file_name" in records.names else None
    return None
