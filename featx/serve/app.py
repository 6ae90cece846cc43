"""App: the service as an ASGI application.

::

    uvicorn ──► Gate: host, key, room ──► route ──► Engine: batches ──► answer
"""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import ModuleType

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from featx.errors import FeatxError
from featx.serve import (
    classify,
    embeddings,
    examples,
    health,
    infer,
    openapi,
    page,
    projection,
)
from featx.serve.engine import Engine
from featx.serve.gate import GONE, Gate
from featx.serve.health import ask_canary, watch
from featx.serve.metrics import Metrics
from featx.serve.problems import Problem, problem_of
from featx.serve.reload import Reloader
from featx.serve.service import Service
from featx.serve.settings import ServeSettings
from featx.serve.teaching import open_teacher
from featx.serve.thing import open_thing

ROUTED: Sequence[ModuleType] = (
    classify,
    embeddings,
    health,
    infer,
    examples,
    projection,
    page,
    openapi,
)
"""Modules with routes; those asked most come first."""


def create_app(settings: ServeSettings) -> Starlette:
    """Return the service; it opens what it serves when it starts.

    Parameters
    ----------
    settings : ServeSettings
    """
    routes: list[BaseRoute] = [route for module in ROUTED for route in module.ROUTES]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, settings)],
        exception_handlers={
            Problem: _of_problem,
            FeatxError: _of_error,
            HTTPException: _of_http,
            ClientDisconnect: _of_gone,
        },
        lifespan=partial(_running, settings),
    )
    app.router.redirect_slashes = False
    return app


@asynccontextmanager
async def _running(settings: ServeSettings, app: Starlette) -> AsyncGenerator[None, None]:
    """Open what is served, and look after it until the end."""
    app.state.failure = None
    async with AsyncExitStack() as stack:
        try:
            service = await _opened(settings, stack)
        except BaseException as failure:
            app.state.failure = failure
            raise
        app.state.service = service
        app.state.reloader = reloader = Reloader(service)
        stack.push_async_callback(reloader.close)
        for task in (asyncio.create_task(watch(service)), asyncio.create_task(reloader.run())):
            stack.push_async_callback(_cancelled, task)
        yield
        service.is_draining = True


async def _opened(settings: ServeSettings, stack: AsyncExitStack) -> Service:
    """Open what is served, and have it answer its first item."""
    thing = await asyncio.to_thread(open_thing, settings)
    engine = Engine(thing, pixels=settings.pixels, seconds=settings.seconds)
    stack.push_async_callback(asyncio.to_thread, engine.close)
    teacher = await open_teacher(settings, engine)
    if teacher is not None:
        stack.callback(teacher.close)
    service = Service(settings=settings, engine=engine, metrics=Metrics(), teacher=teacher)
    await ask_canary(service)
    return service


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.wait({task})


async def _of_problem(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, Problem)
    return problem.response_at(request.scope["path"])


async def _of_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, FeatxError)
    return problem_of(error).response_at(request.scope["path"])


async def _of_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=GONE)


async def _of_http(request: Request, error: Exception) -> Response:
    """Say in our own form that there is no such path, or that it is asked by another method."""
    assert isinstance(error, HTTPException)
    path: str = request.scope["path"]
    if error.status_code == 405:
        methods = ", ".join(sorted(_methods(path, request.app.routes)))
        message = f"{path}: is not asked by {request.method}; expected {methods}"
        headers = {"allow": methods}
        return Problem(405, "method_not_allowed", message, headers=headers).response_at(path)
    if error.status_code == 404:
        return Problem(404, "not_found", f"{path}: no such path; see /docs").response_at(path)
    return Problem(error.status_code, "failed", error.detail).response_at(path)


def _methods(path: str, routes: Iterable[BaseRoute]) -> set[str]:
    """Return the methods that a path may be asked by."""
    return {
        method
        for route in routes
        if isinstance(route, Route) and route.path_regex.match(path)
        for method in route.methods or ()
    }
