"""Shapes of the values of a graph, seen by running it on made-up inputs of several sizes."""

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, ValueInfoProto, helper

from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.probing import Feeds
from featx.errors import InputError
from featx.zoo.manifest import Manifest

Shape = tuple[int | str, ...]
"""Sizes of a value: numbers that are always the same, and names of those that inputs set."""

BATCH, LENGTH, UNKNOWN = "batch", "length", "?"

SEED = 11

SIZES = ((2, 16), (3, 11), (5, 23))
"""Rows and tokens of the made-up batches: all different, so that each size tells its axis."""

_PREFIX = "featx/size"


def probe_feeds(graph: Graph, manifest: Manifest) -> list[Feeds]:
    """Return made-up inputs at three sizes: tokens with padding, or standard normal numbers.

    Parameters
    ----------
    graph : Graph
    manifest : Manifest
        Says how large an image, a window of a sound or an array is, where the graph does not.

    Raises
    ------
    InputError
        If the graph takes batches of one size only.
    """
    rng = np.random.default_rng(SEED)
    most = manifest.max_length or SIZES[-1][1]
    feeds: list[Feeds] = []
    for number, (rows, tokens) in enumerate(SIZES):
        length = tokens if most >= SIZES[-1][1] else max(1, most - number)
        expected = _expected(manifest, length)
        feeds.append(
            {
                name: _made_up(manifest, info, _sizes(manifest, info, rows, expected), rng)
                for name, info in graph.inputs.items()
            }
        )
    return feeds


def symbolic_shapes(
    inputs: Sequence[str], runs: Sequence[Mapping[str, tuple[int, ...]]]
) -> dict[str, Shape]:
    """Return what sets the shape of each value, from its shapes on batches of different sizes.

    Parameters
    ----------
    inputs : sequence of str
        Names of the graph's inputs.
    runs : sequence of mapping of str to tuple of int
        For each batch, value → shape.  No two axes of inputs that may differ have the same sizes
        in all of them.

    Returns
    -------
    dict of str to Shape
        Value → its sizes: a number if it is the same in each run, ``"batch"`` for the first axis
        of inputs, ``"length"`` for another one, then ``"length2"`` and so on; ``"?"`` if none is
        like it.

    Examples
    --------
    >>> runs = [{"ids": (2, 16), "y": (2, 8)}, {"ids": (3, 11), "y": (3, 8)}]
    >>> symbolic_shapes(["ids"], runs)
    {'ids': ('batch', 'length'), 'y': ('batch', 8)}
    """
    names: dict[tuple[int, ...], str] = {}
    others = (LENGTH if number == 1 else f"{LENGTH}{number}" for number in count(1))
    for name in inputs:
        for axis, sizes in enumerate(zip(*(run[name] for run in runs), strict=True)):
            if len(set(sizes)) > 1 and sizes not in names:
                names[sizes] = BATCH if axis == 0 else next(others)
    return {name: _symbolic([run[name] for run in runs], names) for name in runs[0]}


def detach_shapes(graph: Graph, shapes: Mapping[str, Shape]) -> int:
    """Have each Shape of a value read the inputs instead, and return how many there were.

    A graph that asks an inner value for its shape seems to depend on the numbers of that value.

    Parameters
    ----------
    graph : Graph
        Changed in place; what it computes at the sizes of `shapes` stays the same.
    shapes : mapping of str to Shape
        Of this graph.
    """
    inputs = {name: shapes[name] for name in graph.inputs}
    nodes: list[NodeProto] = []
    detached = 0
    for node in graph.nodes:
        made = None
        if node.op_type == "Shape" and node.input[0] not in inputs:
            made = size_nodes(graph, node, wanted_sizes(node, shapes), inputs)
        nodes += [node] if made is None else made
        detached += made is not None
    if detached:
        graph.set_nodes(_once(nodes))
        graph.prune()
    return detached


def wanted_sizes(node: NodeProto, shapes: Mapping[str, Shape]) -> Shape:
    """Return what a Shape node gives."""
    ends = {each.name: each.i for each in node.attribute}
    return shapes.get(node.input[0], (UNKNOWN,))[slice(ends.get("start", 0), ends.get("end"))]


def size_nodes(
    graph: Graph, node: NodeProto, sizes: Shape, sources: Mapping[str, Shape]
) -> list[NodeProto] | None:
    """Return nodes that make what a Shape node makes from the shapes of other values.

    Parameters
    ----------
    graph : Graph
        Gets the constants.
    node : NodeProto
        The Shape that they take the place of.
    sizes : Shape
        What it gives.
    sources : mapping of str to Shape
        Values that may be asked, the first one first.

    Returns
    -------
    list of NodeProto or None
        None if one of the sizes is no source's.
    """
    parts: list[str] = []
    nodes: list[NodeProto] = []
    if not sizes:
        return None
    for size in sizes:
        if isinstance(size, int):
            parts.append(graph.add_constant(f"{_PREFIX}/{size}", np.array([size], dtype=np.int64)))
            continue
        source = next((name for name, shape in sources.items() if size in shape), None)
        if source is None or size == UNKNOWN:
            return None
        axis = sources[source].index(size)
        place = graph.add_constant(f"{_PREFIX}/axis/{axis}", np.array([axis], dtype=np.int64))
        whole, part = f"{_PREFIX}/of/{source}", f"{_PREFIX}/of/{source}/{axis}"
        nodes.append(helper.make_node("Shape", [source], [whole], name=whole))
        nodes.append(helper.make_node("Gather", [whole, place], [part], name=part, axis=0))
        parts.append(part)
    return [*nodes, helper.make_node("Concat", parts, [node.output[0]], name=node.name, axis=0)]


def _once(nodes: Sequence[NodeProto]) -> list[NodeProto]:
    """Drop nodes that make what was made before."""
    return list({tuple(node.output): node for node in nodes}.values())


def _symbolic(shapes: Sequence[tuple[int, ...]], names: Mapping[tuple[int, ...], str]) -> Shape:
    if len({len(shape) for shape in shapes}) > 1:
        return (UNKNOWN,)
    return tuple(
        sizes[0] if len(set(sizes)) == 1 else names.get(sizes, UNKNOWN)
        for sizes in zip(*shapes, strict=True)
    )


def _expected(manifest: Manifest, length: int) -> tuple[int, ...]:
    """Return the shape of one row of an input: a text's tokens, an image's pixels, ..."""
    if manifest.image is not None:
        return (3, *(*manifest.image.size, *manifest.image.size)[:2])
    if manifest.audio is not None:
        audio = manifest.audio
        is_wave = audio.features == "waveform"
        samples = audio.window_frames * audio.hop_length
        return (samples,) if is_wave else (audio.window_frames, audio.n_mels)
    if manifest.array is not None:
        return manifest.array.shape or (manifest.dim,)
    return (length,)


def _sizes(
    manifest: Manifest, info: ValueInfoProto, rows: int, expected: tuple[int, ...]
) -> tuple[int, ...]:
    axes = info.type.tensor_type.shape.dim
    if not axes or axes[0].dim_value not in {0, rows}:
        found = f"{axes[0].dim_value} rows" if axes else "no rows"
        message = (
            f"{manifest.name}: input {info.name!r} takes {found} at a time; expected any number;"
            " export the model with a dynamic batch axis"
        )
        raise InputError(message)
    others = [
        int(axis.dim_value) or (expected[place] if place < len(expected) else expected[-1])
        for place, axis in enumerate(axes[1:])
    ]
    return (rows, *others)


def _made_up(
    manifest: Manifest, info: ValueInfoProto, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any]:
    """Return numbers for one input; of token ids only 0 and 1, which every vocabulary has."""
    kind = helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
    role = next((role for role, name in manifest.inputs.items() if name == info.name), "")
    if role == "attention_mask":
        ends = shape[1] - np.arange(shape[0]) % shape[1]
        return (np.arange(shape[1]) < ends[:, None]).astype(kind)
    if role == "token_ids":
        return rng.integers(0, 2, shape).astype(kind)
    if np.issubdtype(kind, np.floating):
        return rng.standard_normal(shape).astype(kind)
    return np.zeros(shape, dtype=kind)
