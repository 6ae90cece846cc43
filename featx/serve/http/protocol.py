"""Protocol: HTTP/1.1 of uvicorn, with clients that let it wait cut off.

An application sees a request once all its headers are there, so headers that come a byte a minute
are up to the protocol; bodies have the request's own deadline.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from featx.serve.http.bodies import WHOLE

HEADERS_S = 10.0
"""How long headers may take, from the first byte; and a connection to send any."""

READING_S = 60.0
"""How long a client may leave an answer unread that it has asked for."""

HEADERS_BYTES = 64 << 10
"""Longest headers, with the address; and longest trailers, or whatever else is no body."""

AROUND_BYTES = len(b": \r\n")
"""Of a header, beside its name and its value."""

_TOO_LONG = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-length: 0\r\nconnection: close\r\n\r\n"
)


class _TooLongError(Exception):
    """The headers are; ends the reading of what has come."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    _slow_headers: asyncio.TimerHandle | None = None
    _slow_reading: asyncio.TimerHandle | None = None
    _is_in_headers = False
    _has_advanced = False
    _unread_bytes = 0
    _header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for headers, but not for ever."""
        super().connection_made(transport)
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._wait_no_more()
        if self._slow_reading is not None:
            self._slow_reading.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come; go on waiting while the headers of a request have not ended."""
        self._has_advanced = False
        super().data_received(data)
        if self.transport.is_closing():
            return
        self._unread_bytes = 0 if self._has_advanced else self._unread_bytes + len(data)
        if self._unread_bytes > HEADERS_BYTES:
            if self._is_in_headers:
                self.transport.write(_TOO_LONG)
            self.transport.close()
            return
        # With an answer given and bytes still coming, an unread body is thrown away: not for ever.
        cycle: RequestResponseCycle | None = self.cycle
        if self._is_in_headers or cycle is None or cycle.response_complete:
            self._wait_for_headers()
        else:
            self._wait_no_more()

    def on_message_begin(self) -> None:
        """Begin to read headers."""
        super().on_message_begin()
        self._is_in_headers, self._header_bytes = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; a trailer is thrown away, since it would count as a header, unasked."""
        if self._is_in_headers:
            self._header_bytes += len(name) + len(value) + AROUND_BYTES
            if self._header_bytes > HEADERS_BYTES:
                raise _TooLongError
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        if self._header_bytes + len(self.url) > HEADERS_BYTES:
            raise _TooLongError
        self._is_in_headers, self._has_advanced = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body to the application."""
        self._has_advanced = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Tell the application, which mostly begins later, that it need not wait for the body."""
        self._has_advanced = True
        self.scope[WHOLE] = True  # type: ignore[literal-required]
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or has too long headers, as uvicorn asks for; and hang up."""
        if self._is_in_headers and self._header_bytes + len(self.url) > HEADERS_BYTES:
            self.transport.write(_TOO_LONG)
            self.transport.close()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for ever."""
        super().pause_writing()
        self._slow_reading = self.loop.call_later(READING_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        if self._slow_reading is not None:
            self._slow_reading.cancel()
        super().resume_writing()

    def _wait_for_headers(self) -> None:
        if self._slow_headers is None:
            self._slow_headers = self.loop.call_later(HEADERS_S, self.transport.close)

    def _wait_no_more(self) -> None:
        if self._slow_headers is not None:
            self._slow_headers.cancel()
            self._slow_headers = None
