"""What goes wrong with a request, as HTTP says it.

Every error has one body, that of the OpenAI API; under ``/v2`` that of the Open Inference
Protocol::

    {"error": {"message": "...", "type": "invalid_request_error", "param": null, "code": "..."}}
    {"error": "..."}
"""

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from featx.errors import (
    DeviceError,
    FeatxError,
    InputError,
    StoreError,
    TakenError,
    UnknownNameError,
)
from featx.serve.batcher import BrokenError, BusyError, TimedOutError

T = TypeVar("T")

JSON = "application/json"

LOGGER = logging.getLogger("featx.serve")

OF_STORES = "what is served cannot be read or changed now; stderr of the service says why"
"""What clients are told of a `StoreError`, which names paths, servers and their users."""

SAID_EVERY_S = 10.0
MOST_SAID = 100

_said: dict[str, float] = {}  # line → time of `time.monotonic` at which it was written last


class Problem(Exception):  # noqa: N818  (as RFC 9457 calls it)
    """A request cannot be answered.

    Attributes
    ----------
    status : int
        Of HTTP.
    code : str
        For programs: stays the same when the message changes.
    message : str
        For people: where, what was found, what is allowed.
    param : str or None
        Name of the field that is wrong.
    headers : mapping of str to str
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """What the client is told."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        told = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": told}

    @property
    def in_place(self) -> dict[str, Any]:
        """What stands among results in the place of an item that failed alone."""
        return {"error": {"code": self.code, "message": self.message}}

    def response_at(self, path: str) -> Response:
        """Return the whole answer, in the words of the protocol that is spoken at a path.

        Under ``/v2`` the message is one line, and 400 is said of all that is wrong in a body.
        """
        body, status = self.body, self.status
        if path == "/v2" or path.startswith("/v2/"):
            body = {"error": " ".join(self.message.split())}
            status = 400 if status == 422 else status
        return Response(msgspec.json.encode(body), status, headers=self.headers, media_type=JSON)


_STATUS: tuple[tuple[type[FeatxError], int, str], ...] = (
    (BusyError, 429, "busy"),
    (TimedOutError, 503, "timed_out"),
    (BrokenError, 500, "failed"),
    (UnknownNameError, 404, "unknown_name"),
    (TakenError, 409, "taken"),
    (InputError, 422, "unusable_item"),
    (StoreError, 503, "store"),
    (DeviceError, 503, "device"),
)
"""Error → status and code; the first that fits."""


_OF_ITEMS = (InputError, BrokenError)
"""Errors that an item is to blame for."""


def problem_of(error: FeatxError, place: str = "") -> Problem:
    """Return what HTTP says of an error of ours.

    Parameters
    ----------
    error : FeatxError
    place : str
        Of the item that it came of: ``input[3]``; told where the item is to blame.
    """
    is_of_item = bool(place) and isinstance(error, _OF_ITEMS)
    message = f"{place}: {error}" if is_of_item else _message(error)
    param = place.partition("[")[0] if is_of_item else None
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            headers = {"retry-after": "1"} if status in {429, 503} else {}
            return Problem(status, code, message, param=param, headers=headers)
    return Problem(500, "failed", message, param=param)


def _message(error: FeatxError) -> str:
    """Return what a client is told; why a store failed goes to stderr, now and then."""
    if not isinstance(error, StoreError):
        return str(error)
    line, now_s = str(error), time.monotonic()
    if now_s - _said.get(line, -math.inf) >= SAID_EVERY_S:
        if len(_said) >= MOST_SAID:
            _said.clear()
        _said[line] = now_s
        LOGGER.warning("%s", line)
    return OF_STORES


def place_of(number: int, items: int, param: str = "input") -> str:
    """Return what an item of several is called; one that came alone needs no number.

    Examples
    --------
    >>> place_of(3, 5), place_of(0, 1)
    ('input[3]', 'input')
    """
    return param if items == 1 else f"{param}[{number}]"


def placed(outcomes: Sequence[T | FeatxError]) -> list[T | Problem]:
    """Return what came of items, with what HTTP says of those that failed."""
    return [
        problem_of(each, place_of(number, len(outcomes))) if isinstance(each, FeatxError) else each
        for number, each in enumerate(outcomes)
    ]


def none_of(problems: Sequence[Problem], what: str) -> Problem:
    """Return what is said where all items failed: of one what was wrong, of more the first too.

    Examples
    --------
    >>> two = [Problem(422, "unusable_item", f"input[{at}]: is empty") for at in (0, 1)]
    >>> none_of(two, "items could be answered").message
    'none of 2 items could be answered; the first: input[0]: is empty'
    """
    first = problems[0]
    if len(problems) > 1:
        first.message = f"none of {len(problems):,} {what}; the first: {first.message}"
    return first
