"""The ``.head`` file: an uncompressed ZIP of a JSON header and plain arrays, without pickles.

``header.json`` comes first and lists what `Head` holds; each array is one ``<name>.npy``.  Equal
heads give equal bytes.  Nothing in a file is trusted: sizes are checked before memory is taken.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import StoreError
from featx.heads.predict import SCORERS, Head

FORMAT, VERSION = "featx-head", 1

_HEADER = "header.json"
_HEADER_BYTES = 16 * 2**20
_MEMBER_NAME = re.compile(r"[a-z][a-z_]{0,62}\.npy")
_DTYPES = frozenset({"float32", "float64", "int64", "uint8"})
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_LINEAR = {"coef": "f", "intercept": "f"}
# Kind → the arrays it needs, with the kind of their numbers.
_NEEDED: dict[str, dict[str, str]] = {
    "knn": {"vectors": "f", "codes": "i", "k": "i", "vote_temperature": "f"},
    "logreg": _LINEAR,
    "ridge": _LINEAR,
}


class _Damage(Exception):  # noqa: N818 - never leaves this file
    """What is wrong with a file, without its name."""


def save_head(path: Path, head: Head) -> None:
    """Write `head` to `path`, replacing it whole or not at all.

    Raises
    ------
    StoreError
        If the head is not one that `load_head` would accept, the file cannot be written, or
        `path` is a file that is no head.
    """
    path = Path(path)
    refuse_strangers(path)
    try:
        _check_head(head)
        _replace(path, _pack(head))
    except _Damage as cause:
        message = f"{path}: not written: {cause}"
        raise StoreError(message) from cause
    except OSError as cause:
        message = f"{path}: cannot be written: {cause.strerror or cause}"
        raise StoreError(message) from cause


def load_head(path: Path) -> Head:
    """Read a head; every size, type and shape is checked.

    Raises
    ------
    StoreError
        If the file is missing, damaged, of a newer version, or not a head.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _unpack(archive, path.stat().st_size)
    except FileNotFoundError as cause:
        message = f"{path}: no such file; train one with: featx train SET -o {path}"
        raise StoreError(message) from cause
    except _Damage as cause:
        message = f"{path}: {cause}"
        raise StoreError(message) from cause
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as cause:
        message = f"{path}: not a head, or a damaged one ({cause}); train it again"
        raise StoreError(message) from cause
    except OSError as cause:
        message = f"{path}: cannot be read: {cause.strerror or cause}"
        raise StoreError(message) from cause


def refuse_strangers(path: Path) -> None:
    """Raise before a file that is no head is replaced by one.

    Raises
    ------
    StoreError
        If `path` exists and does not begin as a head file does.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(64)
    if not (start.startswith(b"PK") and b"header.json" in start):
        message = f"{path}: a file that is no head is in the way; choose another name"
        raise StoreError(message)


def _pack(head: Head) -> bytes:
    own = {
        "format": FORMAT,
        "version": VERSION,
        "kind": head.kind,
        "classes": list(head.classes),
        "temperature": float(head.temperature),
        "quantile": float(head.quantile),
        "arrays": sorted(head.arrays),
    }
    try:
        text = json.dumps({**head.header, **own}, sort_keys=True, indent=1, allow_nan=False)
    except (TypeError, ValueError) as cause:
        message = f"its header is not JSON: {cause}"
        raise _Damage(message) from cause
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, _HEADER, text.encode())
        for name in sorted(head.arrays):
            member = io.BytesIO()
            array = np.asarray(head.arrays[name])
            little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
            np.lib.format.write_array(member, little, version=(1, 0), allow_pickle=False)
            _add(archive, f"{name}.npy", member.getvalue())
    return buffer.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    member = zipfile.ZipInfo(name, date_time=_ZIP_DATE)
    member.create_system, member.external_attr = 3, 0o644 << 16
    archive.writestr(member, content)


def _replace(path: Path, content: bytes) -> None:
    """Write a neighbour, flush it to the disk, then rename it over `path`."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _unpack(archive: zipfile.ZipFile, size_bytes: int) -> Head:
    members = archive.infolist()
    for member in members:
        _check_member(member, size_bytes)
    names = [member.filename for member in members]
    if not names or names[0] != _HEADER:
        message = f"not a head: its first member is not {_HEADER}"
        raise _Damage(message)
    if len(set(names)) != len(names):
        message = "two members have one name"
        raise _Damage(message)
    header = _read_header(archive)
    listed = header.pop("arrays")
    if absent := sorted(set(listed) - {name.removesuffix(".npy") for name in names[1:]}):
        message = f"its array {absent[0]!r} is missing; train it again"
        raise _Damage(message)
    head = Head(
        kind=header.pop("kind"),
        classes=tuple(header.pop("classes")),
        temperature=header.pop("temperature"),
        quantile=header.pop("quantile"),
        arrays={name: _read_array(archive, name) for name in listed},
        header=header,
    )
    _check_head(head)
    return head


def _check_member(member: zipfile.ZipInfo, size_bytes: int) -> None:
    problem = ""
    if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
        problem = "is compressed or encrypted; a head's members are stored plain"
    elif member.filename != _HEADER and not _MEMBER_NAME.fullmatch(member.filename):
        problem = "has a name that no head has"
    elif member.file_size > size_bytes or member.file_size != member.compress_size:
        problem = f"claims {member.file_size} bytes in a file of {size_bytes}"
    elif member.filename == _HEADER and member.file_size > _HEADER_BYTES:
        problem = f"takes {member.file_size} bytes; at most {_HEADER_BYTES} are allowed"
    if problem:
        message = f"member {member.filename[:80]!r} {problem}"
        raise _Damage(message)


def _read_header(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        header = json.loads(archive.read(_HEADER))
    except (ValueError, RecursionError) as cause:
        message = f"{_HEADER} is not JSON: {cause}"
        raise _Damage(message) from cause
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        message = f"not a head: {_HEADER} does not say format {FORMAT!r}"
        raise _Damage(message)
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        message = f"version {version} is newer than {VERSION}, the newest known; upgrade featx"
        raise _Damage(message)
    types = {"kind": str, "classes": list, "arrays": list, "temperature": float, "quantile": float}
    wrong = [key for key, kind in types.items() if not isinstance(header.get(key), kind)]
    if version != VERSION:
        wrong.insert(0, "version")
    elif not wrong and not all(isinstance(name, str) for name in header["arrays"]):
        wrong = ["arrays"]
    if wrong:
        message = f"{_HEADER}: {wrong[0]} is missing or of the wrong type"
        raise _Damage(message)
    return {key: value for key, value in header.items() if key not in ("format", "version")}


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    content = archive.read(f"{name}.npy")
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            message = f"array {name!r} is not of npy version 1.0"
            raise _Damage(message)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except (ValueError, TypeError, SyntaxError) as cause:
        message = f"array {name!r} is not an npy file: {cause}"
        raise _Damage(message) from cause
    if dtype.name not in _DTYPES or is_fortran:
        message = f"array {name!r} holds {dtype}; allowed: {', '.join(sorted(_DTYPES))}"
        raise _Damage(message)
    # Python integers, which cannot overflow, and before anything is allocated.
    wanted = dtype.itemsize
    for length in shape:
        wanted *= length
    if min(shape, default=0) < 0 or wanted != len(content) - stream.tell():
        message = f"array {name!r} has shape {shape} but {len(content) - stream.tell()} bytes"
        raise _Damage(message)
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape).astype(dtype.newbyteorder("="))


def _check_head(head: Head) -> None:
    """Raise `_Damage` if the parts of a head contradict each other."""
    if head.kind not in SCORERS or head.kind not in _NEEDED:
        message = f"kind {head.kind!r} is unknown; known: {', '.join(sorted(_NEEDED))}"
        raise _Damage(message)
    names = head.classes
    if len(names) < 2 or len(set(names)) < len(names) or not all(type(n) is str for n in names):
        message = "its classes are not two or more different names"
        raise _Damage(message)
    if not 0 < head.temperature < float("inf") or not 0 <= head.quantile <= 1:
        message = f"temperature {head.temperature} or quantile {head.quantile} is out of range"
        raise _Damage(message)
    _check_arrays(head)


def _check_arrays(head: Head) -> None:
    for name, kind in _NEEDED[head.kind].items():
        if name not in head.arrays or head.arrays[name].dtype.kind != kind:
            message = f"its array {name!r} is missing or of the wrong type"
            raise _Damage(message)
    for name, array in head.arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            message = f"its array {name!r} holds values that are not finite"
            raise _Damage(message)
    if not _shapes_fit(head.kind, head.arrays, len(head.classes)):
        shapes = {name: array.shape for name, array in sorted(head.arrays.items())}
        message = f"its arrays do not fit each other or {len(head.classes)} classes: {shapes}"
        raise _Damage(message)


def _shapes_fit(kind: str, arrays: Mapping[str, NDArray[Any]], n_classes: int) -> bool:
    digests = arrays.get("trained_digests", np.empty((0, 32), np.uint8))
    if digests.ndim != 2 or digests.shape[1] != 32 or digests.dtype != np.uint8:
        return False
    if kind != "knn":
        coef, intercept = arrays["coef"], arrays["intercept"]
        is_matrix = coef.ndim == 2 and coef.shape[0] == n_classes and coef.shape[1] > 0
        return is_matrix and intercept.shape == (n_classes,)
    vectors, codes = arrays["vectors"], arrays["codes"]
    if vectors.ndim != 2 or 0 in vectors.shape or codes.shape != (len(vectors),):
        return False
    if arrays["k"].shape or arrays["vote_temperature"].shape:
        return False
    is_known = codes.min() >= 0 and codes.max() < n_classes
    return bool(is_known and arrays["k"] >= 1 and arrays["vote_temperature"] > 0)
