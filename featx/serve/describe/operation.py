"""Operation: one thing that may be asked of the service, for its description."""

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from featx.serve.http.problems import JSON

Need = Literal["", "labels", "gallery", "pictures", "teacher"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value of the path, or of the query.

    Attributes
    ----------
    name : str
    about : str
    place : str
        ``path`` or ``query``.
    schema : dict
    is_required : bool
    """

    name: str
    about: str
    place: str = "query"
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that may be asked.

    Attributes
    ----------
    name : str
        Unique.
    method, path : str
    group : str
        Heading in the description.
    summary, about : str
        One line, and what else is to be known.
    body : str
        Schema of the JSON body; empty where there is none.
    query : type or None
        Struct whose fields the query may have, beside `parameters`.
    parameters : tuple of Parameter
    takes_files : bool
        Whether an item may be the body itself, or a file of a form.
    reply : str
        Schema of the answer; empty where it is no JSON.
    status : int
        Of the answer where all went well.
    media : str
        Type of the answer.
    refuses : tuple of int
        Statuses of errors, beside those that every operation may have.
    is_open : bool
        Whether it asks for no key.
    example : str
        Name of the example of its body.
    needs : str
        What has to be served for it: ``labels``, ``gallery``, ``pictures`` or ``teacher``; empty
        where anything will do.
    """

    name: str
    method: str
    path: str
    group: str
    summary: str
    about: str = ""
    body: str = ""
    query: type[msgspec.Struct] | None = None
    parameters: tuple[Parameter, ...] = ()
    takes_files: bool = False
    reply: str = ""
    status: int = 200
    media: str = JSON
    refuses: tuple[int, ...] = ()
    is_open: bool = False
    example: str = ""
    needs: Need = ""
