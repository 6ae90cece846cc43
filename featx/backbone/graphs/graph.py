"""An ONNX graph that is being changed: who makes a value, who reads it, what is constant."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"

Nodes = Sequence[onnx.NodeProto]

FOLDED = frozenset({"Cast", "Mul", "Div", "Sqrt", "Transpose", "Reshape", "DequantizeLinear"})
"""Operators that weights are commonly stored behind."""


SHAPED = frozenset({"Cast", "DequantizeLinear"})
"""Those of them whose output has the shape of the first input."""


class Graph:
    """A loaded model and what is known of its values.

    Parameters
    ----------
    model : onnx.ModelProto
        Changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self._arrays: dict[str, NDArray[Any] | None] = {}
        self._index()

    @classmethod
    def load(cls, path: Path) -> "Graph":
        """Read a file with its external data."""
        return cls(onnx.load(path))

    @property
    def nodes(self) -> Sequence[onnx.NodeProto]:
        """The nodes, in an order in which they can run."""
        nodes: Sequence[onnx.NodeProto] = self.model.graph.node
        return nodes

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next(int(o.version) for o in self.model.opset_import if o.domain in {"", "ai.onnx"})

    @property
    def inputs(self) -> dict[str, onnx.ValueInfoProto]:
        """Input name → its value info, without initializers."""
        return {
            item.name: item
            for item in self.model.graph.input
            if item.name not in self._initializers
        }

    def maker(self, name: str) -> onnx.NodeProto | None:
        """Return the node that makes a value; None for an input or initializer."""
        return self._makers.get(name)

    def readers(self, name: str) -> list[onnx.NodeProto]:
        """Return the nodes that read a value."""
        return self._readers.get(name, [])

    def constant(self, name: str) -> NDArray[Any] | None:
        """Return the array that a value always is, or None if it depends on an input."""
        if name not in self._arrays:
            self._arrays[name] = self._evaluate(name)
        return self._arrays[name]

    def rows(self, name: str) -> int | None:
        """Return the number of rows of a constant table; None if it is none."""
        stored, maker = name, self.maker(name)
        while maker is not None and maker.op_type in SHAPED:
            stored = maker.input[0]
            maker = self.maker(stored)
        if stored in self._initializers:
            return int(next(iter(self._initializers[stored].dims), 0)) or None
        table = self.constant(name)
        return None if table is None else len(table)

    def weights(self, node: onnx.NodeProto) -> NDArray[np.float32] | None:
        """Return the constant float matrix, shape (K, N), that a MatMul multiplies by, if any."""
        if node.op_type != "MatMul":
            return None
        array = self.constant(node.input[1])
        if array is None or array.ndim != 2 or array.dtype.kind != "f":
            return None
        return array.astype(np.float32, copy=False)

    def add_constant(self, name: str, array: NDArray[Any]) -> str:
        """Add an initializer and return its name."""
        if name not in self._initializers:
            tensor = numpy_helper.from_array(np.asarray(array, order="C"), name)
            self.model.graph.initializer.append(tensor)
            self._initializers[name] = tensor
        return name

    def fold(self) -> None:
        """Store constants as they are, without the nodes that make them."""
        for node in list(self.nodes):
            for place, name in enumerate(node.input):
                made = self.maker(name) is not None and self.constant(node.output[0]) is None
                array = self.constant(name) if made else None
                if array is not None:
                    node.input[place] = self.add_constant(f"{name}/folded", array)
        self.set_nodes(self.nodes)
        self.prune()

    def replace(
        self, old: Iterable[onnx.NodeProto], new: Sequence[onnx.NodeProto], *, at: onnx.NodeProto
    ) -> None:
        """Put `new` where the node `at` is, and drop `old`; nodes are known by what they make."""
        gone = {node.output[0] for node in old}
        nodes: list[onnx.NodeProto] = []
        for node in self.nodes:
            if node.output[0] == at.output[0]:
                nodes += new
            if node.output[0] not in gone:
                nodes.append(node)
        self.set_nodes(nodes)

    def set_nodes(self, nodes: Sequence[onnx.NodeProto]) -> None:
        """Take these nodes instead of the present ones."""
        copies = [_copy(node) for node in nodes]
        del self.model.graph.node[:]
        self.model.graph.node.extend(copies)
        self._index()

    def redirect(self, old: str, new: str, *, nodes: Iterable[Any] | None = None) -> None:
        """Have nodes (all, if none are named) read `new` instead of `old`."""
        for node in self.nodes if nodes is None else nodes:
            for place, name in enumerate(node.input):
                if name == old:
                    node.input[place] = new
        self._index()

    def prune(self) -> None:
        """Drop nodes and initializers that no output needs, and sort the rest so that they run."""
        needed: set[str] = set()
        ordered: dict[int, onnx.NodeProto] = {}
        for item in self.model.graph.output:
            for node in self._ancestors(item.name, needed):
                ordered[id(node)] = node
        self.set_nodes(list(ordered.values()))
        tensors = self.model.graph.initializer
        for place in reversed(range(len(tensors))):  # those that stay are not copied
            if tensors[place].name not in needed:
                del tensors[place]
        del self.model.graph.value_info[:]
        self._index()

    def keep_output(self, name: str) -> None:
        """Make a float value the only output, and drop what it does not need."""
        kept = [item for item in self.model.graph.output if item.name == name]
        made = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        del self.model.graph.output[:]
        self.model.graph.output.extend(kept or [made])
        self.prune()

    def use_microsoft(self) -> None:
        """Declare ONNX Runtime's own operators."""
        if all(item.domain != MICROSOFT for item in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))

    def save(self, path: Path) -> None:
        """Write the model with its weights into one file."""
        self.prune()
        onnx.save(self.model, path)

    def _index(self) -> None:
        self._initializers = {tensor.name: tensor for tensor in self.model.graph.initializer}
        self._makers = {name: node for node in self.nodes for name in node.output if name}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(reads(node)):
                self._readers.setdefault(name, []).append(node)

    def _evaluate(self, name: str) -> NDArray[Any] | None:
        if name in self._initializers:
            array: NDArray[Any] = numpy_helper.to_array(self._initializers[name])
            return array
        node = self.maker(name)
        if node is None or (node.op_type != "Constant" and node.op_type not in FOLDED):
            return None
        arrays = [self.constant(item) for item in node.input]
        if any(array is None for array in arrays):
            return None
        from onnx.reference import ReferenceEvaluator

        opsets = {item.domain: item.version for item in self.model.opset_import}
        evaluator: Any = ReferenceEvaluator(node, opsets=opsets)
        results = evaluator.run(None, dict(zip(node.input, arrays, strict=True)))
        found: NDArray[Any] = np.asarray(results[0])
        return found

    def _ancestors(self, name: str, needed: set[str]) -> Iterator[onnx.NodeProto]:
        """Yield the nodes that a value needs, each after those that it needs itself."""
        stack: list[tuple[str, bool]] = [(name, False)]
        while stack:
            current, is_ready = stack.pop()
            node = self.maker(current)
            if is_ready:
                assert node is not None
                yield node
            elif current not in needed:
                needed.add(current)
                if node is not None:
                    stack.append((current, True))
                    stack.extend((item, False) for item in reads(node))


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield the values that a node reads, those that its subgraphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from reads(inner)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied
