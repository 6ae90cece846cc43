"""Blocks of a network: what lies between the sums that close its residual connections."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from featx.backbone.graphs.graph import Graph
from featx.finetune.graph.flow import Flow

PRODUCTS = frozenset({"MatMul", "Einsum"})


@dataclass(frozen=True)
class _Run:
    """Layers between two places where residual connections start or end.

    Attributes
    ----------
    start : int
        Number of the place.
    layers : int
        Bits.
    is_residual : bool
        Whether a sum ends it.
    attends : bool
        Whether it multiplies two values that both come from layers.
    mixes : bool
        Whether it has a convolution of neighbours.
    """

    start: int
    layers: int
    is_residual: bool
    attends: bool
    mixes: bool

    @property
    def is_single(self) -> bool:
        """Whether it is one layer that no connection goes round, such as a projection."""
        return self.layers.bit_count() == 1 and not self.is_residual


def count_blocks(graph: Graph, flow: Flow, places: Sequence[int]) -> list[int | None]:
    """Return how many whole blocks come after each place where a graph can be cut.

    A block of a transformer is attention with the layers up to the next one; of a convolutional
    network, what lies between residual connections.  A single layer between two blocks, such as
    one that halves the resolution, belongs to the next; one at the end to the last.  Without
    residual connections each place starts a block.

    Parameters
    ----------
    graph : Graph
    flow : Flow
        Of this graph.
    places : sequence of int
        For each place the layers before it, as bits; front to back.

    Returns
    -------
    list of int or None
        None for a place inside a block.
    """
    starts = _starts(list(_runs(graph, flow, places)))
    blocks = {start: len(starts) - number for number, start in enumerate(starts)}
    return [blocks.get(number) for number in range(len(places))]


def _starts(runs: Sequence[_Run]) -> list[int]:
    """Return the places where blocks start."""
    has_attention = any(run.attends for run in runs)
    starts: list[int] = []
    waiting: int | None = None
    for number, run in enumerate(runs):
        is_last = number == len(runs) - 1
        start = run.start if waiting is None else waiting
        belongs_before = has_attention and not run.attends and not run.mixes
        if starts and (belongs_before or (is_last and run.is_single)):
            continue
        if run.is_single and not is_last:
            waiting = start
            continue
        starts.append(start)
        waiting = None
    return starts


def _runs(graph: Graph, flow: Flow, places: Sequence[int]) -> Iterator[_Run]:
    sums, begins = _residuals(flow)
    joints = [i for i, bits in enumerate(places) if bits in sums or bits in begins]
    is_chain = not joints
    joints = joints or list(range(len(places)))
    for start, end in zip(joints, [*joints[1:], None], strict=True):
        before = places[start]
        after = flow.all if end is None else places[end]
        yield _Run(
            start,
            after & ~before,
            is_residual=is_chain or after in sums,
            attends=any(bits & ~before and not bits & ~after for bits in _attentions(graph, flow)),
            mixes=any(bits & after & ~before for bits in _convolutions(graph, flow)),
        )


def _residuals(flow: Flow) -> tuple[set[int], set[int]]:
    """Return the layers before each sum that closes a residual connection, and where one starts."""
    makers = {name: i for i, node in enumerate(flow.nodes) for name in node.output}
    sums, begins = set(), set()
    for i, node in enumerate(flow.nodes):
        found = [flow.before[makers[name]] for name in node.input if name in makers]
        if node.op_type != "Add" or len(found) != 2 or not all(found) or found[0] == found[1]:
            continue
        sums.add(flow.before[i])
        begins.add(found[0] & found[1])
    return sums, begins


def _attentions(graph: Graph, flow: Flow) -> list[int]:
    """Return the layers before each product of two values that both come from layers."""
    makers = {name: i for i, node in enumerate(flow.nodes) for name in node.output}
    found = []
    for i, node in enumerate(flow.nodes):
        come = [flow.before[makers[name]] for name in node.input if name in makers]
        if node.op_type == "Attention" or (
            node.op_type in PRODUCTS and len(come) == 2 and all(come)
        ):
            found.append(flow.before[i])
    return found


def _convolutions(graph: Graph, flow: Flow) -> list[int]:
    """Return the bits of the layers that are convolutions of more than one point."""
    tensors = {each.name: each for each in graph.model.graph.initializer}
    found = []
    for position, bit in flow.layers.items():
        node = flow.nodes[position]
        weights = tensors.get(node.input[1]) if node.op_type == "Conv" else None
        if weights is not None and any(size > 1 for size in weights.dims[2:]):
            found.append(bit)
    return found
