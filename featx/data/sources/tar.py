"""Tars, a member or a sample an item: plain archives, and webdataset shards."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from featx.data.sources.columns import SPLITS, clean_label, clean_split
from featx.data.sources.members import FACT_LIMIT_BYTES, Member, read_members
from featx.data.sources.options import Options
from featx.data.sources.walk import count_suffix, printable, suffix_of
from featx.errors import InputError, ItemError
from featx.types import Item, Span, Split

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

FACTS = (".cls", ".label", ".json")
"""Suffixes of the members that say a sample's label, the first one first."""

SAMPLE_LIMIT = 1000
"""Members of one key that are held together; more of them are several samples."""

SAMPLE_BYTES = 2**26
"""What is held of a compressed sample before a further content begins another."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the members of a sample say about it, beside its content."""

    label: str | None = None
    split: Split | None = None
    problem: str = ""


class Tar:
    """The members of a tar that the modality reads, in the order of the tar.

    Members that follow each other and share their path up to the first dot of the file name are
    one sample, as in webdataset: the first whose whole suffix the modality reads is its content;
    ``.cls`` or ``.label``, else ``label`` in ``.json``, its label, and ``split`` there its split.
    Without such a label it is the first folder, below ``train/``, ``val/`` or ``test/``.  What is
    hidden is skipped.  Links and devices are items with a problem, and so is an early end.

    Parameters
    ----------
    path : Path
        May be compressed; its contents are then bytes, else parts of the file that are read later.
    options : Options
        Its label and split columns are keys of ``.json``.
    """

    def __init__(self, path: Path, options: Options) -> None:
        self.path = path.absolute()
        self.options = options

    def __iter__(self) -> Iterator[Item]:
        """Yield an item for each sample, reading headers and labels."""
        count, skipped = 0, Counter[str]()
        for group in self._groups(reads=True):
            found = self._contents(group, skipped)
            facts = self._facts(group) if found else Facts()
            for member in found:
                count += 1
                yield self._item(member, facts)
        self._counted = count, skipped

    def __len__(self) -> int:
        """Return the number of items; reads every header once, unless that was done before."""
        return self._counted[0]

    @property
    def skipped(self) -> int:
        """Members passed over because of their suffix."""
        return self._counted[1].total()

    @property
    def skipped_suffixes(self) -> Counter[str]:
        """Suffix → members passed over because of it."""
        return self._counted[1]

    def describe(self) -> dict[str, Any]:
        """Return what `featx.data.sources.open_description` needs to open it again."""
        return {"kind": "tar", "paths": [str(self.path)], **self.options.facts()}

    @cached_property
    def _counted(self) -> tuple[int, Counter[str]]:
        """Number of items, and of members passed over by suffix."""
        skipped = Counter[str]()
        groups = self._groups(reads=False)
        return sum(len(self._contents(group, skipped)) for group in groups), skipped

    @cached_property
    def _suffixes(self) -> frozenset[str]:
        return self.options.suffixes

    def _groups(self, *, reads: bool) -> Iterator[list[Member]]:
        """Yield the members of each sample."""
        members = read_members(
            self.path,
            lambda name: reads and suffix_of(name) in FACTS,
            lambda name: reads and suffix_of(name) in self._suffixes,
        )
        group: list[Member] = []
        last, held_bytes = "", 0
        for member in members:
            if is_hidden(member.name) and not member.ends_tar:
                continue
            key = split_name(member.name)[0]
            if group and (key != last or self._is_full(group, held_bytes, member)):
                yield group
                group, held_bytes = [], 0
            group.append(member)
            last = key
            held_bytes += self._held_bytes(member)
        if group:
            yield group

    def _held_bytes(self, member: Member) -> int:
        """Return what a member takes in memory if it is read, also where it is only counted."""
        suffix, content = suffix_of(member.name), member.content
        if isinstance(content, bytes):
            return len(content)
        if isinstance(content, Span):
            is_read = suffix in FACTS and content.size_bytes <= FACT_LIMIT_BYTES
            return content.size_bytes if is_read else 0
        return member.size_bytes if suffix in FACTS or suffix in self._suffixes else 0

    def _is_full(self, group: Sequence[Member], held_bytes: int, member: Member) -> bool:
        """Return whether a sample is to end before a member of its own key."""
        is_content = suffix_of(member.name) in self._suffixes
        return len(group) >= SAMPLE_LIMIT or (is_content and held_bytes > SAMPLE_BYTES)

    def _contents(self, group: Sequence[Member], skipped: Counter[str]) -> list[Member]:
        """Return the members that are items, and count those that are passed over."""
        if group[-1].ends_tar:  # a sample that is cut off may lack its label
            return [group[-1]]
        whole = [split_name(member.name)[1] for member in group]
        first = next((at for at, suffix in enumerate(whole) if suffix in self._suffixes), None)
        chosen = {first}
        if first is None:
            chosen = {at for at, m in enumerate(group) if suffix_of(m.name) in self._suffixes}
        for at, suffix in enumerate(whole):
            if at not in chosen and suffix not in FACTS:
                count_suffix(skipped, suffix_of(group[at].name))
        return [member for at, member in enumerate(group) if at in chosen]

    def _item(self, member: Member, facts: Facts) -> Item:
        if member.ends_tar:
            return Item(id=self._id(), content=b"", uri=self._uri(), problem=member.problem)
        folder_label, folder_split = self._place(member.name)
        return Item(
            id=self._id(member.name),
            content=b"" if member.content is None else member.content,
            uri=self._uri(member.name),
            label=facts.label or folder_label,
            split=facts.split or folder_split,
            problem=member.problem or facts.problem,
        )

    def _id(self, name: str = "") -> str:
        return printable(f"{self.path.name}/{name.removeprefix('./')}").removesuffix("/")

    def _uri(self, name: str = "") -> str:
        return printable(f"{self.path}/{name.removeprefix('./')}").removesuffix("/")

    def _place(self, name: str) -> tuple[str | None, Split | None]:
        """Return the label and split that the folders of a member stand for."""
        folders = [part for part in name.split("/")[:-1] if part not in {"", ".", ".."}]
        split = SPLITS.get(folders[0].lower()) if folders else None
        below = folders[1:] if split else folders
        has_label = self.options.labels_from_folders and below
        return (printable(below[0]) if has_label else None), split

    def _facts(self, group: Sequence[Member]) -> Facts:
        """Return what a sample's other members say."""
        found = {split_name(member.name)[1]: member for member in reversed(group)}
        facts = Facts()
        for suffix in reversed(FACTS):
            if suffix not in found:
                continue
            try:
                facts = self._read_facts(suffix, found[suffix], facts)
            except ItemError as error:
                problem = f"{printable(found[suffix].name)}: {error}"
                facts = replace(facts, problem=problem)
            except InputError as error:
                facts = replace(facts, problem=str(error))
        return facts

    def _read_facts(self, suffix: str, member: Member, before: Facts) -> Facts:
        raw = _fact_bytes(member)
        if suffix != ".json":
            label = clean_label(raw.strip())
            return replace(before, label=label or before.label)
        try:
            values = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise ItemError(f"not JSON: {error}") from error
        if not isinstance(values, dict):
            return before
        columns = self.options.columns
        split = clean_split(values.get(columns.split_col or "split"), where=printable(member.name))
        return Facts(clean_label(values.get(columns.label_col or "label")), split)


def _fact_bytes(member: Member) -> bytes:
    """Return what a member that says a label holds.

    Raises
    ------
    ItemError
        If it cannot be read, or is too long for a label.
    """
    content = member.content
    if content is None:
        raise ItemError(member.problem or "cannot be read")
    size = content.size_bytes if isinstance(content, Span) else len(content)
    if isinstance(content, Span) or size > FACT_LIMIT_BYTES:
        raise ItemError(f"has {size:,} bytes; a label may have {FACT_LIMIT_BYTES:,}")
    return content


def is_tar(name: str) -> bool:
    """Return whether a file is a tar by its name.

    Examples
    --------
    >>> is_tar("shards/000.TAR"), is_tar("a.tar.gz"), is_tar("a.gz")
    (True, True, False)
    """
    return name.lower().endswith(SUFFIXES)


def is_hidden(name: str) -> bool:
    """Return whether a member, or a folder it lies in, is hidden.

    Examples
    --------
    >>> is_hidden("./cat/1.jpg"), is_hidden("../1.jpg"), is_hidden("cat/._1.jpg")
    (False, False, True)
    """
    if not name.startswith(".") and "/." not in name:
        return False
    return any(part.startswith(".") and part not in {".", ".."} for part in name.split("/"))


def split_name(name: str) -> tuple[str, str]:
    """Return a member's key and its whole suffix in lower case, as webdataset does.

    Examples
    --------
    >>> split_name("a.b/0001.seg.PNG")
    ('a.b/0001', '.seg.png')
    """
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.partition(".")
    return folder + slash + stem, (dot + suffix).lower()
