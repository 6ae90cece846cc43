"""Browsing: pages of what a gallery holds, and its small pictures."""

import asyncio
from typing import Annotated, Any

import msgspec
from blake3 import blake3
from starlette.requests import Request
from starlette.responses import Response

from featx.gallery.answers import Page
from featx.gallery.held import Held
from featx.serve.http.bodies import reply
from featx.serve.http.problems import Problem
from featx.serve.http.wording import query_problem
from featx.serve.routes.said import thumbnail_path
from featx.serve.service import service_of
from featx.serve.thing import Thing

Name = Annotated[str, msgspec.Meta(max_length=1024)]
"""A label or a split."""

ItemId = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]

Cursor = Annotated[str, msgspec.Meta(pattern="^([0-9]{1,12}:[0-9]{1,12})?$")]
"""Where a page begins: the generation of the gallery, and a row."""

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]


class ListQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which items are listed.

    Attributes
    ----------
    label, split : str
        Only items that have it; all where it is empty.
    q : str
        Only items with this in their id or preview, in upper or lower case.
    after : str
        What the page before gave as ``next``.
    limit : int
    """

    label: Name = ""
    split: Name = ""
    q: Name = ""
    after: Cursor = ""
    limit: Limit = 60


def gallery_of(request: Request) -> Thing:
    """Return what is served, if it is a gallery.

    Raises
    ------
    Problem
        If it is a head or a backbone, with the command that makes a gallery.
    """
    thing = service_of(request).engine.thing
    if thing.gallery is not None:
        return thing
    name, out = thing.name, f"{thing.name}.knn"
    what = f"{thing.path.name if thing.path else name}: is a {thing.kind}"
    make = f"featx index SET -o {out}, then featx serve {out} --allow-teach"
    if thing.kind == "head":
        why = "which cannot be taught online; make a gallery of its embedding set"
    else:
        why = "which holds no examples; make a gallery of an embedding set"
        make = f"featx embed SOURCE -m {name} -o SET, then {make}"
    raise Problem(409, "no_gallery", f"{what}, {why}: {make}")


def row_of(held: Held, item_id: str) -> int:
    """Return the row of an id.

    Raises
    ------
    Problem
        If no item has it.
    """
    row = held.find(item_id)
    if row is None:
        raise no_example(item_id)
    return row


def no_example(item_id: str) -> Problem:
    """Return what is answered where no item has an id."""
    message = f"id: the gallery has no item {item_id!r}"
    return Problem(404, "example_not_found", message, param="id")


async def listing(request: Request) -> Response:
    """List the items of the gallery, a page at a time."""
    thing = gallery_of(request)
    given = dict(request.query_params)
    try:
        asked = msgspec.convert(given, ListQuery, strict=False)
    except msgspec.ValidationError as error:
        raise query_problem(error, ListQuery, given) from error
    return reply(await asyncio.to_thread(_page, thing, asked))


def _page(thing: Thing, asked: ListQuery) -> dict[str, Any]:
    held = thing.held
    page = held.page(
        label=asked.label or None,
        split=asked.split or None,
        text=asked.q,
        after=_place(asked.after, held),
        limit=asked.limit,
    )
    return {
        "items": _shown(page, thing),
        "next": None if page.next is None else f"{held.generation}:{page.next}",
        "total": page.total,
        "labels": held.label_counts,
    }


def _place(cursor: str, held: Held) -> int:
    """Return the row that a cursor names; rows have other numbers in another generation.

    Raises
    ------
    Problem
        If it is of another generation (409).
    """
    if not cursor:
        return -1
    generation, _, row = cursor.partition(":")
    if generation != str(held.generation):
        message = "after: the gallery was written anew since that page; begin again"
        raise Problem(409, "stale_cursor", message, param="after")
    return int(row)


def _shown(page: Page, thing: Thing) -> list[dict[str, Any]]:
    has_pictures = thing.modality == "image"
    return [
        {
            "id": item_id,
            "label": facts.label,
            "split": facts.split,
            "uri": facts.uri,
            "preview": facts.preview,
            "thumbnail": thumbnail_path(item_id) if has_pictures else None,
        }
        for item_id, facts in page.items
    ]


async def thumbnail(request: Request) -> Response:
    """Give the small picture of an item, as it is kept in the gallery."""
    thing = gallery_of(request)
    item_id = request.query_params.get("id")
    if item_id is None:
        raise Problem(422, "wrong_shape", "id: is missing; expected that of an item", param="id")
    picture = await asyncio.to_thread(_picture, thing, item_id)
    if picture is None:
        raise Problem(404, "no_thumbnail", f"id: {item_id!r} has no thumbnail", param="id")
    tag = f'"{blake3(picture).hexdigest(length=8)}"'
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(picture, headers=headers, media_type="image/jpeg")


def _picture(thing: Thing, item_id: str) -> bytes | None:
    held = thing.held
    return held.thumbnail(row_of(held, item_id))
