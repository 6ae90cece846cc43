"""Elements of a page: sections, tables, lists of facts and blocks of data, as HTML."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

DASH = "\N{EN DASH}"
"""Stands where there is no number, and between the ends of a range."""

# What a text may take beside three bytes a character, so that a short one is cut by its length.
_SPARE_BYTES = 100

_NUMBER = re.compile(rf"[-+]?[\d.,{DASH}]+(?:\s?%)?|{DASH}")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table that is HTML already."""

    html: str
    kind: str = ""


def section(name: str, heading: str, words: str, *parts: str) -> str:
    """Return a section of a page; what follows the words is HTML.

    Parameters
    ----------
    name : str
        Its id on the page: lower-case words joined by hyphens.
    heading, words : str
        Plain text; without words there is no paragraph.

    Examples
    --------
    >>> print(section("front", "Accuracy & speed", ""))
    <section id="front" aria-labelledby="front-heading">
    <h2 id="front-heading">Accuracy &amp; speed</h2>
    </section>
    <BLANKLINE>
    """
    said = f"<p>{escape(words)}</p>\n" if words else ""
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading">\n'
        f'<h2 id="{name}-heading">{escape(heading)}</h2>\n{said}{"".join(parts)}</section>\n'
    )


def note(text: str) -> str:
    """Return a paragraph that stands back, of plain text."""
    return f'<p class="quiet">{escape(text)}</p>\n'


def notes(texts: Sequence[str]) -> str:
    """Return a list of sentences, of plain text; nothing where there are none."""
    items = "".join(f"<li>{escape(text)}</li>\n" for text in texts)
    return f'<ul class="notes">\n{items}</ul>\n' if items else ""


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return names and what they are, of plain text."""
    items = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>\n" for name, value in pairs
    )
    return f'<dl class="facts">\n{items}</dl>\n'


def table(header: Sequence[str], rows: Iterable[Sequence[str | Cell]], *, caption: str = "") -> str:
    """Return a table whose first column names the rows.

    It lies in a region of its own that scrolls sideways, by keys too, where the screen is narrow.

    Parameters
    ----------
    header : sequence of str
    rows : iterable of sequences of str or Cell
        Text is escaped, and goes to the right if it is a number.
    caption : str, optional
        Names the table to those who do not see it; by default the header does.
    """
    said = caption or ", ".join(name for name in header if name)
    lines = list(rows)
    # A column is of numbers if all its cells are; its heading stands over them then.
    is_number = [
        bool(lines) and all(_is_number(line[at]) for line in lines) for at in range(len(header))
    ]
    heads = "".join(
        f'<th scope="col"{_kind("number" if right else "")}>{escape(name)}</th>'
        for name, right in zip(header, is_number, strict=True)
    )
    body = "".join(f"<tr>{_row(line)}</tr>\n" for line in lines)
    return scrolling(
        f'<table>\n<caption class="unseen">{escape(said)}</caption>\n'
        f"<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>\n",
        said,
    )


def scrolling(html: str, label: str) -> str:
    """Return HTML in a region that scrolls sideways and can be reached by keys."""
    return (
        f'<div class="scrolls" role="region" tabindex="0" aria-label="{escape(label)}">\n{html}'
        "</div>\n"
    )


def folded(words: str, html: str) -> str:
    """Return HTML that is shown once its summary, of plain text, is pressed."""
    return f"<details>\n<summary>{escape(words)}</summary>\n{html}</details>\n"


def block(name: str, document: Mapping[str, object]) -> str:
    r"""Return JSON that the scripts of a page read; nothing in it can end the block.

    Parameters
    ----------
    name : str
        Its id on the page.
    document : mapping
        JSON values.

    Examples
    --------
    >>> print(block("items", {"id": "</script>&"}), end="")
    <script type="application/json" id="items">{"id":"\u003c/script\u003e\u0026"}</script>
    """
    return f'<script type="application/json" id="{name}">{json_text(document)}</script>\n'


def json_text(document: Mapping[str, object]) -> str:
    """Return JSON without characters that mean something in HTML."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def short(text: str, length: int = 120) -> str:
    r"""Return a text on one line, cut to a length, and to fewer of characters that take more bytes.

    Examples
    --------
    >>> short("a text\n of many words", 12)
    'a text of m…'
    >>> short("<" * 120, 40)
    '<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<…'
    """
    line = " ".join(text.split())
    room = 3 * length + _SPARE_BYTES
    if len(line) <= length and _page_bytes(line) <= room:
        return line
    kept = bisect_right(range(length), room, key=lambda n: _page_bytes(line[:n])) - 1
    return f"{line[:kept]}…"


def _page_bytes(text: str) -> int:
    """Return what a text takes on a page, at most: some characters are written as six."""
    n_written = sum(map(text.count, "<>&\"'\\"))
    if not text.isprintable():
        n_written += sum(not each.isprintable() for each in text)
    return len(text.encode("utf-8", "replace")) + 5 * n_written


def _row(line: Sequence[str | Cell]) -> str:
    first, *others = line
    head = f'<th scope="row">{_html(first)}</th>'
    return head + "".join(f"<td{_kind(_kind_of(each))}>{_html(each)}</td>" for each in others)


def _html(cell: str | Cell) -> str:
    return cell.html if isinstance(cell, Cell) else escape(cell)


def _kind_of(cell: str | Cell) -> str:
    return cell.kind if isinstance(cell, Cell) else "number" * _is_number(cell)


def _is_number(cell: str | Cell) -> bool:
    return isinstance(cell, str) and bool(_NUMBER.fullmatch(cell))


def _kind(name: str) -> str:
    return f' class="{name}"' if name else ""
