"""No JSON: what is wrong with a body that is none, and where."""

import re

from featx.serve.http.problems import Problem

_NO_JSON = {
    "expected '\"'": "a name in quotes is missing",
    "expected ':'": "a colon is missing",
    "expected ',' or ']'": "a comma or ] is missing",
    "expected ',' or '}'": "a comma or } is missing",
    "trailing comma in array": "a comma before ]",
    "trailing comma in object": "a comma before }",
    "trailing characters": "more after its end",
    "object keys must be strings": "a name that is no string",
    "invalid character": "a character that may not be there",
    "invalid number": "a number that is none",
    "invalid escape character in string": "an escape that is none",
    "invalid escaped character": "an escape that is none",
    "invalid character in unicode escape": "an escape that is none",
    "unexpected end of hex escape": "an escape that ends too early",
    "invalid utf-16 surrogate pair": "half of a surrogate pair",
    "unexpected end of escaped utf-16 surrogate pair": "half of a surrogate pair",
}
"""What msgspec says of JSON that is none → what we do."""

_MALFORMED = re.compile(r"JSON is malformed: (.*) \(byte (\d+)\)")
_HALF_PAIR = re.compile(rb"\\u[dD][89aAbB][0-9a-fA-F]{2}(?!\\u)")


def json_problem(error: Exception, body: bytes) -> Problem:
    """Return what is said of a body that is no JSON.

    Parameters
    ----------
    error : Exception
        Of msgspec, or of the decoder of UTF-8.
    body : bytes
    """
    return Problem(400, "no_json", f"body: {_why(error, body)}")


def _why(error: Exception, body: bytes) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 at byte {_undecodable(body, error)}"
    if not body.strip():
        return "is empty; expected JSON"
    if isinstance(error, RecursionError):
        return "no JSON: arrays or objects within each other, too many"
    place, why = _found(error, body)
    return f"no JSON at byte {place}: {why}"


def _found(error: Exception, body: bytes) -> tuple[int, str]:
    """Return the place of what is no JSON, and what is wrong there."""
    if matched := _MALFORMED.fullmatch(str(error)):
        found, place = matched[1], int(matched[2])
        # The first of trailing characters is behind msgspec already when it tells of them.
        return place - (found == "trailing characters"), _NO_JSON.get(found, found)
    if half := _HALF_PAIR.search(body):
        return half.start(), "half of a surrogate pair"
    return len(body), "it ends before its value does"


def _undecodable(body: bytes, error: UnicodeDecodeError) -> int:
    """Return the place of what is no UTF-8: msgspec tells it within one string of the body."""
    try:
        body.decode()
    except UnicodeDecodeError as found:
        return found.start
    return error.start
