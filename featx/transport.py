"""Transport: JSON over HTTP by the standard library, over connections that are kept open."""

import json
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from featx.errors import InputError, ServerError

TRIES = 4
"""Times that is asked what a service is too busy for."""

LONGEST_WAIT_S = 10.0

_IDLE_S = 30.0  # services keep a connection for 65 s
_BUSY = {429, 503}


class Transport:
    """Asks a service of `featx serve`; threads that ask at once have a connection each.

    Parameters
    ----------
    url : str
    key : str or None
        An API key.
    timeout_s : float
        Longest time without a sign of the service.

    Raises
    ------
    InputError
        If `url` is none of HTTP, or the key none that a header holds.
    """

    def __init__(self, url: str, key: str | None, *, timeout_s: float) -> None:
        self.url = url.rstrip("/")
        self._idle: list[tuple[HTTPConnection, float]] = []
        self._key = _key(key)
        self._timeout_s = timeout_s
        self._place = _place(self.url)

    def close(self) -> None:
        """Close the connections; they are opened again if need be."""
        while self._idle:
            self._idle.pop()[0].close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):
            self.close()

    def ask(self, method: str, path: str, document: object = None) -> Any:  # noqa: ANN401
        """Return the JSON that is answered; asked again where the service is busy.

        Raises
        ------
        ServerError
            If the service cannot be reached, or refuses.
        """
        body = None if document is None else json.dumps(document).encode()
        for attempt in range(1, TRIES + 1):
            status, wait_s, answer = self.send(method, path, body)
            if status not in _BUSY or attempt == TRIES:
                break
            time.sleep(min(wait_s, LONGEST_WAIT_S))
        try:
            found = json.loads(answer)
        except ValueError as cause:
            message = f"{self.url}: answered {status} without JSON; is it featx serve?"
            raise ServerError(message, status=status, code="no_json") from cause
        if status >= 400:
            raise self._refusal(status, found)
        return found

    def send(self, method: str, path: str, body: bytes | None) -> tuple[int, float, bytes]:
        """Return status, the wait that is asked for in seconds, and body of an answer.

        A kept connection may have been closed meanwhile, and then it is asked anew; a change is not
        asked for twice, and so over a new one.

        Raises
        ------
        ServerError
            If the service cannot be reached.
        """
        connection = self._taken()
        if method != "GET" and path.startswith("/v1/examples"):
            connection.close()
        is_kept = connection.sock is not None
        try:
            answer = self._exchanged(connection, method, path, body)
        except TimeoutError as cause:
            connection.close()
            message = f"{self.url}: no answer in {self._timeout_s:g} s; ask again later"
            raise ServerError(message, code="timed_out") from cause
        except (OSError, HTTPException) as cause:
            connection.close()
            if is_kept:
                return self.send(method, path, body)
            why = str(cause) or type(cause).__name__
            hint = "is it running? featx serve THING"
            raise ServerError(f"{self.url}: cannot be reached: {why}; {hint}") from cause
        self._idle.append((connection, time.monotonic()))
        return answer

    def _exchanged(
        self, connection: HTTPConnection, method: str, path: str, body: bytes | None
    ) -> tuple[int, float, bytes]:
        headers = {} if body is None else {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        # It may have answered before it read all: too long, or too busy.
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, self._place[2] + path, body, headers)
        response = connection.getresponse()
        return response.status, _seconds(response.getheader("Retry-After")), response.read()

    def _taken(self) -> HTTPConnection:
        """Return a connection that nobody uses, closed if it was idle for long."""
        try:
            connection, since_s = self._idle.pop()
        except IndexError:
            kind, address, _ = self._place
            return kind(address, timeout=self._timeout_s)
        if time.monotonic() - since_s > _IDLE_S:
            connection.close()
        return connection

    def _refusal(self, status: int, found: Any) -> ServerError:  # noqa: ANN401
        error = found.get("error") if isinstance(found, dict) else None
        if not isinstance(error, dict):
            return ServerError(f"{self.url}: answered {status}", status=status, code="unknown")
        code = str(error.get("code") or "unknown")
        return ServerError(f"{self.url}: {error.get('message')}", status=status, code=code)


def _place(url: str) -> tuple[type[HTTPConnection], str, str]:
    """Return the kind of connection, the host with its port, and what paths begin with."""
    parts = urlsplit(url)
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    expected = "expected http://HOST:PORT or https://HOST"
    try:
        is_usable = parts.scheme in kinds and parts.hostname and parts.port != 0
    except ValueError as cause:  # a port that is no number
        raise InputError(f"url: found {url!r}; {expected}") from cause
    if not is_usable or parts.query or parts.fragment or "@" in parts.netloc:
        raise InputError(f"url: found {url!r}; {expected}")
    return kinds[parts.scheme], parts.netloc, parts.path


def _key(key: str | None) -> str | None:
    """Return a key as a header holds it.

    Raises
    ------
    InputError
        If no header can.
    """
    plain = key and key.strip()
    if plain and not (plain.isascii() and plain.isprintable()):
        raise InputError("key: holds characters that no header can; check where it comes from")
    return plain


def _seconds(retry_after: str | None) -> float:
    try:
        return max(0.0, float(retry_after or 1))
    except ValueError:  # a date
        return 1.0
