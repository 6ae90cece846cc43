"""A backbone's first blocks as backbones of their own: faster, and less sure of what they see."""

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import helper

from featx.finetune.graph.cuts import Cut, find_cuts
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import split
from featx.fingerprint import file_sha256
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, Manifest
from featx.zoo.writing import write_manifest


def shallower(model: str, blocks: tuple[int, ...], folder: Path) -> list[Path]:
    """Write backbones that lack the last blocks of a model, and return their manifests.

    Parameters
    ----------
    model : str
        Of texts or images.
    blocks : tuple of int
        How many blocks each of them lacks.
    folder : Path
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(catalog.find(model), lacking, folder) for lacking in blocks]


def _write(manifest: Manifest, lacking: int, folder: Path) -> Path:
    graph = plain_graph(manifest)
    cuts = find_cuts(graph, probe_feeds(graph, manifest), name=manifest.name)
    cut = next(each for each in cuts if each.blocks == lacking)
    body = split(graph, cut).body
    name = f"{manifest.name}-less-{lacking}"
    output = cut.tensor if cut.grows else _pool(body, cut)
    onnx.save(body, folder / f"{name}.onnx")
    files = {"graph": _entry(folder / f"{name}.onnx")}
    if "tokenizer" in manifest.files:
        copy = folder / "tokenizer.json"
        shutil.copyfile(manifest.file("tokenizer"), copy)
        files["tokenizer"] = _entry(copy)
    used = {each.name for each in body.graph.input}
    made = replace(
        manifest,
        name=name,
        weights=f"{manifest.weights}, without {lacking} blocks",
        dim=cut.shape[-1] if cut.grows else cut.shape[1],
        files=files,
        inputs={role: each for role, each in manifest.inputs.items() if each in used},
        outputs={"tokens" if cut.grows else "embedding": output},
        measured={},
    )
    write_manifest(folder / f"{name}.toml", made)
    return folder / f"{name}.toml"


def _pool(body: onnx.ModelProto, cut: Cut) -> str:
    """Give the body of an image model the mean of each channel as its output."""
    body.graph.node.append(helper.make_node("GlobalAveragePool", [cut.tensor], ["pooled"]))
    body.graph.node.append(helper.make_node("Flatten", ["pooled"], ["means"], axis=1))
    sizes = ["batch", cut.shape[1]]
    del body.graph.output[:]
    body.graph.output.append(helper.make_tensor_value_info("means", onnx.TensorProto.FLOAT, sizes))
    return "means"


def _entry(path: Path) -> FileEntry:
    return FileEntry(path=path.name, sha256=file_sha256(path), size_bytes=path.stat().st_size)
