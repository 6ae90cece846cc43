"""uvicorn, Starlette and msgspec with one route and nothing else: ``serve_bare.py PORT``."""

import sys

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Echo(msgspec.Struct):
    """A body."""

    input: str


DECODER = msgspec.json.Decoder(Echo)


async def echo(request: Request) -> Response:
    body = DECODER.decode(await request.body())
    return Response(msgspec.json.encode(body), media_type="application/json")


async def ready(_: Request) -> Response:
    return Response(b"{}", media_type="application/json")


if __name__ == "__main__":
    routes = [Route("/v1/echo", echo, methods=["POST"]), Route("/health/ready", ready)]
    uvicorn.run(
        Starlette(routes=routes),
        port=int(sys.argv[1]),
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
    )
