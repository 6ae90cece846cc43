"""Answering: what a head, a gallery or a backbone says of vectors."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from featx.errors import FeatxError, InputError, ItemError
from featx.gallery.answers import Classified, Neighbour
from featx.gallery.held import Held
from featx.heads.answers import Estimate, Prediction, Tagging
from featx.serve.thing import Thing
from featx.types import Vectors

Task = Literal["embed", "classify", "search"]

Said = Prediction | Tagging | Estimate | Classified | list[Neighbour] | None
"""What a head or a gallery says of one vector; None where only that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked of a vector; asks that are equal are answered together.

    Attributes
    ----------
    task : "embed", "classify" or "search"
    k : int or None
        Neighbours; None for the gallery's own.
    label, split : str or None
        Search only items that have it.
    """

    task: Task
    k: int | None = None
    label: str | None = None
    split: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes of one item.

    Attributes
    ----------
    vector : ndarray of float32, shape (D,)
    said : Prediction, Tagging, Estimate, Classified, list of Neighbour, or None
    probabilities : mapping of str to float
        Of every class, where a head classifies; shares of the vote, where a gallery does.
    n_tokens : int
        Of a text, special tokens included; else 0.
    """

    vector: Vectors
    said: Said = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    n_tokens: int = 0


def said_of(thing: Thing, X: Vectors, ask: Ask) -> Sequence[Answer | FeatxError]:
    """Return what a thing says of vectors; an error stands for one of which it can say nothing."""
    try:
        if ask.task == "embed":
            return [Answer(x) for x in X]
        if ask.task == "search":
            return _searched(thing, X, ask)
        if thing.head is not None:
            return _by_head(thing, X)
        return _by_gallery(thing, X, ask)
    except FeatxError as error:
        if len(X) == 1:
            return [error]
        middle = len(X) // 2  # it may be of one vector alone
        return [*said_of(thing, X[:middle], ask), *said_of(thing, X[middle:], ask)]


def _searched(thing: Thing, X: Vectors, ask: Ask) -> list[Answer]:
    held = _held(thing, X)
    k = ask.k or int(held.facts["k"])
    found = held.search(X, k, label=ask.label, split=ask.split)
    return [Answer(x, near) for x, near in zip(X, found, strict=True)]


def _held(thing: Thing, X: Vectors) -> Held:
    """Return what a gallery holds, in which the vectors may be looked for."""
    if thing.gallery is None:
        raise InputError(
            f"{thing.name}: is a {thing.kind}, which holds no items to search; "
            "serve a gallery: featx index SET -o X.knn"
        )
    held = thing.held
    if held.metric == "cosine":
        _require_directions(X)
    return held


def _require_directions(X: Vectors) -> None:
    """Raise where a vector is zero: by the cosine all items are as near to it."""
    if not X.any(axis=1).all():
        raise ItemError("its vector is zero, which has no direction and so no nearest neighbour")


def _by_gallery(thing: Thing, X: Vectors, ask: Ask) -> list[Answer]:
    held = _held(thing, X)
    votes = held.classify(X, ask.k or int(held.facts["k"]), abstain_below=0.0)
    return [Answer(x, vote, _shares(vote)) for x, vote in zip(X, votes, strict=True)]


def _shares(vote: Classified) -> dict[str, float]:
    """Return each label's share of the vote, the largest first."""
    shares = defaultdict[str, float](float)
    for found in vote.neighbours:
        if found.label is not None:
            shares[found.label] += found.vote or 0.0
    return dict(sorted(shares.items(), key=lambda pair: -pair[1]))


def _by_head(thing: Thing, X: Vectors) -> list[Answer]:
    head = thing.head
    assert head is not None
    if head.kind == "knn":
        _require_directions(X)
    if head.task == "multilabel":
        tags = head.tag(X)
        return [Answer(x, each, each.probabilities) for x, each in zip(X, tags, strict=True)]
    if head.task == "regress":
        return [Answer(x, each) for x, each in zip(X, head.estimate(X), strict=True)]
    table = head.probabilities(X)
    said = head.predict(X, probabilities=table)
    order = np.argsort(-table, axis=1, kind="stable")
    return [
        Answer(x, each, {head.classes[code]: float(row[code]) for code in codes})
        for x, each, row, codes in zip(X, said, table, order.tolist(), strict=True)
    ]
