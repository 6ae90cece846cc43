"""What a thing says, as JSON values."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import quote

from featx.gallery.answers import Classified, Neighbour
from featx.heads.answers import Estimate, Prediction, Tagging
from featx.serve.engine import Answer
from featx.serve.http.problems import Problem
from featx.serve.thing import Thing

_DIGITS = 6


def results_of(
    answers: Sequence[Answer | Problem], thing: Thing, *, top: int
) -> list[dict[str, Any]]:
    """Return what is said of each item; ``error`` where it failed.

    Parameters
    ----------
    answers : sequence
    thing : Thing
    top : int
        Probabilities that are told, the largest; 0 for all.
    """
    return [
        each.in_place if isinstance(each, Problem) else _result(each, thing, top)
        for each in answers
    ]


def _result(answer: Answer, thing: Thing, top: int) -> dict[str, Any]:
    if isinstance(answer.said, list):
        return {"neighbours": neighbours_of(answer.said, thing)}
    return _SAY[type(answer.said)](answer, thing, top)


def _class(answer: Answer, _: Thing, top: int) -> dict[str, Any]:
    said = answer.said
    assert isinstance(said, Prediction)
    return {
        "label": said.label,
        "probability": round(said.probability, _DIGITS),
        "probabilities": _largest(answer.probabilities, top),
        "set": list(said.set),
        "novel": said.novel,
    }


def _vote(answer: Answer, thing: Thing, top: int) -> dict[str, Any]:
    said = answer.said
    assert isinstance(said, Classified)
    return {
        "label": said.label,
        "probability": round(said.probability, _DIGITS),
        "probabilities": _largest(answer.probabilities, top),
        "set": None,
        "novel": said.novel,
        "neighbours": neighbours_of(said.neighbours, thing),
    }


def _tags(answer: Answer, _: Thing, top: int) -> dict[str, Any]:
    said = answer.said
    assert isinstance(said, Tagging)
    ranked = dict(sorted(said.probabilities.items(), key=lambda pair: -pair[1]))
    return {
        "tags": list(said.tags),
        "probabilities": _largest(ranked, top),
        "novel": said.novel,
    }


def _values(answer: Answer, thing: Thing, _: int) -> dict[str, Any]:
    said = answer.said
    assert isinstance(said, Estimate)
    return {
        "values": dict(zip(thing.classes, said.values, strict=True)),
        "intervals": dict(zip(thing.classes, map(list, said.intervals), strict=True)),
        "novel": said.novel,
    }


_SAY: dict[type, Callable[[Answer, Thing, int], dict[str, Any]]] = {
    Prediction: _class,
    Classified: _vote,
    Tagging: _tags,
    Estimate: _values,
}


def _largest(ranked: Mapping[str, float], top: int) -> dict[str, float]:
    pairs = islice(ranked.items(), top or None)
    return {label: round(value, _DIGITS) for label, value in pairs}


def neighbours_of(found: list[Neighbour], thing: Thing) -> list[dict[str, Any]]:
    """Return neighbours as JSON values; ``thumbnail`` is a path of this service, or None."""
    has_pictures = thing.modality == "image"
    return [
        {
            "id": each.id,
            "label": each.label,
            "split": each.split,
            "similarity": round(each.similarity, _DIGITS),
            **({} if each.vote is None else {"vote": round(each.vote, _DIGITS)}),
            "uri": each.uri,
            "preview": each.preview,
            "thumbnail": thumbnail_path(each.id) if has_pictures else None,
        }
        for each in found
    ]


def thumbnail_path(item_id: str) -> str:
    """Return where the thumbnail of an item is.

    Examples
    --------
    >>> thumbnail_path("cats/a b.jpg")
    '/v1/thumbnail?id=cats%2Fa%20b.jpg'
    """
    return f"/v1/thumbnail?id={quote(item_id, safe='')}"
