"""Wording: what is wrong with the shape of JSON, with a query or a form, in our own words.

The libraries that read them tell what they found in phrases of their own; what would be allowed
is told by the struct that was to be made::

    Expected `int` >= 1 - at `$.k`   ──►  k: found less than 1; expected an integer from 1 to 1,000
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple

import msgspec
from msgspec import inspect

from featx.serve.http.problems import Problem
from featx.serve.http.typewords import types_at, words_of

LONGEST = 60
"""Characters of a name or a value that a message repeats."""

_NOUNS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number with a fraction",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}
"""What msgspec calls a JSON value → what we do."""

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"got `(\w+)`"), "{noun}"),
    (re.compile(r"Expected `(?:int|float)` >=? (\S+)"), "less than {0}"),
    (re.compile(r"Expected `(?:int|float)` <=? (\S+)"), "more than {0}"),
    (re.compile(r"Expected `(\w+)` of length >="), "{noun} that is too short"),
    (re.compile(r"Expected `(\w+)` of length <="), "{noun} that is too long"),
    (re.compile(r"Expected `(\w+)` matching regex"), "{noun} of another form"),
    (re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL), "{0}"),
    (re.compile(r"(?:Number|Integer value) out of range"), "a number beyond all that is known"),
)
"""Message of msgspec → what was found."""

_PLACE = re.compile(r"(.*?)(?: - at `\$([\w.\[\]]*)`)?", re.DOTALL)
_FIELD = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)


class _Said(NamedTuple):
    """Where something is wrong, what was found there, and what is allowed."""

    place: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.place}: {self.found}" + (f"; {self.allowed}" if self.allowed else "")


def shape_problem(error: msgspec.ValidationError, kind: object) -> Problem:
    """Return what is said of a JSON value of another shape.

    Parameters
    ----------
    error : ValidationError
    kind : type
        What was to be made of it.
    """
    said = _said(error, kind)
    return Problem(422, "wrong_shape", str(said), param=said.place)


def query_problem(
    error: msgspec.ValidationError, kind: object, given: Mapping[str, str]
) -> Problem:
    """Return what is said of a query whose fields are of another shape.

    Parameters
    ----------
    error : ValidationError
    kind : type
        What was to be made of it.
    given : mapping of str to str
        The query.
    """
    said = _said(error, kind, is_query=True)
    if said.place in given and said.found.startswith("found "):
        said = said._replace(found=f"found {_short(given[said.place])}")
    return Problem(422, "wrong_shape", f"query: {said}", param=said.place)


def form_problem(message: str, most: int) -> Problem:
    """Return what is said of a form that cannot be read.

    Parameters
    ----------
    message : str
        Of the library that reads it.
    most : int
        Items that a request may have.
    """
    if message.startswith("Too many"):
        said = f"input: more than {most:,} items; send several requests"
        return Problem(413, "too_many_items", said, param="input")
    why = "its parts cannot be told apart; send each file as one: curl -F file=@FILE"
    if message.startswith("Missing boundary"):
        why = "content-type names no boundary; expected multipart/form-data; boundary=TEXT"
    elif message.startswith("The Content-Disposition"):
        why = "a part has no name; expected Content-Disposition: form-data; name=TEXT"
    return Problem(400, "no_form", f"body: no form: {why}")


def _said(error: msgspec.ValidationError, kind: object, *, is_query: bool = False) -> _Said:
    matched = _PLACE.fullmatch(str(error))
    assert matched is not None
    message, place = matched[1], (matched[2] or "").lstrip(".")
    types = types_at(kind, matched[2] or "")
    if is_query:  # which has no null
        types = [each for each in types if not isinstance(each, inspect.NoneType)]
    if field := _FIELD.fullmatch(message):
        fields = _fields_of(types)
        if is_query:
            fields.pop("input", None)  # which is the body
        return _of_field(place, field[2], fields, is_missing=field[1] == "missing required")
    found = _found(message)
    if found is None:
        return _Said(place or "body", _cut(" ".join(message.split())), "")
    expected = words_of(types)
    return _Said(place or "body", f"found {found}", f"expected {expected}" if expected else "")


def _fields_of(types: Iterable[inspect.Type]) -> dict[str, inspect.Type]:
    """Return the fields of the structs among some types by name."""
    structs = (each for each in types if isinstance(each, inspect.StructType))
    return {field.encode_name: field.type for struct in structs for field in struct.fields}


def _of_field(
    place: str, name: str, fields: Mapping[str, inspect.Type], *, is_missing: bool
) -> _Said:
    """Say that an object at a place lacks a field, or has one too many."""
    shown = name if name.isidentifier() and len(name) <= LONGEST else _short(name)
    where = f"{place}.{shown}" if place else shown
    if is_missing:
        return _Said(where, "is missing", f"expected {words_of([fields[name]])}")
    near = get_close_matches(name[:LONGEST], fields, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(fields)}"
    return _Said(where, "is not known here", hint)


def _found(message: str) -> str | None:
    """Return what msgspec found, None where it says something that nobody has thought of."""
    for pattern, said in _SHAPES:
        if matched := pattern.search(message):
            groups = matched.groups()
            noun = _NOUNS.get(groups[0], groups[0]) if groups else ""
            return said.format(*map(_cut, groups), noun=noun)
    return None


def _short(text: str) -> str:
    return repr(_cut(text))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
