"""App: the service as an ASGI application.

::

    uvicorn ──► Gate: host, key, room ──► route ──► Engine: batches ──► answer
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import ModuleType

from starlette.applications import Starlette

from featx.errors import InputError
from featx.serve.describe import pages
from featx.serve.engine import Engine
from featx.serve.http.gate import Gate
from featx.serve.metrics import Metrics
from featx.serve.reload import Reloader
from featx.serve.routes import (
    classify,
    embeddings,
    examples,
    health,
    infer,
    models,
    page,
    projection,
)
from featx.serve.routes.health import ask_canary, watch
from featx.serve.service import Service
from featx.serve.settings import ServeSettings
from featx.serve.teach.teaching import open_teacher
from featx.serve.thing import open_thing

ROUTED: Sequence[ModuleType] = (
    classify,
    embeddings,
    models,
    health,
    infer,
    examples,
    projection,
    page,
    pages,
)
"""Modules with routes; those asked most come first."""


def create_app(settings: ServeSettings) -> Starlette:
    """Return the service; it opens what it serves when it starts.

    Parameters
    ----------
    settings : ServeSettings
    """
    routes = [route for module in ROUTED for route in module.ROUTES]
    app = Starlette(routes=routes, lifespan=partial(_running, settings))
    app.router.redirect_slashes = False
    app.middleware_stack = Gate(app.router, settings)
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
    if settings.allow_teach and thing.gallery is None:
        message = f"--allow-teach: {settings.thing} is a {thing.kind}; only a gallery can be taught"
        raise InputError(message)
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
