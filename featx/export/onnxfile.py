"""An exported file on disk: parsed without its external weights, written whole or not at all."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import onnx
from blake3 import blake3
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import set_external_data

from featx.data.files import explained, sync_file, sync_folder
from featx.errors import StoreError
from featx.export.metadata import is_ours

EXTERNAL_ABOVE = 2**31 - 2**26
"""Bytes of weights above which they lie in a file of their own: a message holds 2 GiB at most."""

LEAST_EXTERNAL = 1024
"""Bytes of a tensor that is worth a place there."""

INSIDE = "featx/"
"""Begins the names of what stays in the file itself: all that is not of the backbone."""


def parse(path: Path) -> ModelProto:
    """Return the model in a file, with no byte of any other file.

    Raises
    ------
    StoreError
        If it cannot be read, or is no ONNX file.
    """
    with explained(path):
        content = path.read_bytes()
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as cause:
        message = f"{path}: not an ONNX file, or a damaged one: {cause}"
        raise StoreError(message) from cause
    return model


def properties_of(model: ModelProto) -> dict[str, str]:
    """Return the metadata of a model; what is no text is left out."""
    pairs = ((each.key, each.value) for each in model.metadata_props)
    return {key: text for key, text in pairs if isinstance(key, str) and isinstance(text, str)}


def require_weights(model: ModelProto, path: Path) -> None:
    """Raise unless the files of weights that a model names lie beside it.

    Raises
    ------
    StoreError
        Naming the one that is missing.
    """
    entries = (each for tensor in model.graph.initializer for each in tensor.external_data)
    for place in sorted({each.value for each in entries if each.key == "location"}):
        if Path(place).name != place:  # refused by what loads it
            continue
        if not path.with_name(place).is_file():
            message = f"{path}: its weights, {place}, are missing; keep both files in one folder"
            raise StoreError(message)


def refuse_strangers(path: Path) -> None:
    """Raise before a file that `featx export` did not write is replaced.

    Raises
    ------
    StoreError
        If something else is at `path`, such as the graph of a backbone.
    """
    if not path.exists():
        return
    try:
        is_own = path.is_file() and is_ours(properties_of(parse(path)))
    except StoreError:
        is_own = False
    if not is_own:
        message = f"{path}: is there, and not of featx export; choose another name"
        raise StoreError(message)


@contextmanager
def staged(
    path: Path, model: ModelProto, *, external_above: int = EXTERNAL_ABOVE
) -> Iterator[Path]:
    """Write a model beside `path` and give its place there; on success it becomes `path`.

    Parameters
    ----------
    path : Path
    model : ModelProto
        Its weights may be moved out of it.
    external_above : int
        Bytes of weights above which those of the backbone are written to ``<name>.<hash>.data``,
        which the file refers to.

    Raises
    ------
    StoreError
        If the disk is full or the place cannot be written; `path` is as it was.
    """
    with explained(path):
        folder = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
        folder.mkdir()
        try:
            beside = _move_out(model, path.name) if _size_bytes(model) > external_above else ""
            onnx.save(model, folder / path.name)
            yield folder / path.name
            _take_place(folder, path, beside)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def files_of(path: Path) -> list[Path]:
    """Return an exported file and the one that holds its weights, if there is one."""
    beside = re.compile(re.escape(path.name) + r"\.[0-9a-f]{16}\.data")
    return [path, *(each for each in sorted(path.parent.iterdir()) if beside.fullmatch(each.name))]


def _size_bytes(model: ModelProto) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _move_out(model: ModelProto, name: str) -> str:
    """Have large weights of the backbone lie in another file; return its name, if there is one."""
    moved = [tensor for tensor in model.graph.initializer if _is_moved(tensor)]
    if not moved:
        return ""
    digest = blake3()
    for tensor in moved:
        digest.update(tensor.raw_data)
    beside = f"{name}.{digest.hexdigest()[:16]}.data"
    for tensor in moved:
        set_external_data(tensor, beside)
    return beside


def _is_moved(tensor: TensorProto) -> bool:
    is_of_backbone = not tensor.name.startswith(INSIDE)
    return is_of_backbone and tensor.HasField("raw_data") and len(tensor.raw_data) >= LEAST_EXTERNAL


def _take_place(folder: Path, path: Path, beside: str) -> None:
    """Rename weights, then the file that names them; then drop weights that nothing names."""
    for name in [beside, path.name] if beside else [path.name]:
        sync_file(folder / name)
        (folder / name).replace(path.with_name(name))
    sync_folder(path.parent)
    for stale in files_of(path)[1:]:
        if stale.name != beside:
            stale.unlink()
