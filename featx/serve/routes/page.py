"""``/``: the page, and the files that it is made of."""

from collections.abc import Awaitable, Callable
from functools import cache
from hashlib import sha256
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}

_FOLDER = "/page/"

NAMES = (
    "answer.js",
    "api.js",
    "browse.js",
    "cards.js",
    "changes.js",
    "classify.js",
    "detail.js",
    "docs.css",
    "dom.js",
    "icon.svg",
    "input.js",
    "items.js",
    "map.js",
    "page.css",
    "page.js",
    "scatter.js",
    "sound.js",
    "theme.js",
)

FILES = {"/": "index.html", **{f"{_FOLDER}{name}": name for name in NAMES}}
"""Path → file of the package; a request cannot name any other."""


@cache
def _read(name: str) -> tuple[bytes, str]:
    """Return a file of the page and its entity tag."""
    body = files("featx.serve.routes").joinpath("page_files", name).read_bytes()
    return body, f'"{sha256(body).hexdigest()[:32]}"'


def _served(name: str) -> Callable[[Request], Awaitable[Response]]:
    media_type = _TYPES[name.rpartition(".")[2]]

    async def file(request: Request) -> Response:
        """Give a file of the page; nothing where the client has it as it is."""
        body, tag = _read(name)
        headers = {"etag": tag, "cache-control": "no-cache"}
        if is_known(request.headers.get("if-none-match", ""), tag):
            return Response(status_code=304, headers=headers)
        return Response(body, headers=headers, media_type=media_type)

    return file


def is_known(asked: str, tag: str) -> bool:
    """Return whether ``If-None-Match`` names an entity tag.

    Examples
    --------
    >>> is_known('W/"a", "b"', '"a"')
    True
    """
    tags = [each.strip().removeprefix("W/") for each in asked.split(",")]
    return tag in tags or tags == ["*"]


ROUTES = [Route(path, _served(name), name=name) for path, name in FILES.items()]
