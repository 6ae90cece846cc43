"""``GET /v1/models``: what is served, and which state of it."""

from typing import Any

import msgspec
from blake3 import blake3
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.gallery.folder import FACTS
from featx.gallery.held import Held
from featx.serve.http.bodies import reply
from featx.serve.routes.classify import require_model
from featx.serve.service import Service, off_loop, service_of


class _Facts(msgspec.Struct):
    """What is read of ``gallery.json``."""

    generation: int


_DECODER = msgspec.json.Decoder(_Facts)


async def models(request: Request) -> Response:
    """List what is served."""
    return reply({"object": "list", "data": [await _told(request)]})


async def model(request: Request) -> Response:
    """Describe what is served."""
    require_model(request, request.path_params["name"])
    return reply(await _told(request))


async def _told(request: Request) -> dict[str, Any]:
    service = service_of(request)
    return await off_loop(service.engine.thing, lambda: _model(service))


def _model(service: Service) -> dict[str, Any]:
    thing = service.engine.thing
    state = {} if thing.gallery is None else {"digest": None, **_state_of(thing.held)}
    told = {
        "id": thing.name,
        "object": "model",
        "created": int(thing.opened_s),
        "owned_by": "featx",
        **thing.facts,
        "classes": thing.classes,
        **state,
        "can_teach": service.teacher is not None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _state_of(held: Held) -> dict[str, Any]:
    """Return what tells one state of a gallery from another, as `featx index stats` has it."""
    return {
        "items": len(held),
        "generation": held.generation,
        "changes": held.changes,
        "digest": _digest_of(held),
    }


def _digest_of(held: Held) -> str | None:
    """Return the digest of ``gallery.json`` as it is; None where that is of another generation.

    A database has all of a state: there it is that of the gallery's id and the last change.
    """
    if held.facts.get("backend", "files") != "files":
        state = (held.facts["id"], held.generation, held.seq)
        return blake3(":".join(map(str, state)).encode()).hexdigest()
    try:
        raw = (held.path / FACTS).read_bytes()
        generation = _DECODER.decode(raw).generation
    except (OSError, msgspec.MsgspecError):  # another one is about to be at its place
        return None
    return blake3(raw).hexdigest() if generation == held.generation else None


ROUTES = [
    Route("/v1/models", models, methods=["GET"]),
    Route("/v1/models/{name:path}", model, methods=["GET"]),
]
