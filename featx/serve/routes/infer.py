"""``/v2``: the Open Inference Protocol, version 2, as KServe and Triton speak it.

Its errors have a body of their own; see `featx.serve.http.problems`.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx import __version__
from featx.errors import FeatxError, InputError
from featx.serve.engine import Answer, Ask
from featx.serve.http.bodies import reply
from featx.serve.http.problems import Problem, problem_of
from featx.serve.routes.inferbody import BINARY, LENGTH_HEADER, InferBody, contents_of, infer_body
from featx.serve.routes.inputs import answered
from featx.serve.routes.signature import Output, inputs_of, outputs_of, tensor_of
from featx.serve.routes.tensors import Tensor, written
from featx.serve.service import off_loop, service_of
from featx.serve.thing import Thing

VERSION = "1"
"""Of every model: there is one at a time, whatever was there before."""


async def server(_: Request) -> Response:
    """Describe the server."""
    return reply({"name": "featx", "version": __version__, "extensions": ["binary_tensor_data"]})


async def live(_: Request) -> Response:
    """Say that the server runs."""
    return reply({"live": True})


async def ready(request: Request) -> Response:
    """Say whether the server may be asked."""
    found = not service_of(request).unready
    return reply({"ready": found}, 200 if found else 503)


async def model(request: Request) -> Response:
    """Describe the inputs and outputs of what is served."""
    thing = _asked_thing(request)
    outputs = await off_loop(thing, partial(outputs_of, thing))
    told: dict[str, Any] = {
        "name": thing.name,
        "versions": [VERSION],
        "platform": f"featx_{thing.kind}",
        "inputs": [
            {"name": name, "datatype": each.datatypes[0], "shape": [-1, *each.shape]}
            for name, each in inputs_of(thing).items()
        ],
        "outputs": [
            {"name": name, "datatype": each.datatype, "shape": [-1, *each.shape]}
            for name, each in outputs.items()
        ],
    }
    if thing.head is not None:
        told["parameters"] = {"classes": list(thing.head.classes)}
    return reply(told)


async def model_ready(request: Request) -> Response:
    """Say whether what is served may be asked."""
    name, found = _asked_thing(request).name, not service_of(request).unready
    return reply({"name": name, "ready": found}, 200 if found else 503)


def _asked_thing(request: Request) -> Thing:
    thing = service_of(request).engine.thing
    name, version = request.path_params["name"], request.path_params.get("version", VERSION)
    if name != thing.name:
        message = f"model: {name!r} is not served here; this is {thing.name!r}"
        raise Problem(404, "model_not_found", message)
    if version != VERSION:
        message = f"version: {version!r} is not served here; this is {VERSION!r}"
        raise Problem(404, "model_not_found", message)
    return thing


async def infer(request: Request) -> Response:
    """Give what is asked of each item of a tensor."""
    _asked_thing(request)
    asked, rest = await infer_body(request)
    service = service_of(request)
    given = asked.inputs[0]
    while True:
        thing = service.engine.thing
        # Read once: a gallery has others from its first label on.
        known = await off_loop(thing, partial(outputs_of, thing))
        outputs = _chosen(asked, known, thing.name)
        contents = contents_of(given, rest, thing, service.settings)
        answers = await answered(request, contents, _ask(asked, outputs, known, thing))
        if service.engine.thing is thing:  # else another was opened, which may have other outputs
            break
    good = _all_good(answers, given.name)
    return _answer(asked, thing, [tensor_of(name, each, good) for name, each in outputs.items()])


def _chosen(asked: InferBody, known: Mapping[str, Output], model: str) -> Mapping[str, Output]:
    """Return the outputs that are asked for: all but the vectors unless some are named."""
    if not asked.outputs:
        return {name: each for name, each in known.items() if name != "embedding"} or known
    for number, each in enumerate(asked.outputs):
        if each.name not in known:
            raise InputError(f"outputs[{number}]: {each.name!r}; {model} gives {', '.join(known)}")
    return {each.name: known[each.name] for each in asked.outputs}


def _ask(
    asked: InferBody, outputs: Mapping[str, Output], known: Mapping[str, Output], thing: Thing
) -> Ask:
    k = asked.parameters.k
    if k is not None and thing.gallery is None:
        raise InputError(f"parameters.k: {thing.name} is a {thing.kind}; only a gallery has it")
    if set(outputs) == {"embedding"}:
        return Ask(task="embed")
    is_search = thing.gallery is not None and "label" not in known
    return Ask(task="search" if is_search else "classify", k=k)


def _all_good(answers: Sequence[Answer | FeatxError], name: str) -> list[Answer]:
    """Return the answers; raise where one item failed, since a tensor has no holes."""
    good = []
    for number, answer in enumerate(answers):
        if isinstance(answer, FeatxError):
            raise problem_of(answer, f"{name}[{number}]")
        good.append(answer)
    return good


def _answer(asked: InferBody, thing: Thing, tensors: Sequence[Tensor]) -> Response:
    usual = asked.parameters.binary_data_output
    own = {each.name: each.parameters.binary_data for each in asked.outputs}
    outputs, parts = [], []
    for tensor in tensors:
        is_binary = own.get(tensor.name)
        said, raw = written(tensor, is_binary=usual if is_binary is None else is_binary)
        outputs.append(said)
        parts.append(raw)
    document = {
        "model_name": thing.name,
        "model_version": VERSION,
        **({} if asked.id is None else {"id": asked.id}),
        "outputs": outputs,
    }
    if not any("parameters" in said for said in outputs):
        return reply(document)
    head = msgspec.json.encode(document)
    return Response(
        b"".join((head, *parts)), headers={LENGTH_HEADER: str(len(head))}, media_type=BINARY
    )


_MODEL = "/v2/models/{name}"
_VERSION = _MODEL + "/versions/{version}"

ROUTES = [
    Route("/v2", server, methods=["GET"]),
    Route("/v2/health/live", live, methods=["GET"]),
    Route("/v2/health/ready", ready, methods=["GET"]),
    Route(_MODEL, model, methods=["GET"]),
    Route(_VERSION, model, methods=["GET"]),
    Route(_MODEL + "/ready", model_ready, methods=["GET"]),
    Route(_VERSION + "/ready", model_ready, methods=["GET"]),
    Route(_MODEL + "/infer", infer, methods=["POST"]),
    Route(_VERSION + "/infer", infer, methods=["POST"]),
]
