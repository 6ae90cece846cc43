"""``POST /v1/embeddings``, as the OpenAI API has it."""

from typing import Any, Literal

import msgspec
import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.backbone.pooling import normalize
from featx.serve.engine import Answer, Ask
from featx.serve.http.bodies import decode, reply
from featx.serve.http.problems import Problem, placed
from featx.serve.routes.classify import require_model
from featx.serve.routes.inputs import WithInput, answered, require_few
from featx.serve.routes.wire import contents_of, listed, to_base64
from featx.serve.service import service_of
from featx.serve.thing import Thing
from featx.types import Vectors


class EmbeddingsBody(WithInput):
    """What is embedded; unknown fields are passed over, as that API does.

    Attributes
    ----------
    input : item or array of items
        Texts, or what the model takes; token numbers are not.
    model : str
        Name of what is served, or of its backbone.
    encoding_format : "float" or "base64"
        base64 is of little-endian float32.
    dimensions : int or None
        A width that the backbone may be cut to.
    user : str or None
        Passed over.
    """

    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None


_DECODER = msgspec.json.Decoder(EmbeddingsBody)


async def embeddings(request: Request) -> Response:
    """Give the vector of each item; one that fails, fails the request, as that API has it."""
    asked = await decode(request, _DECODER)
    service = service_of(request)
    thing = service.engine.thing
    if asked.model != thing.backbone.manifest.name:
        require_model(request, asked.model)
    dim = _dimensions(thing, asked.dimensions)
    items = listed(asked.input)
    require_few(request, items)
    if thing.modality == "text" and any(isinstance(each, list | int | float) for each in items):
        message = "input: holds numbers; expected texts, since tokens are the model's own matter"
        raise Problem(422, "tokens", message, param="input")
    contents = contents_of(items, thing.modality, thing.backbone.dim, service.settings)
    answers = await answered(request, contents, Ask(task="embed"))
    return reply(_document(thing, placed(answers), asked, dim))


def _document(
    thing: Thing, answers: list[Answer | Problem], asked: EmbeddingsBody, dim: int
) -> dict[str, Any]:
    found, tokens = [], 0
    for number, answer in enumerate(answers):
        if isinstance(answer, Problem):
            raise answer
        vector = _cut(answer.vector, dim, thing)
        shown = to_base64(vector) if asked.encoding_format == "base64" else vector.tolist()
        found.append({"object": "embedding", "index": number, "embedding": shown})
        tokens += answer.n_tokens
    return {
        "object": "list",
        "data": found,
        "model": thing.backbone.manifest.name,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def widths_of(thing: Thing) -> list[int]:
    """Return how wide vectors may be."""
    manifest, dim = thing.backbone.manifest, thing.backbone.dim
    return sorted({dim, *(width for width in manifest.dims if width <= dim)})


def _dimensions(thing: Thing, asked: int | None) -> int:
    """Return how wide vectors shall be, if they may be."""
    if asked is None:
        return thing.backbone.dim
    if asked not in widths_of(thing):
        widths = ", ".join(map(str, widths_of(thing)))
        name = thing.backbone.manifest.name
        message = f"dimensions: {asked}; vectors of {name} may be {widths} wide here"
        raise Problem(422, "wrong_dimensions", message, param="dimensions")
    return asked


def _cut(vector: Vectors, dim: int, thing: Thing) -> Vectors:
    if dim == len(vector):
        return vector
    cut = vector[None, :dim]
    cut = normalize(cut) if thing.backbone.manifest.normalize else cut
    return np.ravel(cut)


ROUTES = [Route("/v1/embeddings", embeddings, methods=["POST"])]
