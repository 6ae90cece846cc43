"""``/v1/examples``: the items of a gallery, listed, taught, forgotten and labelled anew."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NoReturn

import msgspec
import numpy as np
from blake3 import blake3
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.backbone.backbone import Backbone
from featx.errors import FeatxError
from featx.gallery.items import ItemFacts
from featx.modality.content import npy_bytes
from featx.serve.engine import Answer, Ask, Engine
from featx.serve.http.bodies import content_type, decode, reply
from featx.serve.http.problems import JSON, Problem, item_error, problem_of
from featx.serve.routes.browsing import ItemId, Name, gallery_of, listing, row_of, thumbnail
from featx.serve.routes.inputs import WithInput, answered, asked_of, from_query, require_few
from featx.serve.routes.wire import Item, contents_of
from featx.serve.service import deadline_of, service_of
from featx.serve.teach.teacher import Example, Teacher
from featx.serve.thing import Thing
from featx.types import Content


class NewExample(msgspec.Struct, forbid_unknown_fields=True):
    """An item to be taught.

    Attributes
    ----------
    input : item
    id : str or None
        Made of the item itself where none is given.
    label : str or None
    """

    input: Item
    id: ItemId | None = None
    label: Name | None = None


class ExamplesBody(msgspec.Struct, forbid_unknown_fields=True):
    """What is taught.

    Attributes
    ----------
    examples : array of NewExample
    replace : bool
        Whether an item of the same id gives way.
    """

    examples: list[NewExample]
    replace: bool = False


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
    contents, asked = await _asked(request, thing)
    answers = await answered(request, contents, Ask(task="embed"))
    made = await asyncio.gather(
        *(
            _example(thing, engine, content, answer, given, replaces=asked.replace)
            for content, answer, given in zip(contents, answers, asked.examples, strict=True)
        )
    )
    good = [each for each in made if isinstance(each, Example)]
    outcomes = iter(await teacher.add(good, deadline_s=deadline_of(request)))
    results: list[dict[str, Any]] = []
    errors: list[FeatxError] = []
    for each in made:
        error = next(outcomes) if isinstance(each, Example) else each
        if error is not None:
            errors.append(error)
            results.append({"error": item_error(error)})
        elif isinstance(each, Example):
            results.append({"id": each.id})
    if len(errors) == len(made):
        _refuse_all(errors)
    added = len(made) - len(errors)
    items = len(engine.thing.held)
    return reply({"added": added, "items": items, "results": results}, 201)


def _teacher_of(request: Request) -> Teacher:
    service = service_of(request)
    if service.teacher is not None:
        return service.teacher
    what = f"{service.engine.thing.name}: is served to be read only"
    how = "start it with --allow-teach, or with keys (--keys-file), which then are asked for"
    raise Problem(403, "teaching_not_allowed", f"{what}; {how}")


async def _asked(request: Request, thing: Thing) -> tuple[list[Content | FeatxError], ExamplesBody]:
    """Return what a backbone reads of each example, and what is said of them."""
    kind, settings = content_type(request), service_of(request).settings
    if kind == JSON or kind.endswith("+json"):
        asked = _with_query(await decode(request, _EXAMPLES), request)
        require_few(request, asked.examples, "examples")
        items = [each.input for each in asked.examples]
        return contents_of(items, thing.modality, thing.backbone.dim, settings), asked
    contents, one = await asked_of(request, _ONE, OneExample)
    return contents, _like(one, ExamplesBody([NewExample(input="") for _ in contents]))


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


async def _example(
    thing: Thing,
    engine: Engine,
    content: Content | FeatxError,
    answer: Answer | FeatxError,
    given: NewExample,
    *,
    replaces: bool,
) -> Example | FeatxError:
    """Return an example; the error where its item could not be embedded."""
    if isinstance(answer, FeatxError):
        return answer
    assert not isinstance(content, FeatxError)
    is_vector = isinstance(content, np.ndarray)
    raw = npy_bytes(content) if isinstance(content, np.ndarray) else thing.backbone.read(content)
    made = _facts(thing.backbone, engine, raw, given.label, is_vector=is_vector)
    return Example(
        id=f"taught-{blake3(raw).hexdigest(length=8)}" if given.id is None else given.id,
        vector=answer.vector,
        space=thing.backbone.space,
        facts=await made,
        replace=replaces,
    )


async def _facts(
    backbone: Backbone, engine: Engine, raw: bytes, label: str | None, *, is_vector: bool
) -> ItemFacts:
    """Return what is kept of an item beside its vector; of a vector alone there is nothing."""
    modality = backbone.manifest.modality
    if is_vector and modality != "array":
        return ItemFacts(label=label)
    preview = backbone.modality.preview(raw)
    picture = await engine.thumbnail(raw) if modality == "image" else None
    return ItemFacts(label=label, preview=preview, thumbnail=picture)


def _refuse_all(errors: Sequence[FeatxError]) -> NoReturn:
    problem = problem_of(errors[0])
    if len(errors) > 1:
        start = f"none of {len(errors):,} examples could be added; the first"
        problem.message = f"{start}: {problem.message}"
    raise problem


async def forget(request: Request) -> Response:
    """Remove items, all or none."""
    gallery_of(request)
    teacher = _teacher_of(request)
    ids = list(dict.fromkeys(request.query_params.getlist("id")))
    require_few(request, ids, "id")
    held = service_of(request).engine.thing.held
    for item_id in ids:
        row_of(held, item_id)
    await teacher.remove(ids)
    items = len(service_of(request).engine.thing.held)
    return reply({"removed": len(ids), "items": items})


async def relabel(request: Request) -> Response:
    """Give an item another label, or none."""
    thing, teacher = gallery_of(request), _teacher_of(request)
    asked = await decode(request, _RELABEL)
    example = await asyncio.to_thread(_relabelled, thing, asked)
    (error,) = await teacher.add([example], deadline_s=deadline_of(request))
    if error is not None:
        row_of(thing.held, asked.id)  # that it was removed meanwhile says more
        raise problem_of(error)
    label = example.facts.label
    return reply({"id": asked.id, "label": label, "items": len(thing.held)})


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
