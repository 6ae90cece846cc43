"""Server: one process that answers, from a socket to the signals that end it."""

import errno
import logging
import signal
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from multiprocessing import parent_process
from types import FrameType
from typing import TYPE_CHECKING

from uvicorn import Config, Server

from featx.errors import InputError
from featx.serve.http.protocol import Protocol
from featx.serve.settings import ServeSettings

if TYPE_CHECKING:
    from starlette.applications import Starlette

NOTICE_S = 1.0
"""How long a service that is told to end says so, by not being ready, before it accepts no more."""

BACKLOG = 2048
"""Connections that wait to be accepted."""

KEEP_ALIVE_S = 65
"""Longer than the 60 s of most proxies, so that it is they who close a connection."""

HANGING_S = 30
"""Seconds without any sign of life after which a worker counts as hanging."""

Told = Callable[[str, int], None]
"""Told what is served, and the port, once it is."""


def listen(settings: ServeSettings) -> socket.socket:
    """Return a socket at the host and port of a service; port 0 stands for a free one.

    Raises
    ------
    InputError
        If the port is taken, or the host is not of this machine.
    """
    host = settings.host.strip("[]")
    try:
        found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)
    except OSError as cause:
        raise InputError(f"--host {settings.host}: {cause.strerror or cause}") from cause
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as cause:
        listening.close()
        if cause.errno == errno.EADDRNOTAVAIL:
            message = f"--host {settings.host}: is no address of this machine"
            raise InputError(message) from cause
        where = f"{settings.host}:{settings.port}"
        raise InputError(f"{where}: {cause.strerror or cause}; choose another --port") from cause
    return listening


def config_of(settings: ServeSettings) -> Config:
    """Return how uvicorn runs a service."""
    return Config(
        partial(_app, settings),
        factory=True,
        interface="asgi3",
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        workers=settings.workers,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.drain_s)),
        timeout_worker_healthcheck=HANGING_S,
    )


def _app(settings: ServeSettings) -> "Starlette":
    """Make the application; a parent of workers never does, and so imports none of it."""
    from featx.serve.app import create_app

    return create_app(settings)


class OneServer(Server):
    """The server of one process.

    Parameters
    ----------
    config : Config
    tell : callable
        Called once it is ready.
    """

    def __init__(self, config: Config, tell: Told) -> None:
        super().__init__(config)
        self._tell = tell
        self._ends_s: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open what is served and accept requests.

        Raises
        ------
        FeatxError
            If it cannot be opened.
        """
        # uvicorn would log a failure as a traceback, and end; it is raised here instead.
        self.lifespan.logger = _quiet_logger()
        try:
            await super().startup(sockets)
        except SystemExit:
            failure = self.app.state.failure
            if failure is not None:
                raise failure from None
            raise
        assert sockets is not None
        self._tell(_what(self.app), sockets[0].getsockname()[1])

    @property
    def app(self) -> "Starlette":
        """The application, once it is loaded."""
        app: Starlette = self.config.loaded_app
        return app

    async def on_tick(self, counter: int) -> bool:
        """Return whether to end now; called ten times a second."""
        if self._ends_s is None and _is_orphan():
            self.handle_exit(signal.SIGTERM, None)
        if self._ends_s is not None and time.monotonic() >= self._ends_s:
            self.should_exit = True
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end: not ready from now on; a second Ctrl-C waits for nothing."""
        if self._ends_s is not None:
            self.should_exit = True
            self.force_exit = sig == signal.SIGINT
            return
        notice_s = NOTICE_S if sig == signal.SIGTERM and self.started else 0.0
        if self.started:
            self.app.state.service.is_draining = True
        self._ends_s = time.monotonic() + notice_s
        self.should_exit = not notice_s

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Take SIGHUP, too, while it runs: to look whether there is something new to serve."""
        with super().capture_signals(), _on_hangup(self._look):
            yield

    def _look(self) -> None:
        if self.started:
            self.app.state.reloader.ask()


@contextmanager
def _on_hangup(call: Callable[[], None]) -> Generator[None, None, None]:
    try:
        before = signal.signal(signal.SIGHUP, lambda *_: call())
    except ValueError:  # not the main thread, which alone is told of signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _is_orphan() -> bool:
    parent = parent_process()
    return parent is not None and not parent.is_alive()


def _what(app: "Starlette") -> str:
    """Say what is served: ``photos.knn: 1,200 items of efficientnet-lite0``."""
    thing = app.state.service.engine.thing
    name = thing.name if thing.path is None else thing.path.name
    return f"{name}: {thing.description}"


def log_lines() -> None:
    """Show what the service has to say as lines on stderr; of uvicorn only errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name, level in (("featx.serve", logging.INFO), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False


def _quiet_logger() -> logging.Logger:
    quiet = logging.getLogger("featx.serve.lifespan")
    quiet.setLevel(logging.CRITICAL + 1)
    return quiet
