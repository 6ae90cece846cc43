"""A backbone's graph in float32 and standard operators, whatever way it is stored in its file."""

from pathlib import Path

import numpy as np
import onnx

from featx.backbone.graphs.external import read_safely
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.pooling import append_embedding
from featx.backbone.graphs.probing import Feeds
from featx.backbone.runtime import Session, open_session
from featx.errors import InputError
from featx.finetune.graph.constants import store_constants, widen
from featx.finetune.graph.decompose import decompose, needs_shapes
from featx.finetune.graph.passing import drop_passing
from featx.finetune.graph.refusing import refuse_others
from featx.finetune.graph.running import run, run_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.trace import trace
from featx.modality.content import first_line
from featx.types import Vectors
from featx.zoo.manifest import Manifest

LEAST_OPSET, OPSET = 13, 17
"""ONNX operators; from 13 to 17 some were added, and none changed its meaning at inference."""

LEAST_IR = 8
"""Version of the format that opset 17 came with."""

AGREEMENT, ROUNDED_AGREEMENT = 1e-4, 3e-2
"""Largest difference to the file's own output, as a share of its largest number.

The order of float32 sums moves it by some 1e-6, half precision by some 1e-3, and so does the
kernel that ONNX Runtime takes for weights behind a DequantizeLinear; what is wrong by 1.
"""


def plain_graph(manifest: Manifest) -> Graph:
    """Return a backbone's graph with plain weights, pooling and scaling to unit length.

    Weights are initializers of float32 under the name of what they are computed as; Constant,
    Identity and Dropout are gone, fused operators are written out, half precision is widened.
    Names of other values stay, that of the manifest's own output among them.

    Parameters
    ----------
    manifest : Manifest

    Returns
    -------
    Graph
        With one output, `featx.backbone.graphs.pooling.EMBEDDING`, (B, D) in float32: of a text
        or an image its vector, of a sound that of one window.

    Raises
    ------
    InputError
        If the file is missing, is no graph that ONNX Runtime can run, refers to files that it may
        not or that are missing, computes in few bits or with operators of ONNX Runtime alone, or
        gives something else than its manifest says.
    """
    path = manifest.file("graph")
    session = open_session(path, device="cpu")
    output = _output(manifest, session)
    try:
        graph = _rewritten(manifest, Graph(_loaded(path)), output, session)
    except InputError as cause:
        is_named = str(cause).startswith((f"{manifest.name}: ", f"{path}: "))
        message = str(cause) if is_named else f"{manifest.name}: {cause}"
        raise InputError(message) from cause
    mask = manifest.inputs.get("attention_mask", "")
    if manifest.pooling in {"mean", "last_token"} and not mask:
        message = (
            f"{manifest.name}: pooling = {manifest.pooling!r}, and its graph takes no"
            " 'attention_mask'; expected one; export the model with its mask as an input"
        )
        raise InputError(message)
    append_embedding(
        graph, output, pooling=manifest.pooling, mask=mask, normalize=_scales(manifest)
    )
    return graph


def _scales(manifest: Manifest) -> bool:
    """Return whether each row has unit length: of a sound, before its windows are averaged."""
    audio = manifest.audio
    return manifest.normalize and (audio is None or audio.window_pooling == "unit_mean")


def _output(manifest: Manifest, session: Session) -> str:
    """Return the name of the output that becomes the embedding."""
    output = manifest.output
    if output not in session.outputs:
        known = ", ".join(session.outputs)
        message = f"{manifest.name}: its graph has no output {output!r}; it has: {known}"
        raise InputError(message)
    return output


def _loaded(path: Path) -> onnx.ModelProto:
    """Read a file that has been loaded by ONNX Runtime before, its external data included."""
    read_safely(path)
    try:
        return onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as cause:
        message = f"{path}: cannot be read: {str(cause).splitlines()[0]}"
        raise InputError(message) from cause


def _rewritten(manifest: Manifest, graph: Graph, output: str, session: Session) -> Graph:
    """Return the graph in plain operators, which gives what the file gives."""
    feeds = probe_feeds(graph, manifest)[0]
    wanted = run(session, output, feeds)
    _check_shape(manifest, feeds, wanted)
    graph = Graph(_modern(graph.model))
    graph.keep_output(output)
    is_rounded = any(node.op_type == "DequantizeLinear" for node in graph.nodes)
    store_constants(graph)
    is_rounded |= widen(graph.model)
    graph = Graph(graph.model)
    decompose(graph, trace(graph.model, feeds).shapes if needs_shapes(graph) else {})
    drop_passing(graph)
    refuse_others(manifest, graph)
    found = run_graph(graph, output, feeds)
    _compare(found, wanted, allowed=ROUNDED_AGREEMENT if is_rounded else AGREEMENT)
    del graph.model.opset_import[1:]
    return graph


def _check_shape(manifest: Manifest, feeds: Feeds, rows: Vectors) -> None:
    """Raise unless a graph gives as many rows, and as wide ones, as its manifest says."""
    rank, batch = 2 if manifest.pooling == "none" else 3, len(next(iter(feeds.values())))
    if rows.ndim != rank or (len(rows), rows.shape[-1]) != (batch, manifest.dim):
        between = "" if rank == 2 else "tokens, "
        message = (
            f"{manifest.name}: its graph gives {rows.shape} for {batch} rows; its manifest says"
            f" ({batch}, {between}{manifest.dim}); correct dim or pooling there"
        )
        raise InputError(message)


def _compare(found: Vectors, wanted: Vectors, *, allowed: float) -> None:
    """Raise unless the rewritten graph gives what the file gives."""
    wide = wanted.astype(np.float64)
    if found.shape == wanted.shape:
        difference = float(np.abs(found - wide).max() / max(np.abs(wide).max(), 1e-30))
        if difference <= allowed:
            return
        reason = f"differs by {difference:.2g} of its largest number; allowed: {allowed:g}"
    else:
        reason = f"is of shape {found.shape}, not {wanted.shape}"
    message = f"its output, rewritten in plain float32 operators, {reason}; export the model anew"
    raise InputError(message)


def _modern(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a model without functions, of a version that all that is added to it knows."""
    from onnx import inliner, version_converter

    if model.graph.sparse_initializer:
        message = "has sparse weights; export the model with dense ones"
        raise InputError(message)
    if model.functions:
        model = inliner.inline_local_functions(model)
    opset = max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=1)
    if opset < LEAST_OPSET:
        try:
            model = version_converter.convert_version(model, OPSET)
        except Exception as cause:  # the converter is C++ and raises what it likes
            reason = first_line(cause)[:200]
            message = (
                f"opset {opset} cannot be brought to {OPSET}: {reason}; export the model"
                f" with opset {OPSET}"
            )
            raise InputError(message) from cause
    others = [each for each in model.opset_import if each.domain not in {"", "ai.onnx"}]
    del model.opset_import[:]
    model.opset_import.extend([onnx.helper.make_opsetid("", max(opset, OPSET)), *others])
    model.ir_version = max(model.ir_version, LEAST_IR)
    given = {item.name for item in model.graph.initializer}
    inputs = [item for item in model.graph.input if item.name not in given]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model
