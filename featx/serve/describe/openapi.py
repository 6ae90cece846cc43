"""OpenAPI: what may be asked of the service, for programs."""

import shlex
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec

from featx import __version__
from featx.serve.describe.examplebodies import FILES, bodies_of, some_id
from featx.serve.describe.operation import Operation, Parameter
from featx.serve.describe.operations import GROUPS, INFERENCE, OPERATIONS
from featx.serve.describe.possible import READ_ONLY, is_possible, is_refused
from featx.serve.describe.schemas import Schema, described, ref, schemas_of, used
from featx.serve.http.problems import JSON
from featx.serve.routes.infer import VERSION
from featx.serve.routes.inferbody import BINARY, LENGTH_HEADER
from featx.serve.routes.wire import FIELD_OF
from featx.serve.service import Service

_SUMMARY = "Ask what is served: classify, search, embed, teach."

_ABOUT: dict[int, str] = {
    400: "The body is damaged: no JSON, or no form.",
    401: "A key is asked for, and there is none, or a wrong one.",
    403: "Not allowed: another host, a page of another site, or teaching where it is off.",
    404: "There is no such thing.",
    408: "The body did not come in time.",
    409: "What is served cannot do that, or was changed meanwhile.",
    413: "The body is too long, or holds too many items.",
    415: "The content type is another.",
    422: "A value is of no use.",
    429: "Too much is under way; ask again later.",
    500: "It cannot be computed.",
    503: "It cannot be answered now; ask again later.",
}

_RETRY: Schema = {
    "retry-after": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    }
}

_SCHEMES: Schema = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
}


def document_of(service: Service, url: str) -> dict[str, Any]:
    """Return the description, OpenAPI 3.1, of a service at a URL.

    Parameters
    ----------
    service : Service
    url : str
        Without a slash at its end.
    """
    thing, settings = service.engine.thing, service.settings
    made = _Description(service, url)
    possible = [each for each in OPERATIONS if is_possible(each, service)]
    paths: dict[str, dict[str, Any]] = {}
    for operation in possible:
        paths.setdefault(operation.path, {})[operation.method] = made.operation(operation)
    groups = {operation.group for operation in possible}
    components: Schema = {"schemas": used(schemas_of(thing, settings), paths)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"featx: {thing.name}",
            "version": __version__,
            "summary": _SUMMARY,
            "description": _about(service),
        },
        "servers": [{"url": url}],
        "tags": [
            {"name": name, "description": about} for name, about in GROUPS.items() if name in groups
        ],
        "paths": paths,
        "components": components | ({"securitySchemes": _SCHEMES} if settings.keys else {}),
    }


def _about(service: Service) -> str:
    thing = service.engine.thing
    takes = FIELD_OF[thing.modality]
    what = f"{thing.name} is a {thing.kind} of {thing.backbone.manifest.name}"
    also = "It takes" if takes == "vector" else f"It takes {takes}, or"
    limits = "" if thing.gallery is not None else " Only a gallery is searched and taught."
    if thing.gallery is not None and service.teacher is None:
        limits = " It is served to be read only."
    return f"{what}. {also} vectors, {thing.backbone.dim} numbers wide.{limits}"


class _Description:
    """Turns rows of the table into what OpenAPI says.

    Parameters
    ----------
    service : Service
    url : str
    """

    def __init__(self, service: Service, url: str) -> None:
        self._service = service
        self._thing = thing = service.engine.thing
        self._field = FIELD_OF[thing.modality]
        self._url = url
        # What is described is open to all, and a key asked for what the thing holds.
        self._has_keys = bool(service.settings.keys)
        self._bodies = bodies_of(thing, is_discreet=self._has_keys)

    def operation(self, operation: Operation) -> Schema:
        """Return what is said of an operation."""
        asks_key = self._has_keys and not operation.is_open
        parameters = [*map(self._parameter, operation.parameters), *self._query(operation)]
        about = operation.about
        if is_refused(operation, self._service):
            about = f"{READ_ONLY} {about}".rstrip()
        said: Schema = {
            "operationId": operation.name,
            "tags": [operation.group],
            "summary": operation.summary,
            **({"description": about} if about else {}),
            **({"parameters": parameters} if parameters else {}),
            **({"requestBody": self._body(operation)} if operation.body else {}),
            "responses": self._responses(operation, asks_key=asks_key),
            "x-codeSamples": [{"lang": "sh", "label": "curl", "source": self._curl(operation)}],
        }
        if asks_key:
            said["security"] = [{name: []} for name in _SCHEMES]
        return said

    def _parameter(self, each: Parameter) -> Schema:
        schema, example = each.schema, self._example(each)
        if each.place == "path":
            schema = {**schema, "enum": [example]}
        return {
            "name": each.name,
            "in": each.place,
            "description": each.about,
            "required": each.is_required,
            "schema": schema,
            "example": [example] if schema["type"] == "array" else example,
        }

    def _example(self, each: Parameter) -> str:
        """Return a value of a parameter; one of the path has no other."""
        if each.place == "path":
            return self._thing.name if each.name == "name" else VERSION
        return some_id(self._thing, is_discreet=self._has_keys)

    def _query(self, operation: Operation) -> list[Schema]:
        """Return parameters for the fields of a struct that the query may have."""
        if operation.query is None:
            return []
        (_, *_), found = msgspec.json.schema_components((operation.query,), ref_template="{name}")
        fields = described(found[operation.query.__name__])["properties"]
        hidden = _OF_BODIES | (_OF_GALLERIES if self._thing.gallery is None else set())
        return [_field(name, dict(fields[name])) for name in fields if name not in hidden]

    def _body(self, operation: Operation) -> Schema:
        example = self._bodies[operation.example]
        content: Schema = {JSON: {"schema": ref(operation.body), "example": example}}
        if operation.takes_files:
            content |= _FILES[self._field]
        return {"required": True, "content": content}

    def _responses(self, operation: Operation, *, asks_key: bool) -> Schema:
        schema = {"schema": ref(operation.reply)} if operation.reply else {"schema": {}}
        good: Schema = {
            "description": HTTPStatus(operation.status).phrase,
            "content": {operation.media: schema},
        }
        if operation.body == "InferBody":
            good["description"] += f"; as bytes the header {LENGTH_HEADER} says where the JSON ends"
            good["content"][BINARY] = {"schema": {}}
        refuses = {403, *operation.refuses, *({401} if asks_key else ())}
        failure = "InferFailure" if operation.group == INFERENCE else "Failure"
        return {
            str(operation.status): good,
            **{str(status): _refusal(status, failure, operation) for status in sorted(refuses)},
        }

    def _curl(self, operation: Operation) -> str:
        """Return a command line that asks for an operation."""
        path = operation.path
        query = []
        for each in operation.parameters:
            value = quote(self._example(each), safe="")
            if each.place == "path":
                path = path.replace(f"{{{each.name}}}", value)
            else:
                query.append(f"{each.name}={value}")
        url = self._url + path + ("?" + "&".join(query) if query else "")
        parts = ["curl"]
        if operation.method not in {"get", "post"}:
            parts.append(f"-X {operation.method.upper()}")
        parts.append(shlex.quote(url))
        if self._has_keys and not operation.is_open:
            parts.append('-H "Authorization: Bearer $FEATX_API_KEY"')
        return " ".join(parts) + self._sent(operation)

    def _sent(self, operation: Operation) -> str:
        """Return how curl sends an example of a body."""
        if not operation.body:
            return ""
        if operation.takes_files and self._field in FILES:
            kind, file = FILES[self._field]
            label = "?label=cat" if operation.example == "teach" else ""
            return f"{label} \\\n  -H 'content-type: {kind}' --data-binary @{file}"
        body = msgspec.json.encode(self._bodies[operation.example]).decode()
        return f" \\\n  -H 'content-type: {JSON}' -d {shlex.quote(body)}"


def _field(name: str, schema: Schema) -> Schema:
    """Return the parameter for a field of a struct: what is null there is not given here."""
    about = schema.pop("description", "")
    options = [each for each in schema.pop("anyOf", []) if each != {"type": "null"}]
    for each in options:
        schema |= each
    if schema.get("default", "") is None:
        del schema["default"]
    return {"name": name, "in": "query", "description": about, "schema": schema}


_OF_BODIES = frozenset({"input", "model"})
"""Fields of a struct that the query does not have."""

_OF_GALLERIES = frozenset({"k"})
"""Those that only a gallery takes."""

_BYTES: Schema = {"type": "string", "format": "binary"}


def _files(*kinds: str) -> Schema:
    form = {
        "type": "object",
        "properties": {"file": {"type": "array", "items": _BYTES, "minItems": 1}},
        "required": ["file"],
    }
    return {
        **{kind: {"schema": _BYTES} for kind in kinds},
        "multipart/form-data": {"schema": form},
    }


_TEXT: Schema = {"type": "string", "minLength": 1, "pattern": r"\S"}

_FILES: Mapping[str, Schema] = {
    "text": {
        "text/plain": {"schema": _TEXT, "example": "my order has not come yet"},
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"text": _TEXT}, "required": ["text"]},
            "example": {"text": "my order has not come yet"},
        },
    },
    "image": _files("image/jpeg", "image/png", "image/webp"),
    "audio": _files("audio/wav", "audio/ogg", "audio/flac", "audio/mpeg"),
    "vector": {},
}
"""Field of an item → the bodies beside JSON that one may come in."""


def _refusal(status: int, failure: str, operation: Operation) -> Schema:
    name = operation.reply if status == 503 and operation.reply in _OWN_503 else failure
    about: Schema = {"description": _ABOUT[status], "content": {JSON: {"schema": ref(name)}}}
    if status == 429 or (status == 503 and name == failure):
        about["headers"] = _RETRY
    return about


_OWN_503 = frozenset({"LiveReply", "ReadyReply", "HealthReply", "ModelReady"})
"""Replies that say themselves why they are no success."""
