"""The ``.head`` file: an uncompressed ZIP of a JSON header and plain arrays, without pickles.

``header.json`` comes first and lists what `Head` holds; each array is one ``<name>.npy``.  Equal
heads give equal bytes.  Nothing in a file is trusted: the sizes of arrays are checked before
memory is taken, and a graph may only use the operators that graphs of ours use.  None of those
runs for ever, but graphs are not measured: what a chain of them makes can be larger than the file.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from featx.data.files import explained
from featx.errors import StoreError
from featx.heads.conformal import Conformal, Method
from featx.heads.headcheck import Damage, check_head
from featx.heads.novelty import Novelty
from featx.heads.predict import Head
from featx.modality.content import first_line

FORMAT, VERSION = "featx-head", 2

TABLES = frozenset({".csv", ".tsv", ".jsonl", ".parquet"})
"""Suffixes of tables of items, which are not heads, however much one may wish it."""

_HEADER = "header.json"
_HEADER_BYTES = 16 * 2**20
_MEMBER_NAME = re.compile(r"[a-z][a-z_]{0,62}\.npy")
_DTYPES = frozenset({"float32", "float64", "int64", "uint8"})
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
# Kept as arrays in the file, and as nouns of their own in a head.
_QUANTILES, _NOVELTY = "quantiles", "novelty_"


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
        check_head(head)
        with explained(path):
            _replace(path, _pack(head))
    except Damage as cause:
        message = f"{path}: not written: {cause}"
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
    except IsADirectoryError as cause:
        raise StoreError(f"{path}: {_made_first(path)}") from cause
    except Damage as cause:
        message = f"{path}: {cause}"
        raise StoreError(message) from cause
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as cause:
        if path.suffix.lower() in TABLES:
            raise StoreError(f"{path}: {_made_first(path)}") from cause
        if path.suffix.lower() == ".onnx":
            message = (
                f"{path}: not a head; it is an ONNX file; name the head it was made of, X.head"
            )
            raise StoreError(message) from cause
        message = f"{path}: not a head, or a damaged one ({cause}); train it again"
        raise StoreError(message) from cause
    except OSError as cause:
        message = f"{path}: cannot be read: {cause.strerror or cause}"
        raise StoreError(message) from cause


def _made_first(path: Path) -> str:
    """Say how a head is made of what a folder or a table holds."""
    if (path / "gallery.json").is_file():
        return "not a head; it is a gallery; name a head, X.head"
    out = path.with_suffix(".head")
    if (path / "manifest.json").is_file():
        return f"not a head; it is an embedding set; train one with: featx train {path} -o {out}"
    made = path.with_suffix(".emb")
    return (
        f"not a head; make one with: featx embed {path} -m MODEL -o {made};"
        f" then featx train {made} -o {out}"
    )


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
    arrays = dict(head.arrays)
    conformal = None
    if head.conformal is not None:
        arrays[_QUANTILES] = head.conformal.quantiles
        conformal = {"method": head.conformal.method, "coverage": head.conformal.coverage}
    if head.novelty is not None:
        arrays |= head.novelty.to_arrays()
    own = {
        "format": FORMAT,
        "version": VERSION,
        "kind": head.kind,
        "task": head.task,
        "classes": list(head.classes),
        "temperature": float(head.temperature),
        "conformal": conformal,
        "arrays": sorted(arrays),
    }
    try:
        text = json.dumps({**head.header, **own}, sort_keys=True, indent=1, allow_nan=False)
    except (TypeError, ValueError) as cause:
        message = f"its header is not JSON: {cause}"
        raise Damage(message) from cause
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, _HEADER, text.encode())
        for name in sorted(arrays):
            member = io.BytesIO()
            array = np.asarray(arrays[name])
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
    names = [member.filename for member in members]
    if not names or names[0] != _HEADER:
        message = f"not a head: its first member is not {_HEADER}"
        raise Damage(message)
    for member in members:
        _check_member(member, size_bytes)
    if len(set(names)) != len(names):
        message = "two members have one name"
        raise Damage(message)
    header = _read_header(archive)
    listed = header.pop("arrays")
    if absent := sorted(set(listed) - {name.removesuffix(".npy") for name in names[1:]}):
        message = f"its array {absent[0]!r} is missing; train it again"
        raise Damage(message)
    arrays = {name: _read_array(archive, name) for name in listed}
    head = Head(
        kind=header.pop("kind"),
        task=header.pop("task"),
        classes=tuple(header.pop("classes")),
        temperature=header.pop("temperature"),
        conformal=_read_conformal(header.pop("conformal"), arrays.pop(_QUANTILES, None)),
        novelty=_read_novelty(arrays),
        arrays={name: each for name, each in arrays.items() if not name.startswith(_NOVELTY)},
        header=header,
    )
    check_head(head)
    return head


def _read_conformal(facts: Any, quantiles: NDArray[Any] | None) -> Conformal | None:  # noqa: ANN401
    if facts is None and quantiles is None:
        return None
    given: dict[str, Any] = facts if isinstance(facts, dict) else {}
    method, coverage = given.get("method"), given.get("coverage", 0)
    is_known = method in get_args(Method) and isinstance(coverage, float) and 0 < coverage < 1
    if not is_known or quantiles is None or quantiles.dtype != np.float64:
        message = "what makes its conformal sets is missing or of the wrong type"
        raise Damage(message)
    return Conformal(method=cast("Method", method), coverage=coverage, quantiles=quantiles)


def _read_novelty(arrays: Mapping[str, NDArray[Any]]) -> Novelty | None:
    try:
        return Novelty.from_arrays(arrays)
    except (KeyError, TypeError, ValueError) as cause:
        message = f"what tells novel items is damaged: {cause}"
        raise Damage(message) from cause


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
        raise Damage(message)


def _read_header(archive: zipfile.ZipFile) -> dict[str, Any]:
    try:
        header = json.loads(archive.read(_HEADER), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as cause:
        message = f"{_HEADER} is not JSON: {cause}"
        raise Damage(message) from cause
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        message = f"not a head: {_HEADER} does not say format {FORMAT!r}"
        raise Damage(message)
    version = header.get("version")
    if isinstance(version, int) and version > VERSION:
        message = f"version {version} is newer than {VERSION}, the newest known; upgrade featx"
        raise Damage(message)
    types = {"kind": str, "task": str, "classes": list, "arrays": list, "temperature": float}
    if isinstance(version, int) and 0 < version < VERSION:
        message = f"version {version} is older than {VERSION}; train it again"
        raise Damage(message)
    wrong = [key for key, kind in types.items() if not isinstance(header.get(key), kind)]
    wrong += [] if "conformal" in header else ["conformal"]
    if version != VERSION:
        wrong.insert(0, "version")
    elif not wrong and not all(isinstance(name, str) for name in header["arrays"]):
        wrong = ["arrays"]
    if wrong:
        message = f"{_HEADER}: {wrong[0]} is missing or of the wrong type"
        raise Damage(message)
    return {key: value for key, value in header.items() if key not in ("format", "version")}


def _refuse_constant(name: str) -> None:
    message = f"{name} is no number"
    raise ValueError(message)


def _read_array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    content = archive.read(f"{name}.npy")
    stream = io.BytesIO(content)
    try:
        if np.lib.format.read_magic(stream) != (1, 0):
            message = f"array {name!r} is not of npy version 1.0"
            raise Damage(message)
        shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    except Damage:
        raise
    # A header is a Python expression: one that is damaged raises whatever the parser does.
    except Exception as cause:
        message = f"array {name!r} is not an npy file: {first_line(cause)}"
        raise Damage(message) from cause
    if dtype.name not in _DTYPES or is_fortran:
        message = f"array {name!r} holds {dtype}; allowed: {', '.join(sorted(_DTYPES))}"
        raise Damage(message)
    # Python integers, which cannot overflow, and before anything is allocated.
    wanted = dtype.itemsize
    for length in shape:
        wanted *= length
    if min(shape, default=0) < 0 or wanted != len(content) - stream.tell():
        message = f"array {name!r} has shape {shape} but {len(content) - stream.tell()} bytes"
        raise Damage(message)
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape).astype(dtype.newbyteorder("="))
