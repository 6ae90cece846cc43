"""What can be exported: a head or a gallery, as nodes and as the Python that they must equal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.export.emitter import Emitter
from featx.export.novelty import emit_novelty
from featx.export.scoring import emit_logits
from featx.export.votes import Voters, emit_shares, require_few
from featx.gallery.held import Held
from featx.heads.conformal import Conformal
from featx.heads.novelty import Novelty
from featx.heads.predict import Head
from featx.index.flat import NumpyFlat
from featx.index.stack import Stack
from featx.index.voting import neighbour_votes, shares_of
from featx.types import Task, Vectors

GALLERY = "gallery"
"""Kind of what a gallery is exported as."""

SHARE_FLOOR = 1e-12
"""Added to shares of a vote before their logarithm is taken."""

_CALIBRATION = ("scale", "shift", "spread", "trained_digests")


class NoveltyRule(Protocol):
    """Tells what is novel: all that is further than `threshold` from what was trained on."""

    @property
    def threshold(self) -> float:
        """The largest distance of an item that is not novel."""
        ...

    def distances(self, X: Vectors) -> NDArray[np.float64]:
        """Return the distance of each of `X` (N, D), which may be negative; shape (N,)."""
        ...


@dataclass(frozen=True, slots=True)
class _Nearest:
    """The rule of a gallery: distance is the negative similarity of the nearest item."""

    index: NumpyFlat
    threshold: float

    def distances(self, X: Vectors) -> NDArray[np.float64]:
        return -self.index.search(X, 1).similarities[:, 0].astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exportable:
    """What an exported file says of embeddings.

    Attributes
    ----------
    where : str
        What messages call it.
    kind : str
        Of a head, or `GALLERY`.
    task : {"classify", "multilabel", "regress"}
    classes : tuple of str
    dim : int
    header : mapping
        What the header of a head, or ``gallery.json``, says of where the vectors came from.
    emit : callable
        Function of (emitter, name of embeddings) that adds nodes; returns the names of the logits
        (N, C) before calibration and of what is novel (N,), empty where that is not known.
    answers : callable
        Embeddings (N, D) → probabilities or values (N, C) in Python.
    intervals : callable or None
        Embeddings (N, D) → from where to where each value may be (N, T, 2) in Python; None but for
        a regressor.
    novelty : NoveltyRule or None
        What is novel in Python; None where `emit` does not tell.
    temperature : float
        Divides logits of classes.
    conformal : Conformal or None
    arrays : mapping of str to ndarray
        ``scale`` and ``shift`` of tags, ``spread`` of values, ``trained_digests``.
    """

    where: str
    kind: str
    task: Task
    classes: tuple[str, ...]
    dim: int
    header: Mapping[str, Any]
    emit: Callable[[Emitter, str], tuple[str, str]]
    answers: Callable[[Vectors], NDArray[np.float64]]
    intervals: Callable[[Vectors], NDArray[np.float64]] | None = None
    novelty: NoveltyRule | None = None
    temperature: float = 1.0
    conformal: Conformal | None = None
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def of_head(head: Head, where: str) -> Exportable:
    """Return what a head says, to be exported."""
    if head.kind == "knn":
        require_few(len(head.arrays["vectors"]), where)

    def emit(emitter: Emitter, embedding: str) -> tuple[str, str]:
        logits = emit_logits(emitter, embedding, head)
        if not isinstance(head.novelty, Novelty):
            return logits, ""
        return logits, emit_novelty(emitter, embedding, head.novelty)

    def answers(X: Vectors) -> NDArray[np.float64]:
        if head.task == "regress":
            return head.logits(X).astype(np.float64)
        return head.probabilities(X)

    def intervals(X: Vectors) -> NDArray[np.float64]:
        return np.array([each.intervals for each in head.estimate(X)])

    return Exportable(
        where=where,
        kind=head.kind,
        task=head.task,
        classes=head.classes,
        dim=head.dim,
        header=head.header,
        emit=emit,
        answers=answers,
        intervals=intervals if head.task == "regress" else None,
        novelty=head.novelty if isinstance(head.novelty, Novelty) else None,
        temperature=head.temperature,
        conformal=head.conformal,
        arrays={name: head.arrays[name] for name in _CALIBRATION if name in head.arrays},
    )


def of_gallery(held: Held, where: str) -> Exportable:
    """Return what a gallery says, to be exported: the exact vote of its labelled items.

    Raises
    ------
    InputError
        If there are too many items, none is labelled, or all have one label.
    """
    facts, classes = held.facts, tuple(held.classes)
    if len(classes) < 2:
        labels = f"one label, {classes[0]!r}" if classes else "no label"
        message = f"{where}: its items have {labels}; two or more are needed; run: featx label"
        raise InputError(message)
    if facts["vote"] != "softmax":
        message = f"{where}: its neighbours vote by {facts['vote']!r}; only 'softmax' is exported"
        raise InputError(message)
    rows = held.rows
    codes = held.label_codes(rows)
    rows, codes = rows[codes >= 0], codes[codes >= 0]
    require_few(len(rows), where)
    names = held.label_names
    place = {name: number for number, name in enumerate(classes)}
    voters = Voters(
        vectors=held.vectors(rows),
        codes=np.array([place[names[code]] for code in codes.tolist()], dtype=np.int64),
        k=int(facts["k"]),
        temperature=float(facts["temperature"]),
        metric=held.metric,
    )
    return _of_voters(voters, classes, facts, where)


def _of_voters(
    voters: Voters, classes: tuple[str, ...], facts: Mapping[str, Any], where: str
) -> Exportable:
    index = NumpyFlat.build(Stack.of(voters.vectors), voters.metric)
    limit = facts["novel_below"]

    def emit(emitter: Emitter, embedding: str) -> tuple[str, str]:
        shares, similarities = emit_shares(emitter, embedding, voters, len(classes))
        floor = emitter.constant("share_floor", SHARE_FLOOR, np.float32)
        logits = emitter.node("Log", emitter.node("Max", shares, floor))
        if limit is None:
            return logits, ""
        first = emitter.constant("nearest", 0, np.int64)
        nearest = emitter.node("Gather", similarities, first, axis=1)
        return logits, emitter.node("Less", nearest, emitter.constant("limit", limit, np.float32))

    def answers(X: Vectors) -> NDArray[np.float64]:
        found = index.search(X, voters.counted)
        votes = neighbour_votes(found, voters.temperature)
        return shares_of(votes, voters.codes[found.rows], len(classes))

    return Exportable(
        where=where,
        kind=GALLERY,
        task="classify",
        classes=classes,
        dim=int(facts["dim"]),
        header=facts,
        emit=emit,
        answers=answers,
        novelty=None if limit is None else _Nearest(index, -limit),
    )
