"""Which numbers of a tail can be trained."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from featx.finetune.graph.flow import OF_SHAPE

Kind = Literal["matrix", "norm", "bias"]

Tune = Literal["all", "norm"]

ROLES: dict[str, dict[int, Kind]] = {
    "BatchNormalization": {1: "norm", 2: "norm"},
    "Conv": {1: "matrix", 2: "bias"},
    "ConvTranspose": {1: "matrix", 2: "bias"},
    "Einsum": {0: "matrix", 1: "matrix"},
    "GRU": {1: "matrix", 2: "matrix", 3: "bias"},
    "Gather": {0: "matrix"},
    "Gemm": {0: "matrix", 1: "matrix", 2: "bias"},
    "GroupNormalization": {1: "norm", 2: "norm"},
    "InstanceNormalization": {1: "norm", 2: "norm"},
    "LSTM": {1: "matrix", 2: "matrix", 3: "bias"},
    "LayerNormalization": {1: "norm", 2: "norm"},
    "MatMul": {0: "matrix", 1: "matrix"},
    "PRelu": {1: "norm"},
    "RMSNormalization": {1: "norm"},
    "RNN": {1: "matrix", 2: "matrix", 3: "bias"},
}
"""Operator → which of its inputs are weights, and of what kind."""

VECTORS: dict[str, Kind] = {"Add": "bias", "Mul": "norm"}
"""Operators either of whose inputs is a weight if it is a vector: a matrix may be a mask."""

MASKED = -1e3
"""What is added where nothing may be looked at lies below; no bias does."""


@dataclass(frozen=True)
class Weight:
    """One place where a node reads a weight."""

    node: NodeProto
    place: int
    kind: Kind

    @property
    def name(self) -> str:
        """The initializer."""
        return str(self.node.input[self.place])


def trainable(tail: ModelProto, *, tune: Tune = "all") -> list[str]:
    """Return the initializers that can be trained, in the order in which they are read.

    Parameters
    ----------
    tail : ModelProto
        Its first input is the value that the graph was cut at.
    tune : {"all", "norm"}
        ``"norm"``: only norms and biases.

    Returns
    -------
    list of str
        float32, of rank 1 or more, each a weight of a node that the cut's value flows through: a
        table that only the mask or the positions go through is none, nor is a constant.
    """
    graph = tail.graph
    tensors = {each.name: each for each in graph.initializer}
    found = weights(graph.node, tensors, graph.input[0].name)
    return list(dict.fromkeys(w.name for w in found if tune == "all" or w.kind != "matrix"))


def weights(
    nodes: Sequence[NodeProto], tensors: Mapping[str, TensorProto], start: str
) -> Iterator[Weight]:
    """Yield the weights of those nodes that the numbers of the value `start` flow through.

    Parameters
    ----------
    nodes : sequence of NodeProto
        In an order in which they can run.
    tensors : mapping of str to TensorProto
        The initializers.
    start : str
    """
    reached = {start}
    for node in nodes:
        if node.op_type in OF_SHAPE or reached.isdisjoint(node.input):
            continue
        reached.update(name for name in node.output if name)
        for place, name in enumerate(node.input):
            tensor = tensors.get(name)
            if tensor is not None and (kind := _kind(node.op_type, place, tensor)):
                yield Weight(node, place, kind)


def _kind(operator: str, place: int, tensor: TensorProto) -> Kind | None:
    sizes = [size for size in tensor.dims if size > 1]
    if tensor.data_type != TensorProto.FLOAT or not tensor.dims:
        return None
    if operator not in VECTORS:
        return ROLES.get(operator, {}).get(place)
    if len(sizes) != 1 or (numpy_helper.to_array(tensor) < MASKED).any():
        return None
    return VECTORS[operator]
