"""What an inspection found: labels that look wrong, duplicates, leaks and strange items."""

from collections.abc import Iterator, Sequence
from html import escape

from featx.evaluate.curation.classes import SURE
from featx.evaluate.curation.inspection import DuplicateGroup, Inspection
from featx.report.elements import note, notes, section, short, table
from featx.report.itemcards import Items
from featx.report.words import counted, listed, number, percent

MOST = 24
"""Suspected labels, strange items and the like that are shown."""

MOST_GROUPS = 12
"""Groups of duplicates that are shown."""

MOST_MEMBERS = 8
"""Items of a group that are shown."""


def carded_rows(found: Inspection) -> list[int]:
    """Return the rows that the sections show as cards, in that order; some twice."""
    rows = [*found.suspects.rows[:MOST].tolist()]
    for group in _shown(found.duplicates):
        rows += group.rows[:MOST_MEMBERS].tolist()
    return [*rows, *found.outliers.rows[:MOST].tolist()]


def leaking_rows(found: Inspection) -> list[int]:
    """Return the rows that the table of leaks names."""
    return [*found.leaks.rows[:MOST].tolist(), *found.leaks.others[:MOST].tolist()]


def curation_sections(items: Items, found: Inspection) -> Iterator[str]:
    """Yield a section for each kind of thing that was found."""
    if len(found.suspects):
        yield _suspects(items, found)
    if found.clusters or found.overlaps:
        yield _classes(found)
    if found.duplicates:
        yield _duplicates(items, found.duplicates)
    if len(found.leaks):
        yield _leaks(items, found)
    if len(found.outliers):
        yield _outliers(items, found)


def balance_table(found: Inspection, most: int = 40) -> str:
    """Return how many items each class has; nothing where there are no labels."""
    counts = list(found.balance.counts.items())
    if not counts:
        return ""
    rows = [[short(name), f"{n:,}", percent(n / found.n)] for name, n in counts[:most]]
    if found.balance.unlabelled:
        n = found.balance.unlabelled
        rows.append(["no label", f"{n:,}", percent(n / found.n)])
    more = f" The {most} largest of {len(counts):,} classes." if len(counts) > most else ""
    caption = f"Items of each class.{more}"
    return table(["class", "items", "share"], rows, caption=caption) + (note(more) if more else "")


def _suspects(items: Items, found: Inspection) -> str:
    shown = found.suspects.rows[:MOST].tolist()
    said = [
        f'<span class="label">{escape(items.label(row))}</span> '
        f'<span class="wrong">rather {escape(short(found.classes[code]))}, {percent(sure)}</span>'
        for row, code, sure in zip(
            shown, found.suspects.suggested, found.suspects.confidence, strict=False
        )
    ]
    return section(
        "suspects",
        "Labels that look wrong",
        f"{counted(len(found.suspects), 'label')} that the mean of three heads, none of which saw "
        f"the item, holds for {SURE} times less likely than another class: a higher bar than that "
        "of an error above. featx inspect lists them, and its --apply mends them."
        f"{_shown_of(len(shown), len(found.suspects))}",
        items.cards(shown, said),
    )


def _classes(found: Inspection) -> str:
    said = [
        f"{counted(len(each.rows), 'item')} labelled {short(each.label)} lie together and look "
        f"like {short(each.suggested)}, {percent(each.confidence)} sure."
        for each in found.clusters[:MOST]
    ]
    said += [
        f"{short(each.first)} and {short(each.second)} overlap: {each.times:,} items, "
        f"{percent(each.share)} of both, are taken for the other."
        for each in found.overlaps[:MOST]
    ]
    more = len(found.clusters) + len(found.overlaps) - len(said)
    return section(
        "classes",
        "Classes that run into each other",
        "Groups of items whose label all others contradict, and classes that are hard to tell "
        "apart: perhaps one class, or in need of a clearer rule.",
        notes(said),
        note(f"{more:,} more; featx inspect lists them.") if more else "",
    )


def _duplicates(items: Items, groups: Sequence[DuplicateGroup]) -> str:
    parts = []
    for number_, group in enumerate(_shown(groups), start=1):
        rows = group.rows[:MOST_MEMBERS].tolist()
        kind = "the same" if group.is_exact else "nearly the same"
        differ = "; their labels differ" if group.labels_differ else ""
        said = [
            f'<span class="label">{escape(items.label(row))}</span> '
            f'<span class="quiet">{number(similarity)}</span>'
            for row, similarity in zip(rows, group.similarities, strict=False)
        ]
        words = f"Group {number_}: {counted(len(group.rows), 'item')}, {kind}{differ}"
        parts.append(f"<h3>{escape(words)}</h3>\n{items.cards(rows, said)}")
    n = sum(len(group.rows) for group in groups)
    differing = sum(group.labels_differ for group in groups)
    odd = f" In {counted(differing, 'group')} the labels differ; these come first." * bool(
        differing
    )
    return section(
        "duplicates",
        "Items that are there more than once",
        f"{n:,} items in {counted(len(groups), 'group')}; the number is the cosine to the nearest "
        f"of the group.{odd}",
        *parts,
        note(f"{len(groups) - MOST_GROUPS:,} more groups.") if len(groups) > MOST_GROUPS else "",
    )


def _shown(groups: Sequence[DuplicateGroup]) -> list[DuplicateGroup]:
    """Return the groups to show: those whose labels differ first, then the largest."""
    return sorted(groups, key=lambda group: not group.labels_differ)[:MOST_GROUPS]


def _leaks(items: Items, found: Inspection) -> str:
    ids, splits = items.embedding_set.ids, items.embedding_set.items.column("split").to_pylist()
    leaks = zip(found.leaks.rows, found.leaks.others, found.leaks.similarities, strict=True)
    rows = [
        [short(ids[row]), splits[row] or "", short(ids[other]), splits[other] or "", number(cosine)]
        for row, other, cosine in list(leaks)[:MOST]
    ]
    header = ["item", "split", "nearest", "of split", "cosine"]
    return section(
        "leaks",
        "Leaks between the splits",
        f"{counted(len(found.leaks), 'item')} of val or test that an earlier split holds too, or "
        "nearly: they make a head look better than it is."
        f"{_shown_of(len(rows), len(found.leaks))}",
        table(header, rows, caption="Items that leak"),
    )


def _outliers(items: Items, found: Inspection) -> str:
    rows = found.outliers.rows[:MOST].tolist()
    said = [
        f'<span class="label">{escape(items.label(row))}</span> '
        f'<span class="quiet">likeness {number(likeness)}</span>'
        for row, likeness in zip(rows, found.outliers.likeness, strict=False)
    ]
    return section(
        "outliers",
        "Items unlike all others",
        f"{counted(len(found.outliers), 'item')} that no other is like. Likeness is the mean "
        f"cosine to the five nearest.{_shown_of(len(rows), len(found.outliers))}",
        items.cards(rows, said),
    )


def _shown_of(shown: int, n: int) -> str:
    """Return a sentence on how many of them are shown; empty where all are."""
    return f" Shown are the first {shown}." if shown < n else ""


def small_classes(found: Inspection) -> str:
    """Return a sentence on classes that have too few items; empty where there is none."""
    small = found.balance.small
    if not small:
        return ""
    have = "class has" if len(small) == 1 else "classes have"
    names = listed([short(name, 40) for name in small])
    return f"{len(small):,} {have} fewer than five items: {names}."
