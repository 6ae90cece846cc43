"""``/openapi.json`` and ``/docs``: the description, made once for each state of what is served.

They ask for no key, and take some 20 ms to make, which no stranger shall spend at will.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from featx.serve.describe.docs import page_of
from featx.serve.describe.examplebodies import some_id
from featx.serve.describe.openapi import document_of
from featx.serve.http.problems import JSON
from featx.serve.routes.signature import outputs_of
from featx.serve.service import Service, off_loop, service_of

if TYPE_CHECKING:
    from featx.serve.thing import Thing

MOST = 8
"""Descriptions that are kept: they differ by the name that a client has for this place."""

Written = Callable[[Mapping[str, Any]], bytes]


class Descriptions:
    """Descriptions that were written, kept while the same thing is served."""

    def __init__(self) -> None:
        self._thing: Thing | None = None
        self._kept = dict[tuple[object, ...], bytes]()

    def of(self, service: Service, url: str, write: Written) -> bytes:
        """Return what a function writes of the description of a service at a URL."""
        thing = service.engine.thing
        key = (url, write, thing, *_state_of(service))
        if thing is not self._thing or (key not in self._kept and len(self._kept) >= MOST):
            self._thing, self._kept = thing, {}
        kept = self._kept  # other threads may begin with none meanwhile
        if key not in kept:
            kept[key] = write(document_of(service, url))
        return kept[key]


def _state_of(service: Service) -> tuple[object, ...]:
    """Return what of a thing changes its description: a gallery grows, and gets labels."""
    thing, is_discreet = service.engine.thing, bool(service.settings.keys)
    shown = () if is_discreet else (*thing.classes[:1], some_id(thing, is_discreet=False))
    return thing.can_classify, *outputs_of(thing), *shown


def _json(document: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(document)


def _html(document: Mapping[str, Any]) -> bytes:
    return page_of(document).encode()


async def _described(request: Request, write: Written) -> bytes:
    state, service = request.app.state, service_of(request)
    if not hasattr(state, "descriptions"):
        state.descriptions = Descriptions()
    kept: Descriptions = state.descriptions
    url = str(request.base_url).rstrip("/")
    return await off_loop(service.engine.thing, lambda: kept.of(service, url, write))


async def openapi(request: Request) -> Response:
    """Give the description for programs."""
    return Response(await _described(request, _json), media_type=JSON)


async def docs(request: Request) -> Response:
    """Give the description for people."""
    return HTMLResponse(await _described(request, _html))


ROUTES = [
    Route("/openapi.json", openapi, methods=["GET"]),
    Route("/docs", docs, methods=["GET"]),
]
