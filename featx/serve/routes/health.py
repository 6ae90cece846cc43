"""Health: whether a service lives and is ready, and what its metrics say.

Ready is not a constant: an item was answered not long ago, if need be one that the service sends
itself.
"""

import asyncio
import logging
import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.errors import FeatxError
from featx.serve.canary import ASKS, canary_of
from featx.serve.http.bodies import reply
from featx.serve.metrics import CONTENT_TYPE, Reading
from featx.serve.service import Service, off_loop, service_of

QUIET_S = 10.0
"""Seconds without an answer after which the service asks itself."""

CANARY_S = 10.0
"""How long an answer to that is waited for."""

EVERY_S = 1.0

LOGGER = logging.getLogger("featx.serve")


async def live(request: Request) -> Response:
    """Say whether the process can answer at all; if not it has to be started again."""
    is_live = service_of(request).engine.is_alive
    return reply({"live": is_live}, 200 if is_live else 503)


async def ready(request: Request) -> Response:
    """Say whether requests should be sent here, and how long ago one was answered."""
    service = service_of(request)
    why = service.unready
    found = {
        "ready": not why,
        "model": service.engine.thing.name,
        "last_success_age_s": round(time.monotonic() - service.last_success_s, 3),
        **({"why": why} if why else {}),
    }
    return reply(found, 503 if why else 200)


async def metrics(request: Request) -> Response:
    """Give everything that is counted."""
    service = service_of(request)
    service.metrics.read(await _reading(service))
    return Response(service.metrics.page(), media_type=CONTENT_TYPE)


async def _reading(service: Service) -> Reading:
    return await off_loop(service.engine.thing, lambda: service.reading)


async def ask_canary(service: Service) -> None:
    """Have the service answer an item of its own.

    Raises
    ------
    FeatxError
        If it does not.
    """
    engine = service.engine
    deadline_s = time.monotonic() + CANARY_S
    asked = ASKS[engine.thing.kind]
    (answer,) = await engine.answer([canary_of(engine.thing)], asked, deadline_s=deadline_s)
    if isinstance(answer, FeatxError):
        raise answer


async def watch(service: Service) -> None:
    """Ask the service whenever no one else has for a while; never ends."""
    while True:
        await asyncio.sleep(EVERY_S)
        try:
            service.metrics.read(await _reading(service))
            if time.monotonic() - service.last_success_s > QUIET_S:
                await ask_canary(service)
        except FeatxError:  # that nothing is answered makes it unready in time
            continue
        except Exception:
            LOGGER.exception("a bug: the service could not ask itself")


ROUTES = [
    Route("/health/live", live, methods=["GET"]),
    Route("/health/ready", ready, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
]
