"""The graph that really runs: a backbone's own, or one made from it for a precision or a device."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from featx.backbone.graphs.fused import fused_half
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.half import store_half
from featx.backbone.graphs.neighbours import depends_on_neighbours
from featx.backbone.graphs.place import made_once
from featx.backbone.graphs.pooling import EMBEDDING, append_embedding
from featx.backbone.graphs.rows import largest_weight, obstacle, quantize_rows
from featx.errors import InputError
from featx.fingerprint import hash_facts
from featx.zoo.manifest import Manifest, Precision

__all__ = ["REVISION", "Variant", "depends_on_neighbours", "variant"]

REVISION = 3
"""Raised by one whenever a graph is made in another way; part of the fingerprint."""

LEAST_OPSET, MOST_BYTES = 13, 2**31 - 1
"""What is added to a graph for CUDA needs operators of this version, and fits into one file."""

PACKING = "FEATX_PACKING"
"""Environment variable: ``0`` has texts of a batch padded on CUDA, not packed."""


@dataclass(frozen=True, slots=True)
class Variant:
    """The graph that really runs for a manifest.

    Attributes
    ----------
    path : Path
        The manifest's own graph file, or one made from it.
    inputs : dict of str to str
        Role → name of the input.
    output : str
        Name of the output.
    is_pooled : bool
        Whether the output is (N, D) although the manifest's own is (N, T, D); it is not yet cut
        to fewer columns.
    is_normalized : bool
        Whether its rows have unit length already.
    """

    path: Path
    inputs: dict[str, str]
    output: str
    is_pooled: bool = False
    is_normalized: bool = False


def variant(
    manifest: Manifest, *, precision: Precision, device: str, folder: Path | None
) -> Variant:
    """Return the graph that runs, and make it if it was not made before.

    Parameters
    ----------
    manifest : Manifest
        As it is in the zoo: `Manifest.precision` is that of its own graph.
    precision : {"fp32", "fp16", "int8"}
        What to compute in.  ``"fp16"`` on a CPU rounds the weights and computes in float32.
    device : str
        ``"cpu"`` or ``"cuda:<n>"``.
    folder : Path or None
        Graphs are kept below it, in ``graphs``; None: until the process ends.

    Raises
    ------
    InputError
        If there is no such graph for this backbone and device.
    """
    own = _own(manifest)
    kind = device.partition(":")[0]
    allowed = _allowed(manifest, kind)
    if precision not in allowed:
        message = f"{manifest.name}: no {precision} on {kind}; allowed: {', '.join(allowed)}"
        raise InputError(message)
    if manifest.precision != "fp32" or (kind, precision) == ("cpu", "fp32"):
        return own
    if kind == "cuda":
        return _on_cuda(manifest, own, precision, folder)
    if precision == "fp16":
        path = made_once(_key(manifest, "cpu", "fp16"), folder, lambda to: _rounded(own.path, to))
    else:
        path = _quantized(manifest, folder)
    return replace(own, path=path)


def _own(manifest: Manifest) -> Variant:
    output = manifest.output
    return Variant(manifest.file("graph"), manifest.inputs, output)


def _allowed(manifest: Manifest, kind: str) -> list[str]:
    if manifest.precision != "fp32":
        return [manifest.precision]
    return ["fp32", "fp16"] if kind == "cuda" else ["fp32", "fp16", "int8"]


def _key(manifest: Manifest, *how: object) -> str:
    """Return a name that no other graph has, whatever it is made from and how."""
    facts = {
        "featx-graph": REVISION,
        "source": [e.sha256 for r, e in sorted(manifest.files.items()) if r != "tokenizer"],
        "inputs": manifest.inputs,
        "outputs": manifest.outputs,
        "pooling": manifest.pooling,
        "how": list(how),
    }
    return hash_facts(facts)[:32]


def _rounded(source: Path, target: Path) -> None:
    graph = Graph.load(source)
    store_half(graph)
    graph.save(target)


def _quantized(manifest: Manifest, folder: Path | None) -> Path:
    largest = largest_weight()

    def make(target: Path) -> None:
        graph = Graph.load(manifest.file("graph"))
        if reason := obstacle(graph):
            message = f"{manifest.name}: no int8 for {reason}; allowed: fp32, fp16"
            raise InputError(message)
        quantize_rows(graph, manifest, largest=largest)
        graph.save(target)

    return made_once(_key(manifest, "cpu", "int8", largest), folder, make)


def _on_cuda(
    manifest: Manifest, own: Variant, precision: Precision, folder: Path | None
) -> Variant:
    """Return a graph that pools on the device; in float16 its attention is fused."""
    mask = manifest.inputs.get("attention_mask", "")
    pools = can_pool(manifest)
    scales = pools and manifest.normalize and has_one_part(manifest)
    if precision == "fp32" and not scales and (manifest.pooling == "none" or not pools):
        return own
    opset = Graph.load(own.path).opset
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    if opset < LEAST_OPSET or size_bytes > MOST_BYTES:
        if precision == "fp32":
            return own
        message = (
            f"{manifest.name}: no {precision} on cuda for a graph of opset {opset} and "
            f"{size_bytes} bytes; needs opset {LEAST_OPSET} and at most {MOST_BYTES} bytes; "
            "allowed: fp32"
        )
        raise InputError(message)
    packs = precision == "fp16" and os.environ.get(PACKING, "") != "0"

    def make(target: Path) -> None:
        graph = Graph.load(own.path)
        if precision == "fp16":
            graph = fused_half(graph, manifest, own.output, packs=packs)
        if pools:
            append_embedding(
                graph, own.output, pooling=manifest.pooling, mask=mask, normalize=scales
            )
        graph.save(target)

    path = made_once(_key(manifest, "cuda", precision, pools, scales, packs), folder, make)
    return Variant(path, own.inputs, EMBEDDING if pools else own.output, pools, scales)


def can_pool(manifest: Manifest) -> bool:
    """Return whether a graph may pool its tokens: it is told which of them are padding."""
    return manifest.pooling in {"none", "cls"} or "attention_mask" in manifest.inputs


def has_one_part(manifest: Manifest) -> bool:
    """Return whether an item is one row, so that scaling it may come before joining parts."""
    return manifest.audio is None and (manifest.text is None or manifest.text.overflow == "cut")
