"""What a graph takes and gives, as its file states it; weights are not read."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from featx.backbone.graphs.external import read_safely
from featx.zoo.manifest import Precision

if TYPE_CHECKING:
    from onnx import GraphProto, ValueInfoProto

FEW_BITS = ("DynamicQuantizeLinear", "QuantizeLinear", "MatMulInteger", "ConvInteger", "QLinear")
FEW_BITS_PACKED = ("MatMulNBits", "QGemm", "QAttention")


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph.

    Attributes
    ----------
    name : str
    dtype : str
        Of ONNX, such as ``FLOAT`` or ``INT64``.
    shape : tuple of int or str, or None
        Sizes that are fixed, and names of those that are not; None if not even their number is
        stated.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None

    @property
    def rank(self) -> int | None:
        """Number of axes."""
        return None if self.shape is None else len(self.shape)

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name!r} {self.dtype.lower()} of unknown shape"
        return f"{self.name!r} {self.dtype.lower()} ({', '.join(map(str, self.shape))})"


@dataclass(frozen=True, slots=True)
class Signature:
    """What a graph takes and gives, and in what it computes."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    precision: Precision

    def output(self, name: str) -> Port | None:
        """Return an output by its name."""
        return next((port for port in self.outputs if port.name == name), None)


def read_signature(path: Path) -> Signature:
    """Read a graph without its weights.

    Raises
    ------
    InputError
        If it is no ONNX graph, or refers to files that it may not.
    """
    graph = read_safely(path)
    given = {tensor.name for tensor in graph.initializer}
    return Signature(
        tuple(_port(item) for item in graph.input if item.name not in given),
        tuple(_port(item) for item in graph.output),
        _precision(graph),
    )


def _port(item: "ValueInfoProto") -> Port:
    from onnx import TensorProto

    kind = item.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(
            dim.dim_value if dim.dim_value > 0 else dim.dim_param or "?" for dim in kind.shape.dim
        )
    known = {int(number): name for name, number in TensorProto.DataType.items()}
    return Port(item.name, known.get(kind.elem_type, f"TYPE {kind.elem_type}"), shape)


def _precision(graph: "GraphProto") -> Precision:
    """Return what a graph computes in: weights that are cast before they are used do not count."""
    from onnx import TensorProto

    kinds = {node.op_type for node in graph.node}
    if any(kind.startswith(FEW_BITS) or kind in FEW_BITS_PACKED for kind in kinds):
        return "int8"
    halves = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT16}
    computes_in_half = any(
        node.op_type != "Cast" and not halves.isdisjoint(node.input) for node in graph.node
    )
    return "fp16" if computes_in_half else "fp32"
