"""What goes wrong with a request, as HTTP says it.

Every error has one body, that of the OpenAI API; under ``/v2`` that of the Open Inference
Protocol::

    {"error": {"message": "...", "type": "invalid_request_error", "param": null, "code": "..."}}
    {"error": "..."}
"""

from collections.abc import Mapping
from typing import Any

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

JSON = "application/json"


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


def problem_of(error: FeatxError) -> Problem:
    """Return what HTTP says of an error of ours."""
    for kind, status, code in _STATUS:
        if isinstance(error, kind):
            headers = {"retry-after": "1"} if status in {429, 503} else {}
            return Problem(status, code, str(error), headers=headers)
    return Problem(500, "failed", str(error))


def item_error(error: FeatxError) -> dict[str, str]:
    """Return what is said in the place of an item that failed alone."""
    problem = problem_of(error)
    return {"code": problem.code, "message": problem.message}
