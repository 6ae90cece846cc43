"""From content to bytes, and from ``.npy`` bytes back to an array; no pickle is ever opened."""

import io
import math
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import ItemError
from featx.types import Content, Sample, Span, Stored

NPY_MAGIC = b"\x93NUMPY"
PREVIEW_LENGTH = 200

MAX_FILE_BYTES = 1 << 30
"""Largest file that is read as one item; it is held in memory."""


def read_bytes(content: Content) -> bytes:
    """Return the bytes of a file or a part of one, of encoded bytes, or of an array as ``.npy``.

    Parameters
    ----------
    content : Path, Span, Stored, bytes or ndarray
        Arrays of booleans, integers and floats; they are stored row-major and little-endian, so
        that equal arrays give equal bytes.

    Raises
    ------
    ItemError
        If the file is missing, not a regular file, unreadable, empty or too large, or if `content`
        is a text or an array of another kind.
    """
    match content:
        case Path():
            raw = _file_bytes(content)
        case Span():
            raw = _span_bytes(content)
        case Stored():
            raw = _stored_bytes(content)
        case bytes():
            raw = content
        case np.ndarray():
            return npy_bytes(content)
        case _:
            message = f"is a {type(content).__name__}; expected a path, bytes or an array"
            raise ItemError(message)
    if not raw:
        message = "is empty (0 bytes)"
        raise ItemError(message)
    return raw


def npy_bytes(array: NDArray[Any]) -> bytes:
    """Return `array` in ``.npy`` form, row-major and little-endian.

    Raises
    ------
    ItemError
        If it holds anything but booleans, integers or floats.
    """
    check_numeric(array.dtype)
    file = io.BytesIO()
    plain = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    np.lib.format.write_array(file, plain, allow_pickle=False)
    return file.getvalue()


def npy_array(raw: bytes) -> NDArray[Any]:
    """Return the array that ``.npy`` bytes hold, as a read-only view of them.

    Raises
    ------
    ItemError
        If the header is damaged, more or fewer bytes follow than it promises, or the array is
        of objects (which only a pickle could hold), complex numbers, texts or records.
    """
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, is_fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            message = f"is a .npy file of version {version}; expected 1.0 or 2.0"
            raise ItemError(message)
    except ItemError:
        raise
    except Exception as cause:
        message = f"is not a .npy array: {first_line(cause)}"
        raise ItemError(message) from cause
    check_numeric(dtype)
    found, promised = len(raw) - file.tell(), math.prod(shape) * dtype.itemsize
    if found != promised:
        message = f"is damaged: {found} bytes follow the .npy header, which promises {promised}"
        raise ItemError(message)
    flat: NDArray[Any] = np.frombuffer(raw, dtype=dtype, offset=file.tell())
    try:
        return flat.reshape(shape, order="F" if is_fortran else "C")
    except (ValueError, OverflowError) as cause:  # two negative lengths, or 0 and a huge one
        message = f"is damaged: its .npy header promises the shape {shape}"
        raise ItemError(message) from cause


def load_each(load: Callable[[bytes], Sample], raws: Sequence[bytes]) -> list[Sample | ItemError]:
    """Load items one by one; what cannot be loaded gives its error."""
    loaded: list[Sample | ItemError] = []
    for raw in raws:
        try:
            loaded.append(load(raw))
        except ItemError as error:
            # A new one: the error that was caught holds on to its frames, and so to the bytes.
            loaded.append(ItemError(*error.args))
    return loaded


def check_numeric(dtype: np.dtype[Any]) -> None:
    """Raise `ItemError` unless `dtype` is of booleans, integers or floats."""
    if dtype.kind not in "biuf":
        kind = "python objects, which are never unpickled" if dtype.hasobject else str(dtype)
        message = f"is an array of {kind}; expected numbers (float, integer or boolean)"
        raise ItemError(message)


def first_line(cause: BaseException) -> str:
    """Return the first line of an exception's message, or its class if it has none."""
    lines = str(cause).splitlines()
    return lines[0] if lines else type(cause).__name__


def _span_bytes(span: Span) -> bytes:
    """Return a part of a file, which is a tar or another regular file when it is listed."""
    if span.size_bytes > MAX_FILE_BYTES:
        message = f"is {span.size_bytes} bytes of {span.path}; at most {MAX_FILE_BYTES} are read"
        raise ItemError(message)
    try:
        with span.path.open("rb") as file:
            file.seek(span.offset)
            raw = file.read(span.size_bytes)
    except (OSError, ValueError) as cause:
        message = f"cannot be read: {span.path}: {getattr(cause, 'strerror', None) or cause}"
        raise ItemError(message) from cause
    if len(raw) < span.size_bytes:
        found = f"{len(raw)} of {span.size_bytes} bytes are there"
        message = f"is cut off: {found} at byte {span.offset} of {span.path}"
        raise ItemError(message)
    return raw


def _stored_bytes(stored: Stored) -> bytes:
    if stored.size_bytes > MAX_FILE_BYTES:
        message = (
            f"is a file of {stored.size_bytes} bytes: {stored.url}; at most {MAX_FILE_BYTES} are "
            "read as one item; split it first"
        )
        raise ItemError(message)
    return stored.read()


def _file_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            problem = f"is a directory: {path}; expected a file"
        elif not stat.S_ISREG(status.st_mode):  # opening a FIFO would wait for a writer for ever
            problem = f"is not a regular file: {path}"
        elif status.st_size > MAX_FILE_BYTES:
            problem = (
                f"is a file of {status.st_size} bytes: {path}; at most {MAX_FILE_BYTES} are read "
                "as one item; split it first"
            )
        else:
            return path.read_bytes()
    except FileNotFoundError as cause:
        message = f"does not exist: {path}"
        raise ItemError(message) from cause
    except (OSError, ValueError) as cause:  # ValueError: a null character in the path
        message = f"cannot be read: {path}: {getattr(cause, 'strerror', None) or cause}"
        raise ItemError(message) from cause
    raise ItemError(problem)
