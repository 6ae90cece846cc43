"""Nodes that are added to a graph, with the static shape and the type of what each one makes."""

from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from featx.finetune.graph.trace import Traced

Shape = Sequence[int]


def opset_of(model: ModelProto) -> int:
    """Return the version of the standard operators."""
    return next(int(each.version) for each in model.opset_import if each.domain in {"", "ai.onnx"})


def _unused_prefix(traced: Traced) -> str:
    """Return what no name of a model starts with."""
    prefix = "gradient"
    while any(name.startswith(f"{prefix}/") for name in traced.shapes):
        prefix += "_"
    return prefix


class Emitter:
    """New nodes for a model, which gets them when they are finished.

    Methods that make a node return the name of its one output.

    Parameters
    ----------
    model : ModelProto
        Changed by `finish` alone.
    traced : Traced
        Of this model.

    Attributes
    ----------
    opset : int
        Version of the standard operators.
    constants : dict of str to ndarray
        Values of the model that never change, as in `Traced`.
    """

    def __init__(self, model: ModelProto, traced: Traced) -> None:
        self.opset = opset_of(model)
        self.constants = traced.constants
        self._model, self._prefix = model, _unused_prefix(traced)
        self._shapes, self._dtypes = dict(traced.shapes), dict(traced.dtypes)
        self._nodes: list[NodeProto] = []
        self._arrays: dict[str, NDArray[Any]] = {}
        self._known: dict[tuple[Any, ...], str] = {}
        self._scaled: dict[str, tuple[str, float]] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a value of the model, or of a new one."""
        return self._shapes[name]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the element type of a value of the model, or of a new one."""
        return self._dtypes[name]

    def is_float(self, name: str) -> bool:
        """Return whether a value is of floating-point numbers."""
        return name in self._dtypes and self._dtypes[name].kind == "f"

    def constant(self, array: NDArray[Any] | float, *, like: str) -> str:
        """Return a stored array, or number, of the type that the value `like` has."""
        return self._stored(np.asarray(array, dtype=self._dtypes[like]))

    def whole(self, numbers: Sequence[int] | NDArray[np.int64]) -> str:
        """Return a stored array of int64, such as a shape or axes."""
        return self._stored(np.asarray(numbers, dtype=np.int64))

    def node(
        self,
        operator: str,
        inputs: Sequence[str],
        shape: Shape,
        *,
        like: str = "",
        **attributes: Any,  # noqa: ANN401 - of every kind that ONNX knows
    ) -> str:
        """Add a node whose one output has `shape`, and the type of `like` or of the first input."""
        name = f"{self._prefix}/{len(self._nodes)}/{operator}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        self._shapes[name] = tuple(int(size) for size in shape)
        self._dtypes[name] = self._dtypes[like or inputs[0]]
        return name

    def unary(self, operator: str, a: str) -> str:
        """Apply an operator that keeps the shape."""
        return self.node(operator, [a], self.shape(a))

    def add(self, a: str, b: str) -> str:
        """Add, as NumPy broadcasts."""
        return self._broadcast("Add", a, b)

    def subtract(self, a: str, b: str) -> str:
        """Subtract `b` from `a`, as NumPy broadcasts."""
        return self._broadcast("Sub", a, b)

    def multiply(self, a: str, b: str) -> str:
        """Multiply, as NumPy broadcasts."""
        return self._broadcast("Mul", a, b)

    def divide(self, a: str, b: str) -> str:
        """Divide `a` by `b`, as NumPy broadcasts."""
        return self._broadcast("Div", a, b)

    def scale(self, a: str, factor: float) -> str:
        """Multiply by a number, in one node with the one that `a` was scaled by before."""
        source, before = self._scaled.get(a, (a, 1))
        if before * factor == 1:
            return source
        made = self.multiply(source, self.constant(before * factor, like=a))
        self._scaled[made] = (source, before * factor)
        return made

    def shift(self, a: str, term: float) -> str:
        """Add a number."""
        return a if term == 0 else self.add(a, self.constant(term, like=a))

    def compare(self, operator: str, a: str, b: str | float) -> str:
        """Return truth values of ``"Greater"``, ``"Less"`` or ``"Equal"``."""
        other = b if isinstance(b, str) else self.constant(b, like=a)
        name = self._broadcast(operator, a, other)
        self._dtypes[name] = np.dtype(bool)
        return name

    def where(self, truth: str, a: str | float, b: str | float, *, like: str) -> str:
        """Take `a` where `truth`, else `b`; numbers get the type of `like`."""
        a = a if isinstance(a, str) else self.constant(a, like=like)
        b = b if isinstance(b, str) else self.constant(b, like=like)
        shape = np.broadcast_shapes(*map(self.shape, (truth, a, b)))
        return self.node("Where", [truth, a, b], shape, like=like)

    def cast(self, a: str, *, like: str) -> str:
        """Return the numbers of `a` in the type of `like`."""
        if self.dtype(a) == self.dtype(like):
            return a
        kind = helper.np_dtype_to_tensor_dtype(self.dtype(like))
        return self.node("Cast", [a], self.shape(a), like=like, to=kind)

    def cast_whole(self, a: str) -> str:
        """Return whole numbers as int64."""
        return self.cast(a, like=self.whole([0]))

    def zeros(self, like: str) -> str:
        """Return zeros of the shape and type of a value."""
        single = self.constant(np.zeros([1] * len(self.shape(like))), like=like)
        return self.expand(single, self.shape(like))

    def extra_output(self, node: NodeProto, place: int, shape: Shape, dtype: np.dtype[Any]) -> str:
        """Have a node of the model give an output that it may leave out, and return its name."""
        node.output.extend([""] * (place + 1 - len(node.output)))
        if not node.output[place]:
            node.output[place] = f"{self._prefix}/{place}/{node.output[0]}"
        name = str(node.output[place])
        self._shapes[name], self._dtypes[name] = tuple(shape), dtype
        return name

    def total(self, names: Sequence[str]) -> str:
        """Add values of one shape."""
        if len(names) < 3:
            return self.add(*names) if len(names) == 2 else names[0]
        return self.node("Sum", names, self.shape(names[0]))

    def sum(self, a: str, axes: Iterable[int], *, keep: bool = True) -> str:
        """Sum over axes, none of them being no change."""
        shape = self.shape(a)
        gone = sorted({axis % len(shape) for axis in axes})
        if not gone:
            return a
        kept = [1 if axis in gone else size for axis, size in enumerate(shape)]
        left = kept if keep else [size for axis, size in enumerate(shape) if axis not in gone]
        if all(shape[axis] == 1 for axis in gone):
            return self.reshape(a, left)
        return self.node("ReduceSum", [a, self.whole(gone)], left, keepdims=int(keep))

    def unbroadcast(self, a: str, shape: Shape) -> str:
        """Sum over the axes along which a value of `shape` was repeated to get that of `a`."""
        wide = self.shape(a)
        extra = len(wide) - len(shape)
        repeated = [
            axis
            for axis, size in enumerate(wide)
            if axis < extra or (shape[axis - extra] == 1 and size != 1)
        ]
        return self.reshape(self.sum(a, repeated), shape)

    def reshape(self, a: str, shape: Shape) -> str:
        """Return the same numbers in another shape of as many elements."""
        if self.shape(a) == tuple(shape):
            return a
        assert prod(self.shape(a)) == prod(shape)
        return self.node("Reshape", [a, self.whole(shape)], shape)

    def expand(self, a: str, shape: Shape) -> str:
        """Repeat along axes of size 1."""
        if self.shape(a) == tuple(shape):
            return a
        return self.node("Expand", [a, self.whole(shape)], shape)

    def transpose(self, a: str, order: Sequence[int]) -> str:
        """Put the axes of `a` in this order."""
        if list(order) == sorted(order):
            return a
        shape = self.shape(a)
        return self.node("Transpose", [a], [shape[axis] for axis in order], perm=list(order))

    def swap(self, a: str) -> str:
        """Transpose the matrices that the last two axes hold."""
        rank = len(self.shape(a))
        return self.transpose(a, [*range(rank - 2), rank - 1, rank - 2])

    def matmul(self, a: str, b: str) -> str:
        """Multiply matrices, as NumPy does; both have two axes at least."""
        x, y = self.shape(a), self.shape(b)
        return self.node("MatMul", [a, b], [*np.broadcast_shapes(x[:-2], y[:-2]), x[-2], y[-1]])

    def inner(self, a: str, b: str, *, alpha: float = 1.0) -> str:
        """Return ``alpha * a.T @ b``, of matrices (N, D) and (N, E).

        The smaller one of `a` and `b` is transposed by a node of its own: on the CPU the product
        of a matrix that is read by columns takes 1.4 times as long.
        """
        (_, d), (_, e) = self.shape(a), self.shape(b)
        if d <= e:
            return self.node("Gemm", [self.swap(a), b], (d, e), alpha=alpha)
        return self.swap(self.node("Gemm", [self.swap(b), a], (e, d), alpha=alpha))

    def cut(self, a: str, axis: int, start: int, stop: int, *, step: int = 1) -> str:
        """Return a part of `a`, along one axis."""
        shape = list(self.shape(a))
        if (start, stop, step) == (0, shape[axis], 1):
            return a
        shape[axis] = len(range(start, stop, step))
        return self.node("Slice", [a, *map(self.whole, ([start], [stop], [axis], [step]))], shape)

    def pad(self, a: str, axis: int, before: int, after: int) -> str:
        """Put zeros around `a`, along one axis."""
        if before == after == 0:
            return a
        shape = list(self.shape(a))
        pads = np.zeros((2, len(shape)), dtype=np.int64)
        pads[:, axis] = before, after
        shape[axis] += before + after
        return self.node("Pad", [a, self.whole(pads.ravel())], shape)

    def finish(self, needed: Iterable[str]) -> None:
        """Append to the model the new nodes that these values need, and forget all others."""
        wanted, kept = set(needed), []
        for node in reversed(self._nodes):
            if node.output[0] in wanted:
                kept.append(node)
                wanted.update(node.input)
        self._model.graph.node.extend(reversed(kept))
        self._model.graph.initializer.extend(
            numpy_helper.from_array(array, name)
            for name, array in self._arrays.items()
            if name in wanted
        )
        self._nodes.clear()

    def _broadcast(self, operator: str, a: str, b: str) -> str:
        return self.node(operator, [a, b], np.broadcast_shapes(self.shape(a), self.shape(b)))

    def _stored(self, array: NDArray[Any]) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = f"{self._prefix}/constant/{len(self._known)}"
            self._known[key] = name
            self._arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
            self._shapes[name], self._dtypes[name] = array.shape, array.dtype
        return self._known[key]
