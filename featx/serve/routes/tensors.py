"""Tensors of the Open Inference Protocol: in JSON, or as bytes that follow it.

BYTES are texts or files; as bytes each has its length before it, a little-endian uint32.  Numbers
are little-endian and row-major.
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError

MOST_DIMENSIONS = 8
"""Of a shape."""

_LENGTH = struct.Struct("<I")

_NUMBERS = {"BOOL": np.dtype("?"), "FP32": np.dtype("<f4"), "FP64": np.dtype("<f8")}
"""Datatype → how its numbers lie in memory."""

_NAMES: dict[type, str] = {
    str: "strings",
    int: "numbers",
    float: "numbers",
    bool: "booleans",
    list: "arrays",
    dict: "objects",
    type(None): "null",
}
"""What JSON calls a value of data."""


class InputParameters(msgspec.Struct):
    """What a request says of a tensor beside its data; unknown names are passed over.

    Attributes
    ----------
    binary_data_size : int or None
        Bytes of the tensor, which follow the JSON.
    """

    binary_data_size: Annotated[int, msgspec.Meta(ge=0)] | None = None


class InputTensor(msgspec.Struct):
    """A tensor of a request.

    Attributes
    ----------
    name : str
        One of the model's inputs.
    shape : array of int
    datatype : str
    parameters : InputParameters
    data : array or None
        Its values, row-major, flat or in nested arrays; not given where bytes follow the JSON.
    """

    name: str
    shape: list[int]
    datatype: str
    parameters: InputParameters = msgspec.field(default_factory=InputParameters)
    data: list[Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A tensor that was read, or is to be written.

    Attributes
    ----------
    name, datatype : str
    shape : tuple of int
    values : ndarray of that shape, or list of str or bytes
        The latter are of BYTES, row-major; bytes where they came as bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: NDArray[Any] | list[str] | list[bytes]


def read_tensor(given: InputTensor, rest: memoryview) -> Tensor:
    """Return the tensor that a request holds.

    Parameters
    ----------
    given : InputTensor
        Its datatype is BYTES, BOOL, FP32 or FP64.
    rest : memoryview
        What follows the JSON.

    Raises
    ------
    InputError
        If data and shape do not belong together, or a value is of another kind.
    """
    count, size = count_of(given.shape), given.parameters.binary_data_size
    if (given.data is None) == (size is None):
        found = "neither" if size is None else "both"
        raise InputError(f"holds {found} of data and parameters.binary_data_size; expected one")
    if len(rest) != (size or 0):
        raise InputError(
            f"parameters.binary_data_size: found {size or 0:,}; {len(rest):,} bytes follow the JSON"
        )
    values: NDArray[Any] | list[str] | list[bytes]
    if given.data is not None:
        values = _of_json(given, count)
    elif given.datatype == "BYTES":
        values = split_bytes(rest, count)
    else:
        values = _of_bytes(given, rest, count)
    return Tensor(given.name, given.datatype, tuple(given.shape), values)


def count_of(shape: Sequence[int]) -> int:
    """Return how many values a shape holds.

    Raises
    ------
    InputError
        If it has a negative size, or too many dimensions.

    Examples
    --------
    >>> count_of([2, 3])
    6
    """
    if len(shape) > MOST_DIMENSIONS:
        raise InputError(f"shape: {len(shape):,} dimensions; at most {MOST_DIMENSIONS} are taken")
    if any(size < 0 for size in shape):
        raise InputError(f"shape: found {list(shape)}; expected no negative size")
    return math.prod(shape)


def _of_json(given: InputTensor, count: int) -> NDArray[Any] | list[str]:
    assert given.data is not None
    flat = _flat(given.data, given.shape)
    if len(flat) != count:
        raise InputError(f"data: {len(flat):,} values; shape {given.shape} holds {count:,}")
    allowed, expected = (
        ({str}, "strings") if given.datatype == "BYTES" else ({int, float}, "numbers")
    )
    if strange := {type(each) for each in flat} - allowed:
        found = " and ".join(sorted({_NAMES[kind] for kind in strange}))
        raise InputError(f"data: holds {found}; expected {expected}")
    if given.datatype == "BYTES":
        return flat
    try:
        with np.errstate(over="ignore"):  # infinity is refused where the item is
            row = np.array(flat, _NUMBERS[given.datatype])
    except OverflowError as cause:
        raise InputError(f"data: holds a number too large for {given.datatype}") from cause
    return _shaped(row, given.shape)


def _shaped(row: NDArray[Any], shape: Sequence[int]) -> NDArray[Any]:
    try:
        return row.reshape(shape)
    except (ValueError, OverflowError) as cause:  # of no values, and sizes beyond all memory
        raise InputError(f"shape: found {list(shape)}; expected smaller sizes") from cause


def _flat(values: list[Any], shape: Sequence[int]) -> list[Any]:
    """Return the values of lists in lists; they may be flat already."""
    for size in shape[1:]:
        if not any(isinstance(each, list) for each in values):
            return values
        if not all(isinstance(each, list) and len(each) == size for each in values):
            raise InputError(f"data: its arrays are not of shape {list(shape)}")
        values = list(chain.from_iterable(values))
    return values


def _of_bytes(given: InputTensor, raw: memoryview, count: int) -> NDArray[Any]:
    kind = _NUMBERS[given.datatype]
    if len(raw) != count * kind.itemsize:
        raise InputError(
            f"{len(raw):,} bytes; {given.datatype} of shape {given.shape} takes "
            f"{count * kind.itemsize:,}"
        )
    return _shaped(np.frombuffer(raw, kind), given.shape)


def split_bytes(raw: memoryview, count: int) -> list[bytes]:
    """Return values that lie after each other, each with its length before it.

    Raises
    ------
    InputError
        If there are more or fewer, or the last one is cut off.

    Examples
    --------
    >>> split_bytes(memoryview(join_bytes([b"a", b"", b"bcd"])), 3)
    [b'a', b'', b'bcd']
    """
    found: list[bytes] = []
    at = 0
    while at < len(raw) and len(found) <= count:
        start = at + _LENGTH.size
        if start > len(raw):
            raise InputError(f"value {len(found)}: is cut off within its length")
        (size,) = _LENGTH.unpack_from(raw, at)
        at = start + size
        if at > len(raw):
            raise InputError(
                f"value {len(found)}: {size:,} bytes long; {len(raw) - start:,} bytes are left"
            )
        found.append(bytes(raw[start:at]))
    if len(found) != count:
        held = f"more than {count:,}" if len(found) > count else f"{len(found):,}"
        raise InputError(f"{held} values; the shape holds {count:,}")
    return found


def join_bytes(values: Sequence[bytes]) -> bytes:
    """Return values after each other, each with its length before it."""
    return b"".join(part for each in values for part in (_LENGTH.pack(len(each)), each))


def written(tensor: Tensor, *, is_binary: bool) -> tuple[dict[str, Any], bytes]:
    """Return what an answer says of a tensor in JSON, and the bytes that follow.

    Parameters
    ----------
    tensor : Tensor
        BYTES are of str.
    is_binary : bool
        Whether its values are bytes that follow, or are in the JSON.
    """
    said = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    values = tensor.values
    if not is_binary:
        flat = values.ravel().tolist() if isinstance(values, np.ndarray) else values
        return {**said, "data": flat}, b""
    if isinstance(values, np.ndarray):
        raw = np.ascontiguousarray(values, _NUMBERS[tensor.datatype]).tobytes()
    else:
        raw = join_bytes([each.encode() if isinstance(each, str) else each for each in values])
    return {**said, "parameters": {"binary_data_size": len(raw)}}, raw


def numbers(datatype: str, rows: Sequence[Any]) -> NDArray[Any]:
    """Return rows of numbers as a tensor of a datatype holds them."""
    return np.array(rows, _NUMBERS[datatype])
