"""Bodies of the Open Inference Protocol: what they ask for, and the items that they hold."""

from typing import Annotated, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request

from featx.errors import FeatxError, InputError, ItemError
from featx.serve.http.bodies import content_type, decoded, read_body
from featx.serve.http.problems import JSON, Problem
from featx.serve.routes.signature import Input, inputs_of
from featx.serve.routes.tensors import InputTensor, read_tensor
from featx.serve.routes.wire import ItemObject, K, content_of, vector_of
from featx.serve.settings import ServeSettings
from featx.serve.thing import Thing
from featx.types import Content

BINARY = "application/octet-stream"
LENGTH_HEADER = "inference-header-content-length"


class OutputParameters(msgspec.Struct):
    """How an output is told; what Triton knows and would change it is refused.

    Attributes
    ----------
    binary_data : bool or None
        Whether its values are bytes that follow the JSON; null for what the request says.
    classification : 0
        Not known here; ask for ``probabilities``.
    shared_memory_region : None
        Not known here.
    """

    binary_data: bool | None = None
    classification: Literal[0] = 0
    shared_memory_region: None = None


class AskedOutput(msgspec.Struct):
    """An output that is asked for.

    Attributes
    ----------
    name : str
        One of the model's outputs.
    parameters : OutputParameters
        How it is told.
    """

    name: str
    parameters: OutputParameters = msgspec.field(default_factory=OutputParameters)


class InferParameters(msgspec.Struct):
    """How a request is answered; unknown names are passed over.

    Attributes
    ----------
    binary_data_output : bool
        Whether outputs are bytes that follow the JSON, unless they say otherwise.
    k : int or None
        Neighbours, of a gallery.
    """

    binary_data_output: bool = False
    k: K | None = None


class InferBody(msgspec.Struct):
    """What is asked of a model; unknown fields are passed over.

    Attributes
    ----------
    inputs : array of one InputTensor
        The items.
    outputs : array of AskedOutput
        All but ``embedding``, unless some are named.
    id : str or None
        Comes back with the answer.
    parameters : InferParameters
        How the request is answered.
    """

    inputs: Annotated[list[InputTensor], msgspec.Meta(min_length=1, max_length=1)]
    outputs: list[AskedOutput] = []
    id: str | None = None
    parameters: InferParameters = msgspec.field(default_factory=InferParameters)


_DECODER = msgspec.json.Decoder(InferBody)


async def infer_body(request: Request) -> tuple[InferBody, memoryview]:
    """Return the JSON of a request, and the bytes that follow it.

    Raises
    ------
    Problem
    """
    kind = content_type(request)
    if kind not in {"", JSON, BINARY} and not kind.endswith("+json"):
        expected = f"{JSON}, or {BINARY} where bytes follow the JSON"
        message = f"content-type: found {kind}; expected {expected}"
        raise Problem(415, "wrong_content_type", message)
    if encoding := request.headers.get("content-encoding"):
        message = f"content-encoding: found {encoding}; a body is taken as it is"
        raise Problem(415, "wrong_content_type", message)
    body = await read_body(request)
    size = _json_size(request, len(body))
    return decoded(body[:size], _DECODER), memoryview(body)[size:]


def _json_size(request: Request, most: int) -> int:
    found = request.headers.get(LENGTH_HEADER)
    if found is None:
        return most
    if not (found.isascii() and found.isdecimal() and len(found) < 12 and int(found) <= most):
        message = f"{LENGTH_HEADER}: found {found[:20]}; the body has {most:,} bytes"
        raise Problem(400, "wrong_length", message)
    return int(found)


def contents_of(
    given: InputTensor, rest: memoryview, thing: Thing, settings: ServeSettings
) -> list[Content | FeatxError]:
    """Return the items of a tensor as a backbone reads them; an error stands for a useless one.

    Parameters
    ----------
    given : InputTensor
    rest : memoryview
        What follows the JSON.
    thing : Thing
    settings : ServeSettings

    Raises
    ------
    InputError
        If the tensor is none of the inputs of `thing`, or damaged.
    """
    known = inputs_of(thing)
    if given.name not in known:
        raise InputError(f"inputs[0]: {given.name!r}; {thing.name} takes {' or '.join(known)}")
    try:
        _require(given, known[given.name], settings.items)
        tensor = read_tensor(given, rest)
    except InputError as error:
        raise InputError(f"{given.name}: {error}") from error
    if isinstance(tensor.values, np.ndarray):
        return [_row(each) for each in tensor.values]
    return [_content(each, given.name, settings) for each in tensor.values]


def _require(given: InputTensor, expected: Input, most: int) -> None:
    """Raise where a tensor is of another kind, before its data is looked at."""
    if given.datatype not in expected.datatypes:
        allowed = " or ".join(expected.datatypes)
        raise InputError(f"datatype {given.datatype!r}; expected {allowed}")
    items, width = given.shape[:1], given.shape[1:]
    if not items or width not in ([*expected.shape], [*expected.shape] or [1]):
        allowed = "".join(f", {size}" for size in expected.shape)
        raise InputError(f"shape: found {given.shape[:8]}; expected [N{allowed}]")
    if not 1 <= items[0] <= most:
        raise InputError(f"shape: {items[0]:,} items; from 1 to {most:,} are taken")


def _row(values: NDArray[np.floating]) -> Content | FeatxError:
    try:
        return vector_of(values)
    except FeatxError as error:
        return error


def _content(value: str | bytes, name: str, settings: ServeSettings) -> Content | FeatxError:
    """Return a text, or the bytes of a file: they are in base64 where they come in JSON."""
    try:
        if isinstance(value, bytes) and name != "text":
            return value or ItemError("is empty")
        text = value if isinstance(value, str) else value.decode()
        return content_of(ItemObject(**{name: text}), name, settings)
    except UnicodeDecodeError as error:
        return ItemError(f"is not UTF-8 at byte {error.start}")
    except FeatxError as error:
        return error
