"""An exported file on disk: parsed without its external weights, written whole or not at all."""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import onnx
from blake3 import blake3
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import set_external_data

from featx.backbone.graphs.whole import parts
from featx.data.files import explained, sync_file, sync_folder
from featx.errors import StoreError
from featx.export.metadata import is_ours
from featx.fingerprint import file_digest

EXTERNAL_ABOVE = 2**31 - 2**26
"""Bytes of weights above which they lie in a file of their own: a message holds 2 GiB at most."""

LEAST_EXTERNAL = 1024
"""Bytes of a tensor that is worth a place there."""

_WEIGHTS = re.compile(r"(?P<of>[^/\\\x00-\x1f]+)\.(?P<digest>[0-9a-f]{16})\.data")
"""Names of weights: the file that they are of, the start of the BLAKE3 digest of their bytes."""

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
    if not all(map(_is_text, parts(model))):
        message = f"{path}: not an ONNX file, or a damaged one: a name in it is not UTF-8"
        raise StoreError(message)
    return model


def _is_text(part: Message) -> bool:
    """Return whether what is to be text in a message is; else protobuf gives bytes."""
    texts = (value for field, value in part.ListFields() if field.type == field.TYPE_STRING)
    return not any(isinstance(each, bytes) for text in texts for each in _listed(text))


def _listed(value: Any) -> Sequence[Any]:  # noqa: ANN401 - a text, or texts
    return [value] if isinstance(value, str | bytes) else value


def properties_of(model: ModelProto) -> dict[str, str]:
    """Return the metadata of a model."""
    return {each.key: each.value for each in model.metadata_props}


def weights_of(model: ModelProto) -> list[str]:
    """Return what a model calls the files that hold weights of it, wherever in it, sorted."""
    tensors = (part for part in parts(model) if isinstance(part, TensorProto))
    entries = (each for tensor in tensors for each in tensor.external_data)
    return sorted({each.value for each in entries if each.key == "location"})


def require_weights(model: ModelProto, path: Path) -> None:
    """Raise unless the weights that a model names lie beside it, and are those it was written with.

    The digest in their name is compared with all of their bytes: a fingerprint is of the file
    that names them, and so of them too.

    Raises
    ------
    StoreError
        Naming the file that is missing, damaged, or none of ours.
    """
    for place in weights_of(model):
        named = _WEIGHTS.fullmatch(place)
        if named is None:
            message = f"{path}: weights at {place[:80]!r}, which featx export never writes; refused"
            raise StoreError(message)
        beside = path.with_name(place)
        with explained(path):
            found = file_digest(beside) if beside.is_file() else ""
        if not found:
            message = f"{path}: its weights, {place}, are missing; keep both files in one folder"
            raise StoreError(message)
        if not found.startswith(named["digest"]):
            message = f"{beside}: damaged: its digest is {found[:16]}; export {path.name} again"
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
        before = _own_weights(path)
        folder = path.with_name(f".{path.name}.{uuid4().hex[:8]}.tmp")
        folder.mkdir()
        try:
            beside = _move_out(model, path.name) if _size_bytes(model) > external_above else ""
            onnx.save(model, folder / path.name)
            yield folder / path.name
            _take_place(folder, path, beside, before)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _own_weights(path: Path) -> list[str]:
    """Return the weights that were written for the exported file at `path`, if one is there."""
    if not path.exists():
        return []
    named = map(_WEIGHTS.fullmatch, weights_of(parse(path)))
    return [each.string for each in named if each is not None and each["of"] == path.name]


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


def _take_place(folder: Path, path: Path, beside: str, before: list[str]) -> None:
    """Rename weights, then the file that names them; then drop those of the one before."""
    for name in [beside, path.name] if beside else [path.name]:
        sync_file(folder / name)
        (folder / name).replace(path.with_name(name))
    sync_folder(path.parent)
    for stale in before:
        if stale != beside:
            path.with_name(stale).unlink(missing_ok=True)
