"""What a source holds, before anything is embedded."""

from collections import Counter
from dataclasses import dataclass

from featx.data.sources.options import DescribedSource, SkipsFiles

SHOWN_LABELS = 20
SHOWN_PROBLEMS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a source lists.

    Attributes
    ----------
    items : int
        All of them, those with problems too.
    labels : mapping of str to int
        The most frequent labels, at most `SHOWN_LABELS`, with their number of items.
    classes : int
        Different labels in all.
    labelled : int
        Items with a label.
    splits : mapping of str to int
        Split → items; items without one are not counted.
    problem_count : int
        Items that the source cannot read.
    problems : tuple of (id, problem)
        The first of them, at most `SHOWN_PROBLEMS`.
    first : tuple of str
        Ids of the first items.
    skipped : int
        Files passed over because of their suffix.
    skipped_suffixes : mapping of str to int
        Suffix → files passed over because of it, most frequent first.
    """

    items: int
    labels: dict[str, int]
    classes: int
    labelled: int
    splits: dict[str, int]
    problem_count: int
    problems: tuple[tuple[str, str], ...]
    first: tuple[str, ...]
    skipped: int
    skipped_suffixes: dict[str, int]


def preview(source: DescribedSource, first: int = 10) -> Preview:
    """Return what a source lists; no file that an item is in is opened.

    Parameters
    ----------
    source : DescribedSource
        Iterated once.  Rows of tables, lines and compressed tars are read as they are listed.
    first : int, default 10
        How many ids to show.

    Raises
    ------
    InputError
        If the source cannot be listed.
    """
    labels, splits = Counter[str](), Counter[str]()
    problems: list[tuple[str, str]] = []
    ids: list[str] = []
    count = problem_count = 0
    for item in source:
        count += 1
        if len(ids) < first:
            ids.append(item.id)
        if item.label is not None:
            labels[item.label] += 1
        if item.split is not None:
            splits[item.split] += 1
        if item.problem:
            problem_count += 1
            if len(problems) < SHOWN_PROBLEMS:
                problems.append((item.id, item.problem))
    skipped = source.skipped_suffixes if isinstance(source, SkipsFiles) else Counter[str]()
    return Preview(
        items=count,
        labels=dict(labels.most_common(SHOWN_LABELS)),
        classes=len(labels),
        labelled=labels.total(),
        splits=dict(splits),
        problem_count=problem_count,
        problems=tuple(problems),
        first=tuple(ids),
        skipped=source.skipped,
        skipped_suffixes=dict(skipped.most_common()),
    )
