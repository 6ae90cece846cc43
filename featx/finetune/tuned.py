"""A tuned backbone as a plain ONNX file with its manifest, and what it gives when it is read."""

import hashlib
import io
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.golden import load_golden
from featx.backbone.graphs.graph import Graph
from featx.errors import InputError
from featx.export.real import real_items
from featx.finetune.files import Files
from featx.fingerprint import file_sha256
from featx.zoo.catalog import golden_file
from featx.zoo.manifest import FileEntry, Manifest, Tuned
from featx.zoo.writing import write_manifest

MOST_BYTES = 2**31 - 2**20
"""A larger graph keeps its weights in a second file: one ONNX file holds less than 2 GiB."""

GOLDEN_ITEMS = 8

Parameters = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a tuned backbone is made of.

    Attributes
    ----------
    parent : Backbone
    graph : Graph
        The parent's, plain; changed in place.
    parameters : mapping of str to ndarray of float32
        Initializer → its tuned values.
    tuned : Tuned
    blocks : int or None
        Blocks at the end that were trained, for people.
    """

    parent: Backbone
    graph: Graph
    parameters: Parameters
    tuned: Tuned
    blocks: int | None = None


def write_backbone(files: Files, source: Source) -> Backbone:
    """Write graph, tokenizer, golden vectors and manifest, and open what was written.

    Parameters
    ----------
    files : Files
    source : Source

    Raises
    ------
    InputError
        If the graph does not pass ONNX's checker.
    OSError
        If the files cannot be written.
    """
    parent = source.parent.manifest
    role = parent.output_role
    axes: list[str | int] = ["batch"] if role == "embedding" else ["batch", "length"]
    shape = [*axes, parent.dim]
    output = helper.make_tensor_value_info(parent.outputs[role], TensorProto.FLOAT, shape)
    _write_graph(files, source, output)
    entries = {"graph": _entry(files.graph)}
    if files.weights.exists():
        entries["weights"] = _entry(files.weights)
    if "tokenizer" in parent.files:
        shutil.copyfile(parent.file("tokenizer"), files.tokenizer)
        entries["tokenizer"] = _entry(files.tokenizer)
    made = replace(
        parent,
        name=files.name,
        summary=_summary(source),
        source=f"{parent.source}; tuned from {parent.name} with featx {version('featx')}",
        weights=f"{parent.weights}, tuned {_digest(source.parameters)}",
        dims=(),
        precision="fp32",
        files=entries,
        outputs={role: parent.outputs[role]},
        tower=None,
        measured={},
        tuned=source.tuned,
        folder=files.folder,
    )
    write_manifest(files.manifest, made)
    settings = replace(source.parent.settings, precision=None)
    backbone = Backbone(
        Manifest.read(files.manifest), settings, prompt=source.parent.facts["prompt"]
    )
    _write_golden(files.golden, backbone, parent)
    return backbone


def _write_graph(files: Files, source: Source, output: ValueInfoProto) -> None:
    graph = source.graph
    for tensor in graph.model.graph.initializer:
        if tensor.name in source.parameters:
            values = np.ascontiguousarray(source.parameters[tensor.name], dtype=np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    infos = graph.model.graph.output
    del infos[:]
    infos.append(output)
    graph.prune()
    is_large = graph.model.ByteSize() > MOST_BYTES
    onnx.save(
        graph.model,
        files.graph,
        save_as_external_data=is_large,
        location=files.weights.name,
        size_threshold=1024,
    )
    try:
        onnx.checker.check_model(str(files.graph))
    except onnx.checker.ValidationError as cause:
        message = f"{files.name}: the tuned graph is no valid ONNX: {str(cause).splitlines()[0]}"
        raise InputError(message) from cause


def _entry(path: Path) -> FileEntry:
    return FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)


def _digest(parameters: Parameters) -> str:
    """Return the first digits of a hash of the tuned values: equal runs give equal names."""
    found = hashlib.sha256()
    for name in sorted(parameters):
        found.update(f"{name} {parameters[name].shape}\n".encode())
        found.update(np.ascontiguousarray(parameters[name], dtype="<f4").tobytes())
    return found.hexdigest()[:16]


def _summary(source: Source) -> str:
    tuned, blocks = source.tuned, source.blocks
    last = f"after {tuned.cut}" if blocks is None else "last block"
    last = f"last {blocks} blocks" if blocks is not None and blocks > 1 else last
    what = f"norms and biases of its {last}" if tuned.tune == "norm" else f"its {last}"
    of = f"{tuned.items:,} items of {len(tuned.classes)} classes"
    return f"{source.parent.manifest.name} with {what} tuned on {of}"


def _write_golden(path: Path, backbone: Backbone, parent: Manifest) -> None:
    """Write vectors of the parent's golden items, or of samples of ours: none of the user's."""
    if golden_file(parent).is_file():
        contents, _ = load_golden(Backbone(parent))
    else:
        contents = real_items(Backbone(parent))[:GOLDEN_ITEMS]
    vectors = backbone.encode(contents)
    arrays: dict[str, NDArray[Any]] = {"vectors": vectors}
    if all(isinstance(each, str) for each in contents):
        arrays["items"] = np.array(contents)
    else:
        raws = [backbone.read(each) for each in contents]
        arrays |= {f"item_{i}": np.frombuffer(raw, np.uint8) for i, raw in enumerate(raws)}
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path.write_bytes(buffer.getvalue())
