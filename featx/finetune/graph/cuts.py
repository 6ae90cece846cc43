"""Where a graph can be cut in two, so that the part behind can be trained by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from math import prod

import numpy as np
from onnx import NodeProto, TensorProto

from featx.backbone.graphs.graph import Graph
from featx.backbone.graphs.probing import Feeds
from featx.errors import InputError
from featx.finetune.graph.blocks import count_blocks
from featx.finetune.graph.flow import OF_SHAPE, Flow, flow_of
from featx.finetune.graph.parameters import weights
from featx.finetune.graph.shapes import BATCH, LENGTH, Shape, detach_shapes, symbolic_shapes
from featx.finetune.graph.tail import Tail, tail_of
from featx.finetune.graph.trace import Traced, trace

CACHED_BYTES = 2
"""Of a number at the cut: float16."""


@dataclass(frozen=True)
class Cut:
    """A value that all layers in front flow into, and that all layers behind start from.

    Attributes
    ----------
    tensor : str
        Name of the value.
    shape : Shape
        ``("batch", 192, 7, 7)`` or ``("batch", "length", 384)``.
    layers_after : int
        Nodes behind with a matrix of weights.
    parameters_after : int
        Numbers behind that can be trained.
    blocks : int or None
        How many blocks lie behind; None within one.
    extra_inputs : tuple of str
        Inputs of the graph that are read behind too, such as the attention mask.
    input_shapes : dict of str to Shape
        Of all inputs of the graph.
    """

    tensor: str
    shape: Shape
    layers_after: int
    parameters_after: int
    blocks: int | None
    extra_inputs: tuple[str, ...] = ()
    input_shapes: dict[str, Shape] = field(default_factory=dict)

    @property
    def grows(self) -> bool:
        """Whether the value is larger for a longer text."""
        return LENGTH in self.shape

    @property
    def values_a_sample(self) -> int:
        """Numbers of one row: of an image, a window of a sound; of one token if it `grows`."""
        return prod(size for size in self.shape if isinstance(size, int))

    @property
    def bytes_a_sample(self) -> int:
        """What `values_a_sample` take in a cache, as float16."""
        return CACHED_BYTES * self.values_a_sample


def find_cuts(graph: Graph, feeds: Sequence[Feeds], *, name: str = "graph") -> list[Cut]:
    """Return where a graph can be cut, front to back, one place between each two layers.

    A layer is a node with a matrix of weights.  A value is a cut if all layers either feed it or
    are fed by it, and those that feed it feed nothing else: it post-dominates them.  Side inputs
    such as a mask are computed on both sides.  Of several values between the same layers the
    smallest is taken, and of those the last.

    Parameters
    ----------
    graph : Graph
        With one output.  Changed in place: what asks an inner value for its shape asks the inputs.
    feeds : sequence of Feeds
        Batches of different sizes, see `featx.finetune.graph.shapes.probe_feeds`.
    name : str
        What messages call it.

    Raises
    ------
    InputError
        If it cannot be run, or cannot be cut anywhere.
    """
    try:
        runs = [trace(graph.model, each) for each in feeds]
    except InputError as cause:
        message = f"{name}: {cause}"
        raise InputError(message) from cause
    shapes = symbolic_shapes(list(graph.inputs), [run.shapes for run in runs])
    graph.prune()
    detach_shapes(graph, shapes)
    flow = flow_of(graph)
    inputs = {each: shapes[each] for each in graph.inputs}
    values = _values(graph, flow, shapes, runs[0])
    tails = {place: tail_of(graph, v, shapes[v], inputs) for place, v in values.items()}
    places = sorted((p for p in tails if not _reads_numbers(graph, tails[p])), key=int.bit_count)
    if not places:
        message = (
            f"{name}: cannot be cut: none of its values lies between its layers alone"
            f" ({len(flow.layers)} layers with weights); choose another model"
        )
        raise InputError(message)
    tensors = {each.name: each for each in graph.model.graph.initializer}
    return [
        Cut(
            values[place],
            shapes[values[place]],
            layers_after=(flow.all & ~place).bit_count(),
            parameters_after=_count(tails[place], values[place], tensors),
            blocks=blocks,
            extra_inputs=tails[place].inputs,
            input_shapes=inputs,
        )
        for place, blocks in zip(places, count_blocks(graph, flow, places), strict=True)
    ]


def cut_for_blocks(cuts: Sequence[Cut], blocks: int) -> Cut:
    """Return the cut with so many blocks behind.

    Parameters
    ----------
    cuts : sequence of Cut
        Of one graph.
    blocks : int

    Raises
    ------
    InputError
        If there is none; says how many blocks there are.
    """
    known = {cut.blocks: cut for cut in cuts if cut.blocks is not None}
    if blocks in known:
        return known[blocks]
    most = f"1 to {max(known)}" if len(known) > 1 else "1"
    message = f"blocks = {blocks}; expected {most}; list the cuts: featx models cuts"
    raise InputError(message)


def cut_named(cuts: Sequence[Cut], tensor: str) -> Cut:
    """Return the cut at a value of this name.

    Raises
    ------
    InputError
        If it is none; names the nearest one.
    """
    known = {cut.tensor: cut for cut in cuts}
    if tensor in known:
        return known[tensor]
    near = get_close_matches(tensor, known, n=1)
    hint = f"the nearest is {near[0]!r}" if near else f"the last is {cuts[-1].tensor!r}"
    message = f"no cut {tensor!r}; {hint}; list them: featx models cuts"
    raise InputError(message)


def _values(graph: Graph, flow: Flow, shapes: Mapping[str, Shape], run: Traced) -> dict[int, str]:
    """Return for each set of layers that can be divided off the value that does so."""
    found: dict[int, str] = {}
    for position, node in enumerate(flow.nodes):
        value = _value(graph, node)
        if flow.divides(position) and _can_be_stored(shapes.get(value, ()), run, value):
            known = found.get(flow.before[position], value)
            sizes = [prod(run.shapes[each][1:]) for each in (known, value)]
            found[flow.before[position]] = value if sizes[1] <= sizes[0] else known
    return found


def _value(graph: Graph, node: NodeProto) -> str:
    """Return the one value that a node makes for others; empty if there are several or none."""
    read = [name for name in node.output if name and graph.readers(name)]
    return read[0] if len(read) == 1 and node.op_type not in OF_SHAPE else ""


def _can_be_stored(shape: Shape, run: Traced, value: str) -> bool:
    """Return whether a value is float32 with one row a sample, and grows with its length alone."""
    if len(shape) < 2 or shape[0] != BATCH or run.dtypes[value] != np.float32:
        return False
    return all(
        isinstance(size, int) or (size, place) == (LENGTH, 1)
        for place, size in enumerate(shape)
        if place
    )


def _reads_numbers(graph: Graph, tail: Tail) -> bool:
    """Return whether a tail reads an item itself, not only its mask or other whole numbers."""
    kinds = [graph.inputs[name].type.tensor_type.elem_type for name in tail.inputs]
    return TensorProto.FLOAT in kinds


def _count(tail: Tail, value: str, tensors: Mapping[str, TensorProto]) -> int:
    """Return how many numbers of a tail can be trained."""
    return sum(prod(tensors[each.name].dims) for each in weights(tail.nodes, tensors, value))
