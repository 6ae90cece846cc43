"""Items of a request, in each of the forms that they may come in."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import TypeVar

import msgspec
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from featx.errors import FeatxError, ItemError
from featx.serve.engine import Answer, Ask
from featx.serve.http.bodies import content_type, decode, in_time, limited, read_body, unless_gone
from featx.serve.http.problems import JSON, Problem
from featx.serve.http.wording import form_problem, query_problem
from featx.serve.routes.wire import Input, content_of, contents_of, listed, text_error
from featx.serve.service import deadline_of, service_of
from featx.serve.settings import ServeSettings
from featx.types import Content

Asked = TypeVar("Asked", bound="WithInput")


class WithInput(msgspec.Struct):
    """The JSON body of a request with items.

    Attributes
    ----------
    input : item or array of items
    """

    input: Input


async def asked_of(
    request: Request, decoder: "msgspec.json.Decoder[Asked]", default: type[Asked]
) -> tuple[list[Content | FeatxError], Asked]:
    """Return the items of a request as a backbone reads them, and the rest of its body.

    JSON as `decoder` has it; or one item as the body itself, an image, a sound or a text; or
    files of a form.  Fields of `default` may be given in the query, which comes before the JSON.
    """
    kind = content_type(request)
    if kind == JSON or kind.endswith("+json"):
        asked = over(await decode(request, decoder), request)
        return _of_json(request, asked), asked
    options = from_query(request, default)
    if kind == "multipart/form-data":
        return await _of_form(request), options
    if kind in {"text/plain", "application/octet-stream"} or kind.partition("/")[0] in {
        "image",
        "audio",
    }:
        return [await _of_body(request, kind)], options
    expected = f"{JSON}, multipart/form-data, image/*, audio/* or text/plain"
    message = f"content-type: found {kind or 'none'}; expected {expected}"
    raise Problem(415, "wrong_content_type", message)


def over(asked: Asked, request: Request) -> Asked:
    """Return a body with the fields that the query of the request gives in place of its own."""
    names = [name for name in request.query_params if name != "input"]
    if not names:
        return asked
    given = from_query(request, type(asked))
    return msgspec.structs.replace(asked, **{name: getattr(given, name) for name in names})


def from_query(request: Request, kind: type[Asked]) -> Asked:
    """Return the fields of a body that are given in the query of the request instead."""
    given = {name: value for name, value in request.query_params.items() if name != "input"}
    try:
        found = msgspec.convert({**given, "input": ""}, kind, strict=False)
    except msgspec.ValidationError as error:
        raise query_problem(error, kind, given) from error
    for name, value in given.items():
        if getattr(found, name, "") is None:  # which the word null is taken for
            message = f"query: {name}: found {value!r}; leave it out for none"
            raise Problem(422, "wrong_shape", message, param=name)
    return found


def _of_json(request: Request, asked: WithInput) -> list[Content | FeatxError]:
    service = service_of(request)
    items, thing = listed(asked.input), service.engine.thing
    require_few(request, items)
    return contents_of(items, thing.modality, thing.backbone.dim, service.settings)


def require_few(request: Request, items: Sequence[object], param: str = "input") -> None:
    """Raise where a request has no items, or too many.

    Raises
    ------
    Problem
    """
    most = service_of(request).settings.items
    if not items:
        message = f"{param}: is empty; expected at least one item"
        raise Problem(422, "no_items", message, param=param)
    if len(items) > most:
        message = (
            f"{param}: {len(items):,} items; at most {most:,} are taken; send several requests"
        )
        raise Problem(413, "too_many_items", message, param=param)


async def _of_body(request: Request, kind: str) -> Content | FeatxError:
    body = await read_body(request)
    service = service_of(request)
    modality = service.engine.thing.modality
    if kind.partition("/")[0] not in {modality, "application"}:
        message = f"content-type: found {kind}; this model takes {modality}"
        raise Problem(415, "wrong_content_type", message)
    return _taken(body, modality, service.settings)


def _taken(body: bytes, modality: str, settings: ServeSettings) -> Content | FeatxError:
    """Return the bytes of one item, if there are any, and not too many of a text."""
    if not body:
        return ItemError("is empty")
    return text_error(len(body), settings) or body if modality == "text" else body


async def _of_form(request: Request) -> list[Content | FeatxError]:
    """Return the files of a form, whatever their fields are called, and its field ``text``."""
    service = service_of(request)
    most = service.settings.items
    parser = _Parser(
        request.headers,
        limited(request),
        max_files=most + 1,
        max_fields=most + 1,
        max_part_size=service.settings.body_bytes,
    )
    try:
        form = await in_time(request, parser.parse())
    except MultiPartException as error:
        raise form_problem(error.message, most) from error
    modality, found = service.engine.thing.modality, list[Content | FeatxError]()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(form.close)
        for name, value in form.multi_items():
            if isinstance(value, UploadFile):
                found.append(_taken(await value.read(), modality, service.settings))
            elif name in {"text", "input"}:
                found.append(_field(value, modality, service.settings))
    require_few(request, found)
    return found


def _field(value: str, modality: str, settings: ServeSettings) -> Content | FeatxError:
    try:
        return content_of(value, modality, settings)
    except FeatxError as error:
        return error


class _Parser(MultiPartParser):
    """Keeps files in memory, since the whole body is limited."""

    spool_max_size = 0


async def answered(
    request: Request, contents: Sequence[Content | FeatxError], ask: Ask
) -> list[Answer | FeatxError]:
    """Return what comes of each item; those that failed before stay errors.

    Raises
    ------
    Problem
        If the client has gone.
    """
    service = service_of(request)
    good = [each for each in contents if not isinstance(each, FeatxError)]
    answer = service.engine.answer(good, ask, deadline_s=deadline_of(request))
    answers = iter(await unless_gone(request, answer))
    return [each if isinstance(each, FeatxError) else next(answers) for each in contents]
