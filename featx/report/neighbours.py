"""The page of neighbours: what is nearest to each query, and what that says of it."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from featx.modality.content import PREVIEW_LENGTH

if TYPE_CHECKING:
    from featx.gallery.answers import Classified, Neighbour

_SHOWN_ID = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What was asked.

    Attributes
    ----------
    id : str
    preview : str
        Words that remind a person of it; may be empty.
    thumbnail : bytes or None
        A JPEG file.
    vote : Classified or None
        What the neighbours say of it, where they are labelled.
    """

    id: str
    preview: str = ""
    thumbnail: bytes | None = None
    vote: "Classified | None" = None


def section(
    query: Query,
    neighbours: "Sequence[Neighbour]",
    thumbnails: Sequence[bytes | None],
    *,
    number: int,
    metric: str = "cosine",
) -> str:
    """Return one query and its neighbours as HTML; whatever a user wrote is escaped.

    Parameters
    ----------
    query : Query
    neighbours : sequence of Neighbour
        Nearest first.
    thumbnails : sequence of bytes or None
        JPEG files of the neighbours, in their order.
    number : int
        Of the section on its page.
    metric : str, default "cosine"
        Whose similarities go from 0 to 1 and are drawn as bars.
    """
    winner = query.vote.label if query.vote else None
    has_bars = metric == "cosine"
    cards = [
        _card(neighbour, small, winner=winner, has_bar=has_bars)
        for neighbour, small in zip(neighbours, thumbnails, strict=True)
    ]
    kind = "neighbours" if any(thumbnails) else "neighbours texts"
    listed = f'<ol class="{kind}">\n{"".join(cards)}</ol>' if cards else _quiet("no neighbours")
    return (
        f'<section aria-labelledby="query-{number}">\n{_question(query, number)}{listed}\n'
        "</section>\n"
    )


def _question(query: Query, number: int) -> str:
    picture = _image(query.thumbnail, f"the query {query.id}") if query.thumbnail else ""
    words = _words(query.preview) if query.preview != query.id and not query.thumbnail else ""
    return (
        f'<div class="query">{picture}<div>\n'
        f'<h2 id="query-{number}">{escape(_short(query.id))}</h2>\n'
        f"{_quiet(words) if words else ''}{_vote(query.vote)}</div></div>\n"
    )


def _vote(vote: "Classified | None") -> str:
    if vote is None:
        return ""
    strange = '<span class="badge">unlike anything labelled</span>' if vote.novel else ""
    share = f"{vote.probability:.0%} of the vote of the {len(vote.neighbours)} nearest"
    label = f"<strong>{escape(vote.label)}</strong>" if vote.label else "undecided"
    return f'<p class="vote"><span>{label}, {share}</span>{strange}</p>\n'


def _card(found: "Neighbour", small: bytes | None, *, winner: str | None, has_bar: bool) -> str:
    if small:
        labelled = f", labelled {found.label}" if found.label else ""
        shown = f'<figure class="picture">{_image(small, f"{found.id}{labelled}")}</figure>'
    else:
        shown = f"<blockquote>{escape(_words(found.preview) or 'no preview')}</blockquote>"
    where = escape(found.uri or found.id)
    return (
        f'<li class="card {_kind(found.label, winner)}">{shown}\n{_label(found.label, winner)}'
        f'<p class="id" title="{where}">{escape(_short(found.id))}</p>\n'
        f"{_similarity(found.similarity, has_bar=has_bar)}</li>\n"
    )


def _kind(label: str | None, winner: str | None) -> str:
    """Return how a card looks: as its label compares with the one that won."""
    if label is None:
        return "none"
    if winner is None:
        return "plain"
    return "same" if label == winner else "other"


def _label(label: str | None, winner: str | None) -> str:
    kind = _kind(label, winner)
    note = '<span class="unseen">another label: </span>' if kind == "other" else ""
    sign = '<span aria-hidden="true">≠ </span>' if kind == "other" else ""
    return f'<p class="label">{note}{sign}{escape(label or "no label")}</p>\n'


def _similarity(similarity: float, *, has_bar: bool) -> str:
    share = min(max(similarity, 0.0), 1.0)
    bar = f'<span class="bar"><i style="width:{share:z.1%}"></i></span>' if has_bar else ""
    return f'<p class="similarity"><span>{similarity:z.3f}</span>{bar}</p>'


def _image(jpeg: bytes, alt: str) -> str:
    data = b64encode(jpeg).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="{escape(alt)}">'


def _words(preview: str) -> str:
    """Return a preview that shows where it was cut off."""
    return f"{preview}…" if len(preview) == PREVIEW_LENGTH else preview


def _quiet(text: str) -> str:
    return f'<p class="quiet">{escape(text)}</p>\n'


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_ID else f"{text[: _SHOWN_ID - 1]}…"
