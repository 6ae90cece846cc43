"""The stack of ``featx serve`` with one more route, which answers what it was sent.

``serve_echo.py GALLERY PORT``: what a request costs before any model is asked.
"""

import sys
from functools import partial

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.serve.app import create_app
from featx.serve.http.bodies import decode, reply
from featx.serve.http.gate import Gate
from featx.serve.server import OneServer, config_of, listen
from featx.serve.settings import ServeSettings


class Echo(msgspec.Struct):
    """A body."""

    input: str


DECODER = msgspec.json.Decoder(Echo)


async def echo(request: Request) -> Response:
    return reply(await decode(request, DECODER))


def with_echo(settings: ServeSettings) -> Starlette:
    app = create_app(settings)
    app.router.routes.append(Route("/v1/echo", echo, methods=["POST"]))
    app.middleware_stack = Gate(app.router, settings)  # as `create_app` does
    return app


def main() -> None:
    settings = ServeSettings(thing=sys.argv[1], port=int(sys.argv[2]))
    config = config_of(settings)
    config.app = partial(with_echo, settings)
    OneServer(config, lambda what, port: None).run(sockets=[listen(settings)])


if __name__ == "__main__":
    main()
