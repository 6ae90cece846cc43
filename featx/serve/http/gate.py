"""Gate: what every request passes before its body is read, and every answer on its way out.

A request is turned away that is for another host, from another site, without a key, too long, or
comes while too much is under way.  An answer gets the headers that keep a page's browser safe, is
counted, and is a line of the access log if there is one.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from featx.serve.batcher import BusyError
from featx.serve.http.bodies import too_long
from featx.serve.http.failures import GONE, response_of
from featx.serve.http.hosts import Hosts, is_foreign
from featx.serve.http.keys import SAFE, Keys
from featx.serve.http.lingering import linger
from featx.serve.http.problems import Problem, problem_of
from featx.serve.service import Service
from featx.serve.settings import ServeSettings

BODIES = 8
"""Bodies of the longest kind that may be held at once, or more that are shorter."""

AT_ONCE, HELD_S = 32, 1.0
"""Requests a second that are told at once that there is no room; others after so many seconds.

Clients that ask again without a pause would else take the time that answers need.
"""

HEADERS = [
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
        b"base-uri 'none'; form-action 'self'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

_READ = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"authorization",
        b"api-key",
        b"x-api-key",
        b"content-length",
        b"transfer-encoding",
    }
)
_NO_LENGTH = b"0"
_BUG = Problem(500, "bug", "the service could not answer; its log says why")

LOGGER = logging.getLogger("featx.serve")

Sent = Mapping[bytes, bytes]
"""Headers of a request by their name, as far as the gate reads them."""


class Gate:
    """The whole service: every request comes here first, and every answer leaves from here.

    Parameters
    ----------
    router : Router
    settings : ServeSettings
    """

    def __init__(self, router: Router, settings: ServeSettings) -> None:
        self._router = router
        self._settings = settings
        self._hosts = Hosts(settings)
        self._keys = Keys(settings.keys) if settings.keys else None
        self._held_bytes = 0
        self._counted_s, self._refused = 0.0, 0
        # Most requests find their endpoint here, without a search through patterns of paths.
        self._routes = {
            (method, route.path): route
            for route in router.routes
            if isinstance(route, Route) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        started_s = time.monotonic()
        scope["featx.deadline_s"] = started_s + self._settings.deadline_s
        service: Service = scope["app"].state.service
        scope["featx.service"] = service
        outgoing = _Outgoing(receive, send)
        sent = _sent(scope)
        length = 0 if scope["method"] in SAFE else self._length(sent)
        self._held_bytes += length
        try:
            problem = self._problem(scope, sent, service)
            await self._answer(scope, receive, outgoing, problem)
        finally:
            self._held_bytes -= length
            seconds = time.monotonic() - started_s
            route = scope.get("route")
            path = "other" if route is None else route.path
            status = outgoing.status or GONE
            service.metrics.request(path, scope["method"], status, seconds)
            if self._settings.access_log:
                _log(scope, status, seconds)

    async def _answer(
        self, scope: Scope, receive: Receive, outgoing: "_Outgoing", problem: Problem | None
    ) -> None:
        response: ASGIApp | None = None
        try:
            if problem is not None:
                if problem.status == 429:
                    await self._hold_back()
                response = problem.response_at(scope["path"])
            elif route := self._routes.get((scope["method"], scope["path"])):
                scope["route"], scope["path_params"] = route, {}
                response = await route.endpoint(Request(scope, receive))
            else:
                await self._router(scope, receive, outgoing.send)
        except Exception as error:
            if outgoing.status:  # the answer has begun, and ends here
                raise
            response = response_of(error, scope)
            if response is None:
                LOGGER.exception("a bug: %s %r", scope["method"], scope["path"])
                response = _BUG.response_at(scope["path"])
        if response is not None:
            await response(scope, receive, outgoing.send)

    async def _hold_back(self) -> None:
        """Wait before a request is told that there is no room, if many are."""
        now_s = time.monotonic()
        if now_s - self._counted_s >= 1:
            self._counted_s, self._refused = now_s, 0
        self._refused += 1
        if self._refused > AT_ONCE:
            await asyncio.sleep(HELD_S)

    def _length(self, sent: Sent) -> int:
        """Return how long a body may be, by its headers."""
        if b"transfer-encoding" in sent:
            return self._settings.body_bytes
        return min(int(sent.get(b"content-length", _NO_LENGTH)), self._settings.body_bytes)

    def _problem(self, scope: Scope, sent: Sent, service: Service) -> Problem | None:
        """Return why a request is turned away, if it is."""
        problem = None
        if not self._hosts.allow(sent.get(b"host", b"")):
            problem = _other_host(sent.get(b"host", b""))
        elif self._keys and not self._keys.allow(scope["method"], scope["path"], sent):
            problem = _no_key()
        elif scope["method"] not in SAFE:
            problem = self._unsafe(sent, service)
        if problem is not None:
            service.metrics.turned_away(problem.code)
        return problem

    def _unsafe(self, sent: Sent, service: Service) -> Problem | None:
        """Return why a request that changes something, or has a body, is turned away."""
        if is_foreign(sent):
            message = "origin: this service is not asked by pages of other sites"
            return Problem(403, "cross_site", message)
        if int(sent.get(b"content-length", _NO_LENGTH)) > self._settings.body_bytes:
            return too_long(self._settings.body_bytes)
        try:
            service.engine.require_room()
        except BusyError as error:
            return problem_of(error)
        if self._held_bytes > BODIES * self._settings.body_bytes:
            return problem_of(BusyError("too many long bodies are under way; ask again later"))
        return None


class _Outgoing:
    """An answer on its way out.

    Attributes
    ----------
    status : int
        0 before it begins.
    """

    __slots__ = ("_lingers", "_receive", "_send", "status")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._lingers = False
        self.status = 0

    async def send(self, message: Message) -> None:
        """Send a message, with headers of ours."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message.get("headers", ())
            self._lingers = (b"connection", b"close") in headers
            message["headers"] = [*headers, *HEADERS]
            await self._send(message)
        elif self._lingers and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await linger(self._receive)
            await self._send({"type": "http.response.body", "body": b""})
        else:
            await self._send(message)


def _sent(scope: Scope) -> Sent:
    """Return the headers that the gate reads; of one that is there twice, both."""
    sent: dict[bytes, bytes] = {}
    for name, value in scope["headers"]:
        if name in _READ:
            sent[name] = b", ".join((sent[name], value)) if name in sent else value
    return sent


def _no_key() -> Problem:
    message = "authorization: no key, or a wrong one; send: Authorization: Bearer KEY"
    return Problem(401, "wrong_key", message, headers={"www-authenticate": "Bearer"})


def _other_host(host: bytes) -> Problem:
    found = repr(host.decode("latin-1")) if host else "none"
    message = f"host: found {found}, which is no name of this service; allow it: --allowed-host"
    return Problem(403, "other_host", message)


def _log(scope: Scope, status: int, seconds: float) -> None:
    """Write a line of the access log."""
    client = scope.get("client")
    line: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "client": client[0] if client else None,
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "ms": round(seconds * 1000, 3),
    }
    sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
