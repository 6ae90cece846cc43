"""Bodies of requests and answers: read with limits, decoded, encoded."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from featx.serve.http.nojson import json_problem
from featx.serve.http.problems import JSON, Problem
from featx.serve.http.wording import shape_problem
from featx.serve.service import deadline_of, service_of

T = TypeVar("T")

_JSON = (b"content-type", JSON.encode())

WHOLE = "featx.is_whole"
"""Key of the scope of a request whose body has come already."""

LARGE_BYTES = 256 << 10
"""Of a JSON body from which on it is looked through before it is decoded."""

MOST_VALUES = 1 << 16
"""Texts, names, arrays and objects of such a body; of a taught item there are some ten."""

MOST_NUMBERS = 1 << 20
"""Numbers of such a body: the event loop waits while they are read, some 0.1 s for so many."""

LONG_LIST = 64
"""Items of a list that holds what is asked of a model, not how."""

PATIENCE_S = 0.1
"""An answer that takes longer is worth asking whether the client is still there."""


async def read_body(request: Request) -> bytes:
    """Return the whole body.

    Raises
    ------
    Problem
        If it is too long (413), or does not come in time (408).
    """
    if WHOLE not in request.scope:
        return await in_time(request, _joined(request))
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    body: bytes = message.get("body", b"")
    if len(body) > service_of(request).settings.body_bytes:
        raise too_long(service_of(request).settings.body_bytes)
    return body


async def _joined(request: Request) -> bytes:
    return b"".join([chunk async for chunk in limited(request)])


async def limited(request: Request) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes.

    Raises
    ------
    Problem
        If it is too long (413).
    """
    most, size = service_of(request).settings.body_bytes, 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most:
            raise too_long(most)
        yield chunk


async def in_time(request: Request, reading: Awaitable[T]) -> T:
    """Return what is read of a request, if it comes before the deadline.

    Raises
    ------
    Problem
        If it does not (408).
    """
    try:
        async with asyncio.timeout(deadline_of(request) - time.monotonic()):
            return await reading
    except TimeoutError as cause:
        message = "the body did not come in time"
        raise Problem(408, "slow_body", message, headers={"connection": "close"}) from cause


def too_long(most: int) -> Problem:
    """Return what is said of a body over the limit; the connection ends with it."""
    message = f"body: longer than {most:,} bytes; send fewer or smaller items"
    return Problem(413, "body_too_long", message, headers={"connection": "close"})


def content_type(request: Request) -> str:
    """Return the media type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def decode(request: Request, decoder: "msgspec.json.Decoder[T]") -> T:
    """Return the JSON body of a request.

    Raises
    ------
    Problem
        If it is of another type (415), no JSON (400), of another shape (422), or of far too many
        values (413).
    """
    found = content_type(request)
    if found != JSON and not found.endswith("+json"):
        message = f"content-type: found {found or 'none'}; expected {JSON}"
        raise Problem(415, "wrong_content_type", message)
    return decoded(await read_body(request), decoder)


def decoded(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    """Return a JSON value; see `decode`."""
    _require_few_values(body)
    try:
        return _decoded(body, decoder)
    except msgspec.ValidationError as error:
        raise shape_problem(error, decoder.type) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise json_problem(error, body) from error


def _require_few_values(body: bytes) -> None:
    """Raise where a body would become far larger in memory, before that can be seen of its items.

    Two bytes, ``[]``, become a hundred, and neither another thread nor a limit of the decoder
    helps: it holds the interpreter's lock, and counts a list when it is there.
    """
    if len(body) < LARGE_BYTES:
        return
    values, numbers = sum(map(body.count, (b"[", b"{", b'"'))), body.count(b",")
    if values > MOST_VALUES or numbers > MOST_NUMBERS:  # most of them may be within texts
        values, numbers = _outside_texts(body)
    if values > MOST_VALUES:
        found = f"{MOST_VALUES:,} texts, arrays and objects"
        raise Problem(413, "too_many_items", f"body: more than {found}; send several requests")
    if numbers > MOST_NUMBERS:
        how = "send several requests, or vectors in base64"
        raise Problem(413, "too_many_items", f"body: more than {MOST_NUMBERS:,} numbers; {how}")


def _outside_texts(body: bytes) -> tuple[int, int]:
    """Return how many texts, arrays and objects a body holds, and how many commas between them."""
    plain = body.replace(rb"\\", b"").replace(rb"\"", b"")
    texts = plain.count(b'"') // 2
    if texts > MOST_VALUES:
        return texts, 0
    between = plain.split(b'"')[::2]
    holders = sum(part.count(b"[") + part.count(b"{") for part in between)
    return texts + holders, sum(part.count(b",") for part in between)


def _decoded(body: bytes, decoder: "msgspec.json.Decoder[T]") -> T:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        if "got `float`" not in str(error):
            raise
        return msgspec.convert(_whole(msgspec.json.decode(body)), decoder.type)


def _whole(value: Any) -> Any:  # noqa: ANN401  (what JSON can say)
    """Return a value with its integers as such: JSON Schema takes 5.0 for one."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list) and len(value) <= LONG_LIST:
        return [_whole(each) for each in value]
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return int(value) if is_whole else value


def reply(document: Any, status: int = 200) -> Response:  # noqa: ANN401  (what JSON can say)
    """Return a JSON answer."""
    return _Reply(msgspec.json.encode(document), status)


class _Reply(Response):
    """A JSON answer, with nothing looked up to make it."""

    def __init__(self, body: bytes, status: int) -> None:
        self.status_code = status
        self.background = None
        self.body = body
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]


async def unless_gone(request: Request, answer: Awaitable[T]) -> T:
    """Return an answer; cancel it where the client does not wait for it any more.

    Raises
    ------
    Problem
        If the client has gone; nobody reads it.
    """
    asking = asyncio.current_task()
    assert asking is not None
    watcher: asyncio.Task[None] | None = None

    def watch() -> None:
        nonlocal watcher
        watcher = asyncio.ensure_future(_cancel_when_gone(request, asking))

    timer = asyncio.get_running_loop().call_later(PATIENCE_S, watch)
    try:
        return await answer
    except asyncio.CancelledError:
        if watcher is None or not watcher.done():
            raise
        asking.uncancel()
        raise Problem(499, "client_gone", "the client has gone") from None
    finally:
        timer.cancel()
        if watcher is not None:
            watcher.cancel()


async def _cancel_when_gone(request: Request, asking: "asyncio.Task[Any]") -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    asking.cancel()
