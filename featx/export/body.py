"""A backbone as a graph that ends in one embedding an item: pooled, cut and scaled inside."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from featx.backbone.graphs.external import read_safely
from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.half import store_half
from featx.backbone.graphs.pooling import EMBEDDING as POOLED
from featx.backbone.graphs.pooling import append_embedding
from featx.errors import InputError
from featx.export.emitter import Emitter, value
from featx.export.names import EMBEDDING, ITEM, OWN, WINDOWS
from featx.export.opsets import LEAST, LEAST_IR
from featx.export.opsets import OWN as OWN_OPSET
from featx.modality.content import first_line

if TYPE_CHECKING:
    from featx.zoo.manifest import Manifest, Precision


def body(manifest: "Manifest", dim: int, *, precision: "Precision" = "fp32") -> Graph:
    """Return the graph of a backbone with the one output `EMBEDDING` (B, `dim`).

    Of sounds also `WINDOWS`: an item is as many rows of a batch as it has windows, and the input
    `ITEM` says which; without it all are of one sound.

    Parameters
    ----------
    manifest : Manifest
    dim : int
        Columns that are kept.
    precision : {"fp32", "fp16"}
        ``"fp16"`` stores the weights as float16 and computes in float32.

    Raises
    ------
    InputError
        If the graph is too old, stored in another precision, or has an input of one of our names.
    """
    graph = _pooled(manifest)
    if precision == "fp16":
        store_half(graph)
    _give_way(graph, manifest)
    emitter = Emitter(graph, "featx/body")
    rows = POOLED
    if manifest.audio is not None:
        rows = _of_items(emitter, rows, unit=manifest.audio.window_pooling == "unit_mean")
    if dim < manifest.dim:
        start, stop, axis = (emitter.constant(f"cut_{n}", [n], np.int64) for n in (0, dim, 1))
        rows = emitter.node("Slice", rows, start, stop, axis)
    if manifest.normalize:
        emitter.unit(rows, output=EMBEDDING)
    else:
        emitter.node("Identity", rows, output=EMBEDDING)
    emitter.finish()
    outputs = [value(EMBEDDING, dim)]
    outputs += [value(WINDOWS, manifest.dim, rows="windows")] if manifest.audio else []
    del graph.model.graph.output[:]
    graph.model.graph.output.extend(outputs)
    return graph


def _pooled(manifest: "Manifest") -> Graph:
    """Return the graph of a backbone that ends in one row a row of its inputs."""
    _require_plain(manifest)
    path = manifest.file("graph")
    read_safely(path)
    try:
        graph = Graph.load(path)
    except (OSError, onnx.checker.ValidationError) as cause:
        message = f"{path}: its weights cannot be read: {first_line(cause)}"
        raise InputError(message) from cause
    if graph.opset < LEAST:
        message = f"{manifest.name}: its graph is of opset {graph.opset}; {LEAST} or more is needed"
        raise InputError(message)
    _tidy(graph.model)
    output = manifest.output
    mask = manifest.inputs.get("attention_mask") or _whole_mask(graph, output)
    append_embedding(graph, output, pooling=manifest.pooling, mask=mask, normalize=False)
    graph.prune()
    return graph


def empty_body(dim: int) -> Graph:
    """Return a graph without nodes, whose input `EMBEDDING` (B, `dim`) is an embedding."""
    graph = helper.make_graph([], "head", [value(EMBEDDING, dim)], [])
    opsets = [helper.make_opsetid("", OWN_OPSET)]
    return Graph(helper.make_model(graph, opset_imports=opsets, ir_version=LEAST_IR))


def _whole_mask(graph: Graph, tokens: str) -> str:
    """Add a mask (B, T) that hides no token, for a graph that takes none."""
    emitter = Emitter(graph, "featx/body")
    two, zero = (emitter.constant(f"number_{n}", [n], np.int64) for n in (2, 0))
    sizes = emitter.node("Slice", emitter.node("Shape", tokens), zero, two)
    one = numpy_helper.from_array(np.ones(1, dtype=np.int64))
    mask = emitter.node("ConstantOfShape", sizes, value=one)
    emitter.finish()
    return mask


def _require_plain(manifest: "Manifest") -> None:
    if manifest.precision != "fp32":
        message = (
            f"{manifest.name}: its graph is {manifest.precision}, which is not exported; "
            "train the head on its fp32 sibling: featx models list"
        )
        raise InputError(message)
    if manifest.text is not None and manifest.text.overflow != "cut":
        message = f"{manifest.name}: long texts in chunks cannot be exported; embed without chunks"
        raise InputError(message)


def _tidy(model: ModelProto) -> None:
    """Leave out what is not computed with."""
    model.ir_version = max(model.ir_version, LEAST_IR)
    model.doc_string = ""
    del model.metadata_props[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def _give_way(graph: Graph, manifest: "Manifest") -> None:
    """Rename what is inside of the backbone and has one of our names."""
    if taken := sorted(OWN & graph.inputs.keys()):
        message = f"{manifest.name}: its input {taken[0]!r} has a name that an export needs"
        raise InputError(message)
    made = {name for node in graph.nodes for name in node.output}
    stored = {tensor.name for tensor in graph.model.graph.initializer}
    names = {name: f"backbone/{name}" for name in OWN & (made | stored)}
    if names:
        _rename(graph.model.graph.node, names)
        for tensor in graph.model.graph.initializer:
            tensor.name = names.get(tensor.name, tensor.name)
        graph.set_nodes(graph.nodes)


def _rename(nodes: Iterable[NodeProto], names: Mapping[str, str]) -> None:
    for node in nodes:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner.node, names)


def _of_items(emitter: Emitter, windows: str, *, unit: bool) -> str:
    """Average the rows of each item, as `featx.backbone.pooling.pool_parts` does."""
    model = emitter.graph.model.graph
    model.input.append(value(ITEM, rows="windows", kind=TensorProto.INT64))
    # An input that has a value already may be left out.
    model.initializer.append(numpy_helper.from_array(np.zeros(1, dtype=np.int64), ITEM))
    rows = emitter.node("Identity", windows, output=WINDOWS)
    if unit:
        rows = emitter.unit(rows)
    axis = emitter.constant("axis", [1], np.int64)
    zero, one = (emitter.constant(name, n, np.int64) for name, n in (("zero", 0), ("one", 1)))
    first = emitter.constant("first", [0], np.int64)
    item = emitter.node("Expand", ITEM, emitter.node("Gather", emitter.node("Shape", rows), first))
    most = emitter.reduced("ReduceMax", item, 0, keep=False)
    items = emitter.node("Range", zero, emitter.node("Add", most, one), one)
    is_of = emitter.cast(emitter.node("Equal", emitter.node("Unsqueeze", items, axis), item))
    total = emitter.node("MatMul", is_of, rows)
    counts = emitter.reduced("ReduceSum", is_of, 1)
    floor = emitter.constant("least_count", 1, np.float32)
    return emitter.node("Div", total, emitter.node("Max", counts, floor))
