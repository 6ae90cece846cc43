"""What a gallery answers, as ``featx search`` shows it: a table, JSON, or a page."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import click

from featx.cli import options as o

if TYPE_CHECKING:
    from featx.gallery.answers import Classified, Neighbour
    from featx.gallery.held import Held
    from featx.gallery.items import ItemFacts
    from featx.report.neighbours import Query

_PREVIEW_WIDTH = 60
_ID_WIDTH = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a gallery says of one query.

    Attributes
    ----------
    id : str
        Of the query.
    facts : ItemFacts
        Of the query.
    neighbours : list of Neighbour
        Nearest first.
    vote : Classified or None
        What the neighbours say, where they are asked.
    """

    id: str
    facts: "ItemFacts"
    neighbours: "list[Neighbour]"
    vote: "Classified | None"


Show = Callable[[Sequence[Answer]], None]


@contextmanager
def showing(held: "Held", html: Path | None, *, as_json: bool) -> Iterator[Show]:
    """Give a function that prints answers, writes them to a page, or both.

    Parameters
    ----------
    held : Held
        That answers.
    html : Path or None
        A page, which is there whole at the end, or not at all.
    as_json : bool
    """
    printed = _print_json if as_json else _print_table
    if html is None:
        yield printed
        return
    with _writing_page(held, html) as write:

        def show(answers: Sequence[Answer]) -> None:
            write(answers)
            if as_json:
                printed(answers)

        yield show


@contextmanager
def _writing_page(held: "Held", html: Path) -> Iterator[Show]:
    from featx.report.neighbours import section
    from featx.report.page import writing_page

    title = f"Neighbours in {held.path.name}"
    model = held.facts["model"]
    summary = f"{len(held):,} items, {model}, similarity by {held.metric}, nearest first"
    if held.classes:
        summary += "; ≠ marks labels other than the one that won the vote"
    numbers = count(1)
    with writing_page(html, title, summary) as write:

        def show(answers: Sequence[Answer]) -> None:
            for answer in answers:
                pictures = [held.thumbnail(found.row) for found in answer.neighbours]
                write(
                    section(
                        _query(answer),
                        answer.neighbours,
                        pictures,
                        number=next(numbers),
                        metric=held.metric,
                    )
                )

        yield show


def _query(answer: Answer) -> "Query":
    from featx.report.neighbours import Query

    facts = answer.facts
    return Query(id=answer.id, preview=facts.preview, thumbnail=facts.thumbnail, vote=answer.vote)


def _print_json(answers: Sequence[Answer]) -> None:
    for answer in answers:
        near = [
            {"id": found.id, "label": found.label, "similarity": found.similarity}
            for found in answer.neighbours
        ]
        vote = answer.vote
        said = vote and {
            "label": vote.label,
            "probability": vote.probability,
            "novel": vote.novel,
        }
        o.print_json({"id": answer.id, "neighbours": near, "vote": said})


def _print_table(answers: Sequence[Answer]) -> None:
    for answer in answers:
        click.echo(o.printable(one_line(answer.id, _ID_WIDTH)))
        if answer.vote is not None:
            click.echo(_vote(answer.vote))
        o.print_table(
            ["similarity", "label", "id", ""],
            [cells(found, f"{found.similarity:z.3f}") for found in answer.neighbours],
        )


def _vote(vote: "Classified") -> str:
    strange = "; unlike anything labelled" if vote.novel else ""
    nearest = f"the {len(vote.neighbours)} nearest"
    return f"vote: {vote.label}, {vote.probability:.0%} of the vote of {nearest}{strange}"


def cells(found: "Neighbour", similarity: str) -> list[str]:
    """Return a row of a table: similarity, label, id and what reminds of the item."""
    shown = "" if found.preview == found.id else one_line(found.preview, _PREVIEW_WIDTH)
    return [similarity, found.label or "-", one_line(found.id, _ID_WIDTH), shown]


def one_line(text: str, width: int) -> str:
    """Return a text on one line, cut to a width.

    Examples
    --------
    >>> one_line("a text   of  many words", 12)
    'a text of...'
    """
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3] + "..."
