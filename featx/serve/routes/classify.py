"""``POST /v1/classify`` and ``POST /v1/search``."""

from collections.abc import Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from featx.serve.engine import Answer, Ask
from featx.serve.http.bodies import reply
from featx.serve.http.problems import Problem, none_of, placed
from featx.serve.routes.inputs import WithInput, answered, asked_of
from featx.serve.routes.said import results_of
from featx.serve.routes.wire import K, Top
from featx.serve.service import off_loop, service_of
from featx.serve.thing import Thing


class ClassifyBody(WithInput, forbid_unknown_fields=True):
    """What is classified, and how.

    Attributes
    ----------
    input : item or array of items
    model : str or None
        Name of what is served; nothing else is known here.
    k : int or None
        Neighbours that vote, of a gallery.
    top : int
        Probabilities that are told, the largest; 0 for all.
    """

    model: str | None = None
    k: K | None = None
    top: Top = 5


class SearchBody(WithInput, forbid_unknown_fields=True):
    """What is searched for, and where.

    Attributes
    ----------
    input : item or array of items
    model : str or None
    k : int
        Neighbours that are told.
    label, split : str or None
        Only items that have it.
    """

    model: str | None = None
    k: K = 10
    label: str | None = None
    split: str | None = None


_CLASSIFY = msgspec.json.Decoder(ClassifyBody)
_SEARCH = msgspec.json.Decoder(SearchBody)


async def classify(request: Request) -> Response:
    """Give each item a label, tags or values."""
    contents, asked = await asked_of(request, _CLASSIFY, ClassifyBody)
    thing = service_of(request).engine.thing
    require_model(request, asked.model)
    if not await off_loop(thing, lambda: thing.can_classify):
        what = "a gallery without labels", "search"
        if thing.gallery is None:
            what = "a backbone, which gives embeddings", "embeddings"
        message = f"{thing.name}: is {what[0]}; ask /v1/{what[1]}"
        raise Problem(409, "cannot_classify", message)
    if asked.k is not None and thing.gallery is None:
        message = f"k: {thing.name} is a {thing.kind}; only a gallery has neighbours that vote"
        raise Problem(422, "wrong_shape", message, param="k")
    answers = await answered(request, contents, Ask(task="classify", k=asked.k))
    return _results(thing, placed(answers), asked.top)


async def search(request: Request) -> Response:
    """Give the nearest items of the gallery."""
    contents, asked = await asked_of(request, _SEARCH, SearchBody)
    thing = service_of(request).engine.thing
    require_model(request, asked.model)
    if thing.gallery is None:
        message = (
            f"{thing.name}: is a {thing.kind}, which holds no items to search; serve a gallery, "
            "which featx index SET -o X.knn makes"
        )
        raise Problem(409, "no_gallery", message)
    ask = Ask(task="search", k=asked.k, label=asked.label, split=asked.split)
    answers = await answered(request, contents, ask)
    return _results(thing, placed(answers), 0)


def require_model(request: Request, name: str | None) -> None:
    """Raise where a request names another model than the one that is served.

    Raises
    ------
    Problem
    """
    thing = service_of(request).engine.thing
    if name is not None and name != thing.name:
        message = f"model: {name!r} is not served here; this is {thing.name!r}"
        raise Problem(404, "model_not_found", message, param="model")


def _results(thing: Thing, answers: Sequence[Answer | Problem], top: int) -> Response:
    """Return the results of all items; an error where none of them could be answered."""
    failed = [each for each in answers if isinstance(each, Problem)]
    if len(failed) == len(answers):
        raise none_of(failed, "items could be answered")
    return reply({"model": thing.name, "results": results_of(answers, thing, top=top)})


ROUTES = [
    Route("/v1/classify", classify, methods=["POST"]),
    Route("/v1/search", search, methods=["POST"]),
]
