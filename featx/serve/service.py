"""Service: what the routes of one process share."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from featx.serve.engine import Engine
from featx.serve.metrics import Metrics, Reading
from featx.serve.settings import ServeSettings
from featx.serve.teach.teaching import Teacher
from featx.serve.thing import Thing

T = TypeVar("T")

STALE_S = 30.0
"""Seconds since the last item was answered after which a service is not ready any more."""


@dataclass(slots=True, eq=False, kw_only=True)
class Service:
    """What the routes of one process share.

    Attributes
    ----------
    settings : ServeSettings
    engine : Engine
    teacher : Teacher or None
        Adds and removes items of the gallery; None where nothing may be taught.
    metrics : Metrics
    is_draining : bool
        Whether it is about to end: it is not ready any more, and answers what it has.
    problem : str
        Why what is on the disk now cannot be served, else empty; what was opened before is.
    """

    settings: ServeSettings
    engine: Engine
    metrics: Metrics
    teacher: Teacher | None = None
    is_draining: bool = False
    problem: str = ""

    @property
    def last_success_s(self) -> float:
        """Time of `time.monotonic` at which an item was answered last."""
        return self.engine.last_success_s

    @property
    def unready(self) -> str:
        """Why it is not ready for requests; empty where it is."""
        if self.is_draining:
            return "it is about to end"
        if not self.engine.is_alive:
            return "the thread that answers has ended"
        age_s = time.monotonic() - self.last_success_s
        return f"nothing was answered for {age_s:.0f} s" if age_s > STALE_S else ""

    @property
    def reading(self) -> Reading:
        """What its metrics are told when they are asked for."""
        engine = self.engine
        held = engine.thing.held if engine.thing.gallery is not None else None
        return Reading(
            waiting=engine.waiting,
            batches=engine.batches,
            answered=engine.answered,
            has_problem=bool(self.problem or engine.thing.problem),
            gallery_items=None if held is None else len(held),
            last_success_age_s=time.monotonic() - self.last_success_s,
        )


async def off_loop(thing: Thing, question: Callable[[], T]) -> T:
    """Return what a question that may need the gallery of a thing is answered.

    It is asked in a thread where a server is, so that others are answered while that is waited for.
    """
    return await asyncio.to_thread(question) if thing.asks_servers else question()


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.scope["featx.service"]
    return service


def deadline_of(request: Request) -> float:
    """Return the time of `time.monotonic` until which a request has to be answered."""
    found: float | None = request.scope.get("featx.deadline_s")
    return (
        found if found is not None else time.monotonic() + service_of(request).settings.deadline_s
    )
