"""Signature: the inputs and outputs of a thing, as tensors of the Open Inference Protocol."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from featx.heads.predict import Head
from featx.serve.engine import Answer
from featx.serve.routes.tensors import Tensor, numbers
from featx.serve.routes.wire import FIELD_OF
from featx.serve.thing import Thing


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a model.

    Attributes
    ----------
    datatypes : tuple of str
        Those that it may have; the first is what it is said to be.
    shape : tuple of int
        Of one item.
    """

    datatypes: tuple[str, ...]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model.

    Attributes
    ----------
    datatype : str
    shape : tuple of int
        Of one item; -1 where it depends on the request.
    value : callable
        What an `Answer` says of it: str of BYTES, else numbers.
    """

    datatype: str
    shape: tuple[int, ...]
    value: Callable[[Any], Any]


def inputs_of(thing: Thing) -> dict[str, Input]:
    """Return the inputs of a thing by name; a request has one of them."""
    vector = {"vector": Input(("FP32", "FP64"), (thing.backbone.dim,))}
    if thing.modality == "array":
        return vector
    return {FIELD_OF[thing.modality]: Input(("BYTES",), ()), **vector}


def outputs_of(thing: Thing) -> dict[str, Output]:
    """Return the outputs of a thing by name."""
    found: dict[str, Output] = {}
    if thing.head is not None:
        found = _of_head(thing.head)
    elif thing.gallery is not None:
        found = _of_gallery(thing)
    return {**found, "embedding": Output("FP32", (thing.backbone.dim,), lambda said: said.vector)}


_LABEL = {
    "label": Output("BYTES", (), lambda answer: answer.said.label or ""),
    "probability": Output("FP32", (), lambda answer: answer.said.probability),
}
_NOVEL = {"novel": Output("BOOL", (), lambda answer: answer.said.novel is True)}


def _of_head(head: Head) -> dict[str, Output]:
    shape = (len(head.classes),)
    novel = {} if head.novelty is None else _NOVEL
    if head.task == "regress":
        return {"values": Output("FP32", shape, lambda answer: answer.said.values), **novel}
    probabilities = Output(
        "FP32", shape, lambda answer: [answer.probabilities[name] for name in head.classes]
    )
    label = _LABEL if head.task == "classify" else {}
    return {**label, "probabilities": probabilities, **novel}


def _of_gallery(thing: Thing) -> dict[str, Output]:
    if not thing.can_classify:
        return _near(lambda answer: answer.said)
    novel = {} if thing.held.facts["novel_below"] is None else _NOVEL
    return {**_LABEL, **_near(lambda answer: answer.said.neighbours), **novel}


def _near(neighbours: Callable[[Any], Sequence[Any]]) -> dict[str, Output]:
    return {
        "neighbours": Output("BYTES", (-1,), lambda answer: [n.id for n in neighbours(answer)]),
        "similarities": Output(
            "FP32", (-1,), lambda answer: [n.similarity for n in neighbours(answer)]
        ),
    }


def tensor_of(name: str, output: Output, answers: Sequence[Answer]) -> Tensor:
    """Return one output of all items.

    Where items have more neighbours than others, all are cut to the fewest.
    """
    values = [output.value(answer) for answer in answers]
    shape = [len(values)]
    if output.shape:
        shape.append(min(map(len, values)))
        values = [each[: shape[1]] for each in values]
    if output.datatype != "BYTES":
        return Tensor(name, output.datatype, tuple(shape), numbers(output.datatype, values))
    texts = [text for each in values for text in each] if output.shape else values
    return Tensor(name, output.datatype, tuple(shape), texts)
