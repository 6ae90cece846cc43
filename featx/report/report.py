"""The report: one page on a set, a head, or both, that opens without a network."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from featx.report import plot
from featx.report.accuracy import accuracy_section
from featx.report.confusion import confusion_section
from featx.report.curation import MOST as MOST_LISTED
from featx.report.curation import (
    MOST_MEMBERS,
    balance_table,
    carded_rows,
    curation_sections,
    leaking_rows,
)
from featx.report.elements import section, short, table
from featx.report.embeddingmap import colourings_of, map_section, strangeness
from featx.report.findings import Findings, Wish
from featx.report.itemcards import Items
from featx.report.learning import learning_section
from featx.report.page import own_file, writing_page
from featx.report.pictures import pictures_of
from featx.report.places import lay_out
from featx.report.provenance import provenance_section
from featx.report.reliability import reliability_section
from featx.report.shown import MOST, shown_rows
from featx.report.summary import summary_section
from featx.report.words import counted, number
from featx.report.worst import worst_rows, worst_section
from featx.types import Rows

MOST_BYTES = 4_900_000
"""Of a page without its head and summary, which are short: pictures take what is left of it."""

# Text stands for bytes of a picture, four characters for three.
_PICTURE_SHARE = 0.75

_HEADING = re.compile(r'<section id="([\w-]+)".*?<h2[^>]*>(.*?)</h2>', re.DOTALL)
_ID = re.compile(r' id="([\w-]+)"')


def write_report(found: Findings, out: Path, wish: Wish) -> dict[str, Any]:
    """Write the page of what was found, and return what is on it, as JSON values.

    Parameters
    ----------
    found : Findings
    out : Path
        There whole, or not at all.
    wish : Wish

    Raises
    ------
    FeatxError
        As `featx.report.places.lay_out` does, or if the page cannot be written.
    """
    items, rows, featured = _items(found)
    before, after = list(_before(found, items, rows, wish)), list(_after(found, wish))
    bare = [*before, *_cards(found, items, rows), *after]
    scripts = _scripts(bare)
    if items is not None:
        asked = [*dict.fromkeys([*featured, *rows.tolist()])]
        budget = int(_PICTURE_SHARE * max(0, MOST_BYTES - _size_bytes([*bare, *scripts])))
        pictures = pictures_of(
            items.embedding_set, asked, featured, roots=wish.roots, budget=budget
        )
        items = replace(items, pictures=pictures)
    sections = [*before, *_cards(found, items, rows), *after]
    remarks = _remarks(found, items, rows)
    headings = {match[1]: match[2] for match in filter(None, map(_HEADING.match, sections))}
    with writing_page(out, found.name, _under(found), scripts=scripts) as write:
        write(summary_section(found, remarks, headings))
        for each in sections:
            write(each)
    return _told(found, items, rows, remarks) | {"out": str(out), "bytes": out.stat().st_size}


def _size_bytes(texts: Iterable[str]) -> int:
    return sum(len(each.encode("utf-8", "backslashreplace")) for each in texts)


def _under(found: Findings) -> str:
    """Return the line below the title."""
    what = f"Report on {'an embedding set' if found.subject == 'set' else 'a head'}"
    on = found.embedding_set
    return f"{what} by the items of {on.path.name}" if on and found.subject == "head" else what


def _items(found: Findings) -> tuple[Items | None, Rows, list[int]]:
    """Return the items of the set, which rows are known one by one, and which have a card."""
    held = found.embedding_set
    if held is None:
        return None, np.empty(0, np.int64), []
    carded = carded_rows(found.inspection) if found.inspection else []
    first = [*carded, *(leaking_rows(found.inspection) if found.inspection else [])]
    if found.judgement is not None and len(found.judgement.rows):
        carded = [*worst_rows(found.judgement).tolist(), *carded]
        first = [*worst_rows(found.judgement, MOST).tolist(), *first]
    codes = np.unique([label or "" for label in held.y], return_inverse=True)[1]
    rows = shown_rows(codes.astype(np.int64), first)
    return Items(embedding_set=held, judgement=found.judgement), rows, carded


def _remarks(found: Findings, items: Items | None, rows: Rows) -> list[str]:
    """Return sentences on what the page does not show."""
    if items is None:
        return ["items and the map are shown if the report is given a set, too"]
    remarks, held, pictures = [], items.embedding_set, items.pictures
    if len(rows) < len(held):
        remarks.append(
            f"the map and the lists that counts open show {len(rows):,} of {len(held):,} items:"
            " errors first, then as many of each class as its size gives it"
        )
    if pictures.missing:
        remarks.append(
            f"{counted(pictures.missing, 'picture')} not shown: gone from the source, or changed"
            " since they were embedded; name the folder that holds them with --root"
        )
    if pictures.outside:
        remarks.append(
            f"{counted(pictures.outside, 'picture')} not shown: outside of the source's folders;"
            " name theirs with --root"
        )
    if found.inspection is None:
        return remarks
    wanted = len(rows) - pictures.missing - pictures.outside
    if held.modality == "image" and len(pictures.small) < wanted:
        remarks.append(
            f"{len(pictures.small):,} items have a picture; with more the page would be too large"
        )
    return remarks


def _before(found: Findings, items: Items | None, rows: Rows, wish: Wish) -> Iterator[str]:
    """Yield what stands before the cards: numbers, plots and the map."""
    judgement, head = found.judgement, found.head
    if judgement is not None and head is not None:
        words = f"Measured on {counted(judgement.measures['n'], 'item')} {judgement.how}."
        yield accuracy_section(judgement.measures, judgement.task, head.kind, words)
    if judgement is not None and len(judgement.rows):
        are_texts = items is None or items.embedding_set.modality != "image"
        yield confusion_section(judgement, are_texts=are_texts)
        yield reliability_section(judgement)
    if found.curve is not None:
        yield learning_section(found.curve)
    if items is not None:
        yield from _map(found, items, rows, wish)
    elif head is not None:
        yield from _of_header(found)


def _map(found: Findings, items: Items, rows: Rows, wish: Wish) -> Iterator[str]:
    held = items.embedding_set
    places = lay_out(held.X, wish.layout, seed=wish.seed)
    colourings = list(colourings_of(items, rows))
    if found.distances is not None:
        colourings.append(strangeness(found.distances, found.threshold, rows))
    sampled = "" if len(rows) == len(held) else f"{len(rows):,} of {len(held):,} items are on it."
    if np.isfinite(places.xy[rows, 0]).any():
        yield map_section(items, places, rows, colourings, sampled)


def _cards(found: Findings, items: Items | None, rows: Rows) -> Iterator[str]:
    """Yield what shows items one by one, and what the scripts know of them."""
    if items is None:
        return
    if found.judgement is not None and not found.judgement.hits.all():
        yield worst_section(items, found.judgement)
    if found.inspection is not None:
        yield from curation_sections(items, found.inspection)
    yield items.block(rows)


def _after(found: Findings, wish: Wish) -> Iterator[str]:
    balance = balance_table(found.inspection) if found.inspection else ""
    yield provenance_section(found.embedding_set, found.head, wish.command, balance)


def _of_header(found: Findings) -> Iterator[str]:
    """Yield what the file of a head lists of its training items, by their ids."""
    assert found.head is not None
    suspects = found.head.header.get("suspects", {"n": 0, "first": []})
    if suspects["n"]:
        rows = [
            [
                *(short(each[name]) for name in ("id", "label", "suggested")),
                number(each["confidence"]),
            ]
            for each in suspects["first"][:MOST_LISTED]
        ]
        yield section(
            "suspects",
            "Labels that look wrong",
            f"The surest of {counted(suspects['n'], 'label')} of the training, found by confident "
            "learning when the head was trained (featx train --suspects); a report on the set "
            "asks three heads and sets another bar, so that it lists others.",
            table(["item", "label", "rather", "confidence"], rows),
        )
    groups = (found.head.header.get("duplicates") or {}).get("first", [])
    if groups:
        rows = [
            [str(at), ", ".join(map(short, ids[:MOST_MEMBERS]))]
            for at, ids in enumerate(groups[:MOST_LISTED], start=1)
        ]
        yield section(
            "duplicates",
            "Items that are there more than once",
            f"{found.head.header['duplicates']['n']:,} training items are nearly equal to another.",
            table(["group", "items"], rows),
        )


def _scripts(sections: Sequence[str]) -> tuple[str, ...]:
    """Return the scripts that the sections need."""
    ids = {match[1] for each in sections for match in _ID.finditer(each)}
    own = [("items", "cards.js"), ("counted", "confusion.js"), ("map-data", "map.js")]
    return (*plot.scripts(), *(own_file(script) for name, script in own if name in ids))


def _told(
    found: Findings, items: Items | None, rows: Rows, remarks: Sequence[str]
) -> dict[str, Any]:
    """Return the main numbers of the page, as JSON values."""
    told: dict[str, Any] = {"items": len(items.embedding_set) if items else 0, "shown": len(rows)}
    told["pictures"] = len(items.pictures.small) if items else 0
    if found.judgement is not None:
        names = ("accuracy", "micro_f1", "r2", "interval", "n", "baselines")
        told |= {k: found.judgement.measures[k] for k in names if k in found.judgement.measures}
    if (inspected := found.inspection) is not None:
        told |= {
            "suspects": None if inspected.not_doubted else len(inspected.suspects),
            "duplicates": len(inspected.duplicates),
            "leaks": len(inspected.leaks),
            "outliers": len(inspected.outliers),
        }
    return told | {"notes": [*found.notes, *remarks]}
