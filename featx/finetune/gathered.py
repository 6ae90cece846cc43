"""The items of a source with their frozen embeddings, taken from the cache where it has them."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.backbone.backbone import Backbone
from featx.data.sources.options import DescribedSource
from featx.data.store import EmbeddingSet
from featx.embedding import Run
from featx.types import Content, Item


@dataclass(frozen=True, slots=True)
class _Listed:
    """A source that is listed once: standard input cannot be read again."""

    items: Sequence[Item]
    source: DescribedSource

    @property
    def skipped(self) -> int:
        return self.source.skipped

    @property
    def skipped_suffixes(self) -> Counter[str]:
        return Counter()

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def describe(self) -> dict[str, Any]:
        return self.source.describe()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """What a source holds.

    Attributes
    ----------
    embedded : EmbeddingSet
    contents : dict of str to Content
        By id.
    problems : tuple of (id, problem)
        The first items that were skipped.
    skipped : int
    truncated : int
        Items of which something was cut off.
    """

    embedded: EmbeddingSet
    contents: dict[str, Content]
    problems: tuple[tuple[str, str], ...]
    skipped: int
    truncated: int


OnProgress = Callable[[str, int, int], None]
"""Told a stage, how many items are done, and of how many."""


def gather(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    *,
    cache: Path | None,
    progress: OnProgress,
) -> Gathered:
    """List a source and embed its items with the frozen backbone.

    Parameters
    ----------
    source : DescribedSource
    backbone : Backbone
    out : Path
        Set to make.
    cache : Path or None
    progress : callable

    Raises
    ------
    FeatxError
        As `featx.embedding.Run` does.
    """
    items = list(source)
    contents: dict[str, Content] = {}
    for item in items:
        if not item.problem:
            contents.setdefault(item.id, item.content)  # the first of an id is embedded
    # A backbone of its own: its session keeps memory, which training needs, while it lives.
    own = Backbone(
        backbone.manifest,
        backbone.settings,
        prompt=backbone.facts["prompt"],
        dim=backbone.dim,
    )
    run = Run(_Listed(items, source), own, out, cache=cache)
    last = None
    for last in run.steps():
        progress("embed", last.done, last.total)
    assert last is not None
    return Gathered(
        embedded=EmbeddingSet.open(run.out),
        contents=contents,
        problems=last.first_errors,
        skipped=last.errors,
        truncated=last.truncated,
    )
