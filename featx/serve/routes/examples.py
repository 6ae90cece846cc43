"""``/v1/examples``: the items of a gallery, listed, taught, forgotten and labelled anew."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.errors import FeatxError
from featx.gallery.held import Held
from featx.serve.engine import Ask
from featx.serve.http.bodies import content_type, decode, reply
from featx.serve.http.problems import JSON, Problem, none_of, problem_of
from featx.serve.routes.browsing import (
    ItemId,
    Name,
    gallery_of,
    listing,
    no_example,
    row_of,
    thumbnail,
)
from featx.serve.routes.inputs import WithInput, answered, asked_of, from_query, require_few
from featx.serve.routes.newexamples import (
    ExamplesBody,
    NewExample,
    comparable,
    example_of,
    outcomes_of,
)
from featx.serve.routes.wire import contents_of
from featx.serve.service import deadline_of, off_loop, service_of
from featx.serve.teach.teacher import Example, Teacher
from featx.serve.thing import Thing
from featx.types import Content


class OneExample(WithInput, forbid_unknown_fields=True):
    """What the query says of an item that is the body itself, or of the files of a form."""

    id: ItemId | None = None
    label: Name | None = None
    replace: bool = False


class RelabelBody(msgspec.Struct, forbid_unknown_fields=True):
    """A label to be changed.

    Attributes
    ----------
    id : str
    label : str or None
        None leaves the item without one.
    """

    id: ItemId
    label: Name | None


_EXAMPLES = msgspec.json.Decoder(ExamplesBody)
_RELABEL = msgspec.json.Decoder(RelabelBody)
_ONE = msgspec.json.Decoder(OneExample)


async def teach(request: Request) -> Response:
    """Add examples; each that can be is on the disk, and found, once this is answered."""
    thing, teacher = gallery_of(request), _teacher_of(request)
    engine = service_of(request).engine
    contents, asked, param = await _asked(request, thing)
    embedded = await answered(request, contents, Ask(task="embed"))
    metric = (await off_loop(thing, lambda: thing.held)).metric
    answers = [comparable(each, metric) for each in embedded]
    made = await asyncio.gather(
        *(
            example_of(thing, engine, content, answer, given, replaces=asked.replace)
            for content, answer, given in zip(contents, answers, asked.examples, strict=True)
        )
    )
    good = [each for each in made if isinstance(each, Example)]
    errors = await teacher.add(good, deadline_s=deadline_of(request))
    now = engine.thing
    held = await off_loop(now, lambda: now.held)
    outcomes = await off_loop(now, lambda: outcomes_of(made, errors, asked.examples, held, param))
    failed = [each for each in outcomes if isinstance(each, Problem)]
    if len(failed) == len(made):
        raise none_of(failed, "examples could be added")
    results = [each.in_place if isinstance(each, Problem) else {"id": each} for each in outcomes]
    return reply({"added": len(made) - len(failed), "items": len(held), "results": results}, 201)


def _teacher_of(request: Request) -> Teacher:
    service = service_of(request)
    if service.teacher is not None:
        return service.teacher
    what = f"{service.engine.thing.name}: is served to be read only"
    how = "start it with --allow-teach, or with keys (--keys-file), which then are asked for"
    if service.settings.allow_teach is False:
        what, how = f"{what} (--no-teach)", "start it without that, and with keys or --allow-teach"
    raise Problem(403, "teaching_not_allowed", f"{what}; {how}")


async def _asked(
    request: Request, thing: Thing
) -> tuple[list[Content | FeatxError], ExamplesBody, str]:
    """Return what a backbone reads of each example, what is said of them, and what they are in."""
    kind, settings = content_type(request), service_of(request).settings
    if kind == JSON or kind.endswith("+json"):
        asked = _with_query(await decode(request, _EXAMPLES), request)
        require_few(request, asked.examples, "examples")
        items = [each.input for each in asked.examples]
        contents = contents_of(items, thing.modality, thing.backbone.dim, settings)
        return contents, asked, "examples"
    contents, one = await asked_of(request, _ONE, OneExample)
    return contents, _like(one, ExamplesBody([NewExample(input="") for _ in contents])), "input"


def _with_query(asked: ExamplesBody, request: Request) -> ExamplesBody:
    """Return examples of which the query says what they do not say themselves."""
    if not request.query_params:
        return asked
    return _like(from_query(request, OneExample), asked)


def _like(one: OneExample, asked: ExamplesBody) -> ExamplesBody:
    """Return examples with an id and a label where they have none of their own."""
    examples = [
        NewExample(
            input=each.input,
            id=one.id if each.id is None else each.id,
            label=one.label if each.label is None else each.label,
        )
        for each in asked.examples
    ]
    if one.id is not None and len(examples) > 1:
        message = f"id: one is given, for {len(examples)} items; send each by itself, or none"
        raise Problem(422, "wrong_shape", message, param="id")
    return ExamplesBody(examples, replace=asked.replace or one.replace)


async def forget(request: Request) -> Response:
    """Remove items, all or none."""
    thing, teacher = gallery_of(request), _teacher_of(request)
    ids = list(dict.fromkeys(request.query_params.getlist("id")))
    require_few(request, ids, "id")
    await off_loop(thing, lambda: _require_all(thing.held, ids))
    await teacher.remove(ids, deadline_s=deadline_of(request))
    now = service_of(request).engine.thing
    items = await off_loop(now, lambda: len(now.held))
    return reply({"removed": len(ids), "items": items})


def _require_all(held: Held, ids: Sequence[str]) -> None:
    """Raise the Problem of the first id that no item has."""
    found = held.find_all(ids)
    for item_id in ids:
        if item_id not in found:
            raise no_example(item_id)


async def relabel(request: Request) -> Response:
    """Give an item another label, or none."""
    thing, teacher = gallery_of(request), _teacher_of(request)
    asked = await decode(request, _RELABEL)
    example = await asyncio.to_thread(_relabelled, thing, asked)
    (error,) = await teacher.add([example], deadline_s=deadline_of(request))
    if error is not None:
        # That it was removed meanwhile says more.
        await off_loop(thing, lambda: row_of(thing.held, asked.id))
        raise problem_of(error)
    items = await off_loop(thing, lambda: len(thing.held))
    return reply({"id": asked.id, "label": example.facts.label, "items": items})


def _relabelled(thing: Thing, asked: RelabelBody) -> Example:
    held = thing.held
    row = row_of(held, asked.id)
    _, facts = held.item(row)
    return Example(
        id=asked.id,
        vector=held.vectors(np.array([row]))[0],
        space=thing.backbone.space,
        facts=replace(facts, label=asked.label or None, thumbnail=held.thumbnail(row)),
        replace=True,
        over=row,
    )


_METHODS = {"DELETE": forget, "GET": listing, "HEAD": listing, "PATCH": relabel, "POST": teach}


async def examples(request: Request) -> Response:
    """Do what the method says; one route, so that ``Allow`` names them all."""
    return await _METHODS[request.method](request)


ROUTES = [
    Route("/v1/examples", examples, methods=["GET", "POST", "PATCH", "DELETE"]),
    Route("/v1/thumbnail", thumbnail, methods=["GET"]),
]
