"""The report: one page on a set, a head, or both, that opens without a network."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featx.report import plot
from featx.report.accuracy import accuracy_section
from featx.report.confusion import confusion_section
from featx.report.curation import balance_table, curation_rows, curation_sections
from featx.report.elements import section, table
from featx.report.embeddingmap import colourings_of, map_section, strangeness
from featx.report.findings import Findings, Wish
from featx.report.itemcards import Items
from featx.report.learning import learning_section
from featx.report.page import own_file, writing_page
from featx.report.pictures import pictures_of
from featx.report.places import finite_rows, lay_out
from featx.report.provenance import provenance_section
from featx.report.reliability import reliability_section
from featx.report.shown import MOST, shown_rows
from featx.report.summary import summary_section
from featx.report.words import counted, number
from featx.report.worst import worst_rows, worst_section
from featx.types import Rows

PICTURE_BYTES = 1_850_000
"""Of small pictures in all: a third more in the page, which is to stay below 5 MB."""

_HEADING = re.compile(r'<section id="([\w-]+)".*?<h2[^>]*>(.*?)</h2>', re.DOTALL)
_ID = re.compile(r' id="([\w-]+)"')


def write_report(
    found: Findings, out: Path, wish: Wish, *, roots: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the page of what was found, and return what is on it, as JSON values.

    Parameters
    ----------
    found : Findings
    out : Path
        There whole, or not at all.
    wish : Wish
    roots : sequence of Path, optional
        Folders whose pictures may be shown besides those of the set's source.

    Raises
    ------
    FeatxError
        As `featx.report.places.lay_out` does, or if the page cannot be written.
    """
    items, rows = _items(found, roots)
    remarks = _remarks(found, items, rows)
    sections = list(_sections(found, items, rows, wish))
    found_in = filter(None, map(_HEADING.match, sections))
    headings = {match[1]: match[2] for match in found_in}
    with writing_page(out, found.name, _under(found), scripts=_scripts(sections)) as write:
        write(summary_section(found, remarks, headings))
        for each in sections:
            write(each)
    return _told(found, items, rows, remarks) | {"out": str(out), "bytes": out.stat().st_size}


def _under(found: Findings) -> str:
    """Return the line below the title."""
    what = f"Report on {'an embedding set' if found.subject == 'set' else 'a head'}"
    on = found.embedding_set
    return f"{what} by the items of {on.path.name}" if on and found.subject == "head" else what


def _items(found: Findings, roots: Sequence[Path]) -> tuple[Items | None, Rows]:
    """Return the items of the set, and which rows are shown one by one."""
    held = found.embedding_set
    if held is None:
        return None, np.empty(0, np.int64)
    featured = curation_rows(found.inspection) if found.inspection else []
    first = list(featured)
    if found.judgement is not None and len(found.judgement.rows):
        featured = [*worst_rows(found.judgement).tolist(), *featured]
        first = [*worst_rows(found.judgement, MOST).tolist(), *featured]
    codes = np.unique([label or "" for label in held.y], return_inverse=True)[1]
    rows = shown_rows(codes.astype(np.int64), first)
    asked = [*dict.fromkeys([*featured, *rows.tolist()])]
    pictures = pictures_of(held, asked, set(featured), roots=roots, budget=PICTURE_BYTES)
    return Items(embedding_set=held, pictures=pictures, judgement=found.judgement), rows


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


def _sections(found: Findings, items: Items | None, rows: Rows, wish: Wish) -> Iterator[str]:
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
        yield from _of_items(found, items, rows, wish)
    elif head is not None:
        yield from _of_header(found)
    balance = balance_table(found.inspection) if found.inspection else ""
    yield provenance_section(found.embedding_set, head, wish.command, balance)
    if items is not None:
        yield items.block(rows)


def _of_items(found: Findings, items: Items, rows: Rows, wish: Wish) -> Iterator[str]:
    held = items.embedding_set
    places = lay_out(held.X, wish.layout, seed=wish.seed)
    colourings = list(colourings_of(items, rows))
    if found.distances is not None:
        colourings.append(strangeness(found.distances, found.threshold, rows))
    sampled = "" if len(rows) == len(held) else f"{len(rows):,} of {len(held):,} items are on it."
    if len(finite_rows(places)):
        yield map_section(items, places, rows, colourings, sampled)
    if found.judgement is not None and not found.judgement.hits.all():
        yield worst_section(items, found.judgement)
    if found.inspection is not None:
        yield from curation_sections(items, found.inspection)


def _of_header(found: Findings) -> Iterator[str]:
    """Yield what the file of a head lists of its training items, by their ids."""
    assert found.head is not None
    suspects = found.head.header.get("suspects", {"n": 0, "first": []})
    if suspects["n"]:
        rows = [
            [each["id"], each["label"], each["suggested"], number(each["confidence"])]
            for each in suspects["first"]
        ]
        yield section(
            "suspects",
            "Labels that look wrong",
            f"The surest of {counted(suspects['n'], 'label')} of the training that the head "
            "contradicts.",
            table(["item", "label", "rather", "confidence"], rows),
        )
    groups = found.head.header.get("duplicates", {}).get("first", [])
    if groups:
        rows = [[str(at), ", ".join(ids)] for at, ids in enumerate(groups, start=1)]
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
            "suspects": len(inspected.suspects),
            "duplicates": len(inspected.duplicates),
            "leaks": len(inspected.leaks),
            "outliers": len(inspected.outliers),
        }
    return told | {"notes": [*found.notes, *remarks]}
