"""A graph that is held in memory, and so must hold all that belongs to it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from featx.errors import InputError

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto


def read_whole(content: bytes, *, name: str = "graph") -> "ModelProto":
    """Return the model that `content` is; none of its tensors may lie in another file.

    Parameters
    ----------
    content : bytes
        An ONNX file.
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If it is no ONNX model, or refers to a file.
    """
    from google.protobuf.message import DecodeError
    from onnx import ModelProto, TensorProto

    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as cause:
        message = f"{name}: not an ONNX graph: {cause}"
        raise InputError(message) from cause
    for part in parts(model):
        if isinstance(part, TensorProto) and (part.data_location or part.external_data):
            message = f"{name}: tensor {part.name!r} lies in another file; refused"
            raise InputError(message)
    return model


def parts(message: "Message") -> Iterator["Message"]:
    """Yield a message and all that it holds, however deep: subgraphs, functions, sparse tensors."""
    from google.protobuf.message import Message

    waiting = [message]
    while waiting:
        part = waiting.pop()
        yield part
        for field, value in part.ListFields():
            if field.message_type is not None:
                waiting += [value] if isinstance(value, Message) else value
