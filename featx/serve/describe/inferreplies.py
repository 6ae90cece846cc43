"""Replies of the Open Inference Protocol, for its description."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from featx.serve.describe.replies import Count, Reply


class InferFailure(Reply):
    """An error of the Open Inference Protocol, in one line."""

    error: str


class ServerReply(Reply):
    """The server, as the Open Inference Protocol has it."""

    name: str
    version: str
    extensions: list[str]


class TensorInfo(Reply):
    """An input or output of a model.

    Attributes
    ----------
    name : str
        Of the tensor.
    datatype : str
        Of its values.
    shape : array of int
        -1 where it depends on the request.
    """

    name: str
    datatype: Literal["BOOL", "BYTES", "FP32", "FP64"]
    shape: list[Annotated[int, msgspec.Meta(ge=-1)]]


class ModelParameters(Reply):
    """What else is known of a head.

    Attributes
    ----------
    classes : array of str
        Names of the columns of ``probabilities`` or ``values``.
    """

    classes: list[str]


class ModelInfo(Reply):
    """A model, as the Open Inference Protocol has it."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorInfo]
    outputs: list[TensorInfo]
    parameters: ModelParameters | UnsetType = UNSET


class ModelReady(Reply):
    """Whether a model may be asked."""

    name: str
    ready: bool


class OutputTensor(Reply):
    """A tensor of an answer.

    Attributes
    ----------
    name : str
        One of the model's outputs.
    datatype : str
        Of its values.
    shape : array of int
        Items come first.
    data : array
        Its values, row-major and flat.
    """

    name: str
    datatype: Literal["BOOL", "BYTES", "FP32"]
    shape: list[Count]
    data: list[str | float | bool]


class InferReply(Reply):
    """Tensors, one for each output that was asked for."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
