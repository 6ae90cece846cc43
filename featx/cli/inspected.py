"""What an inspection found, as ``featx inspect`` prints it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from featx.cli import options as o
from featx.cli.answers import one_line
from featx.cli.terminal import harmless

if TYPE_CHECKING:
    from featx.evaluate.curation.cleaned import Change

_ID_WIDTH = 60
_GROUP_IDS = 2

_ITEMS = {
    "suspects": "suspect",
    "clusters": "clustered item",
    "leaks": "leaking item",
    "duplicates": "duplicate",
    "outliers": "outlier",
}
"""Finding → an item of it."""

Found = Sequence[dict[str, Any]]
"""The JSON objects of one finding."""


def show(target: Path, facts: dict[str, Any], shown: int) -> None:
    """Print what was found, at most `shown` lines of each finding.

    Parameters
    ----------
    target : Path
        That was inspected.
    facts : dict
        From `inspection_facts`.
    shown : int
    """
    click.echo(harmless(_headline(target, facts)))
    if facts["not_doubted"]:
        click.echo(f"\n{facts['not_doubted']}")
    for name, section in _SECTIONS.items():
        if facts[name] is None:
            continue
        title, header, rows = section(facts)
        click.echo(f"\n{title}")
        if rows and shown:
            o.print_table(header, [[_cell(each) for each in row] for row in rows[:shown]])
        if len(rows) > shown:
            click.echo(f"... and {len(rows) - shown:,} more")


def show_applied(out: Path, made: "dict[int, Change]", name: str, *, held_back: int) -> None:
    """Print what the cleaned table or set changes, and what to do with it.

    Parameters
    ----------
    out : Path
    made : dict of int to Change
    name : str
        The set, as a command names it.
    held_back : int
        Changes of items that heads are judged by.
    """
    parts = Counter((change.finding, change.label is None) for change in made.values())
    told = [
        f"{o.counted(n, _ITEMS[finding])} {'taken out' if is_gone else 'relabelled'}"
        for (finding, is_gone), n in parts.items()
    ]
    click.echo()
    click.echo(harmless(f"{out}: {', '.join(told) or 'nothing to change'}"))
    if held_back:
        of = "label of val or test is" if held_back == 1 else "labels of val or test are"
        o.say(f"note: {held_back:,} {of} among them: what is measured there will look better")
    if out.suffix == ".csv" and made:
        click.echo(harmless(f"look through it, then run: featx label {name} {out}"))


def _headline(target: Path, facts: dict[str, Any]) -> str:
    line, counts = f"{target}: {o.counted(facts['items'], 'item')}", facts["classes"]
    if not counts:
        return f"{line}, none labelled"
    classes = f"{len(counts):,} {'class' if len(counts) == 1 else 'classes'}"
    line += f", {facts['labelled']:,} labelled in {classes}"
    if len(counts) > 1:
        largest, *_, smallest = counts
        line += f" of {counts[smallest]:,} ({smallest:.40}) to {counts[largest]:,} ({largest:.40})"
    if facts["accuracy"] is None:
        return line
    low, high = facts["interval"]
    line += f"; {facts['accuracy']:.3f} [{low:.3f}, {high:.3f}] of the labels"
    return f"{line} of {facts['distinct']:,} different items are as expected"


_Section = tuple[str, Sequence[str], Sequence[Sequence[object]]]
"""Title, header and rows."""


def _suspects(facts: dict[str, Any]) -> _Section:
    found: Found = facts["suspects"]
    title = f"{o.counted(len(found), 'label')} {'looks' if len(found) == 1 else 'look'} wrong"
    header = ("confidence", "label", "suggested", "id")
    rows = [(each["confidence"], each["label"], each["suggested"], each["id"]) for each in found]
    return title, header, rows


def _clusters(facts: dict[str, Any]) -> _Section:
    found: Found = facts["clusters"]
    title = f"{o.counted(len(found), 'cluster')} may be mislabelled as a whole"
    header = ("confidence", "items", "label", "suggested", "ids")
    return (
        title,
        header,
        [
            (each["confidence"], len(ids), each["label"], each["suggested"], _listed(ids))
            for each in found
            for ids in [each["ids"]]
        ],
    )


def _duplicates(facts: dict[str, Any]) -> _Section:
    found: Found = facts["duplicates"]
    title = f"{o.counted(len(found), 'group')} of duplicates"
    if found:
        copies = sum(len(group["items"]) - 1 for group in found)
        exact = sum(group["exact"] for group in found)
        differing = sum(group["labels_differ"] for group in found)
        title += (
            f", {o.counted(copies, 'item')} too many;"
            f" contents are equal in {exact:,} groups, labels differ in {differing:,}"
        )
    rows = []
    for group in found:
        items = group["items"]
        least = min(item["similarity"] for item in items)
        labels = Counter(item["label"] or "-" for item in items).most_common()
        told = ", ".join(f"{label} {n:,}" for label, n in labels)
        rows.append((len(items), least, told, _listed([item["id"] for item in items])))
    return title, ("items", "similarity", "labels", "ids"), rows


def _leaks(facts: dict[str, Any]) -> _Section:
    found: Found = facts["leaks"]
    are = "item of val or test is" if len(found) == 1 else "items of val or test are"
    rows = [
        (
            each["similarity"],
            each["split"],
            each["id"],
            each["other_split"] or "-",
            each["other"],
        )
        for each in found
    ]
    title = f"{len(found):,} {are} nearly in an earlier split too"
    return title, ("similarity", "split", "id", "split", "id"), rows


def _outliers(facts: dict[str, Any]) -> _Section:
    found: Found = facts["outliers"]
    rows = [(each["likeness"], each["label"] or "-", each["id"]) for each in found]
    title = f"{o.counted(len(found), 'item')} unlike all others"
    return title, ("likeness", "label", "id"), rows


def _overlaps(facts: dict[str, Any]) -> _Section:
    found: Found = facts["overlaps"]
    rows = [(each["share"], f"{each['times']:,}", *each["classes"]) for each in found]
    title = f"{o.counted(len(found), 'pair')} of classes {'is' if len(found) == 1 else 'are'}"
    return f"{title} taken for each other", ("share", "times", "class", "class"), rows


_SECTIONS = {
    "suspects": _suspects,
    "clusters": _clusters,
    "duplicates": _duplicates,
    "leaks": _leaks,
    "outliers": _outliers,
    "overlaps": _overlaps,
}
"""Name of a finding → what is said of it, in this order."""


def _listed(ids: Sequence[str]) -> str:
    shown = ", ".join(one_line(each, _ID_WIDTH) for each in ids[:_GROUP_IDS])
    return shown + (", ..." if len(ids) > _GROUP_IDS else "")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = f"{value:,}" if isinstance(value, int) else str(value)
    return one_line(text, 2 * _ID_WIDTH)
