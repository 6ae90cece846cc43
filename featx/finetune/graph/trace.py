"""What the values of a graph are at one batch shape: shapes, types, and those that never change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from featx.errors import DeviceMemoryError, InputError
from featx.modality.content import first_line

Arrays = Mapping[str, NDArray[Any]]

LARGE_BYTES = 1 << 16
"""Weights above this are fed instead of stored, so that no copy of a graph comes near 2 GB."""

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike"}
    | {"RandomUniformLike"}
)


@dataclass(frozen=True)
class Traced:
    """What is known of every value of a graph: inputs, initializers, outputs of nodes.

    Attributes
    ----------
    shapes : dict of str to tuple of int
        Real shapes, batch included.
    dtypes : dict of str to numpy.dtype
    constants : dict of str to ndarray
        Values that follow from initializers and from shapes alone, and so are the same for every
        batch of this shape: whole numbers and truth values of any size, other numbers only where
        they stand alone.
    """

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, np.dtype[Any]]
    constants: dict[str, NDArray[Any]]

    def is_float(self, name: str) -> bool:
        """Return whether there is such a value, of floating-point numbers."""
        return name in self.dtypes and self.dtypes[name].kind == "f"


def trace(model: ModelProto, feeds: Arrays) -> Traced:
    """Run a graph once on the CPU and return what its values are.

    It takes the memory and time of one forward pass: only shapes are brought out.

    Parameters
    ----------
    model : ModelProto
        Not changed.  The shapes that it claims are not used.
    feeds : mapping of str to ndarray
        A value for each input, of the shape that the graph is traced for.

    Raises
    ------
    InputError
        If ONNX Runtime cannot load the graph, or cannot run it on these feeds.
    """
    from featx.backbone.runtime import open_session

    stored, fed = _weights(model)
    constants = _constant_names(model, {**stored, **fed})
    made = [name for node in model.graph.node for name in node.output if name]
    session = open_session(
        _probe(model, {**feeds, **fed}, made, constants).SerializeToString(), device="cpu"
    )
    try:
        found = session.run(session.outputs, {k: _fed(feeds, fed, k) for k in session.inputs})
    except DeviceMemoryError:
        raise
    except Exception as cause:  # ONNX Runtime's errors have no base of their own
        message = f"graph: cannot be run at these shapes: {first_line(cause)}"
        raise InputError(message) from cause
    results: dict[str, NDArray[Any]] = dict(zip(session.outputs, found, strict=True))
    known = {**stored, **fed, **feeds} | {name: results[name] for name in made if name in results}
    shapes = {name: array.shape for name, array in known.items()}
    dtypes = {name: array.dtype for name, array in known.items()}
    for name in made:
        if name not in known:
            shapes[name] = tuple(results[_shape(name)].tolist())
            dtypes[name] = results[_none(name)].dtype
    return Traced(shapes, dtypes, {k: known[k] for k in constants if _is_kept(known[k])})


def _weights(model: ModelProto) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the initializers: those that stay in the graph, and the large ones."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    large = {
        name: array
        for name, array in arrays.items()
        if array.dtype.kind == "f" and array.nbytes > LARGE_BYTES
    }
    return {name: arrays[name] for name in arrays.keys() - large.keys()}, large


def _constant_names(model: ModelProto, initializers: Iterable[str]) -> list[str]:
    """Return the values that depend on no number that is fed."""
    constant = dict.fromkeys(initializers)
    for node in model.graph.node:
        of_shapes = node.op_type in {"Shape", "Size"}
        has_subgraph = any(each.HasField("g") or each.graphs for each in node.attribute)
        settled = all(name in constant for name in node.input if name) and not has_subgraph
        if of_shapes or (settled and node.op_type not in _RANDOM):
            constant |= dict.fromkeys(name for name in node.output if name)
    return list(constant)


def _probe(model: ModelProto, inputs: Arrays, made: list[str], constants: list[str]) -> ModelProto:
    """Return a copy whose outputs are constants, and the shapes and types of all other values."""
    probe = ModelProto()
    probe.CopyFrom(model)
    graph = probe.graph
    for field in (graph.input, graph.output, graph.value_info, graph.initializer):
        del field[:]
    graph.input.extend(
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in inputs.items()
    )
    graph.initializer.extend(each for each in model.graph.initializer if each.name not in inputs)
    graph.initializer.extend(
        numpy_helper.from_array(np.array([number], dtype=np.int64), f"{_PREFIX}{number}")
        for number in (-1, 0)
    )
    whole = set(constants)
    for name in made:
        if name in whole:
            outputs = [name]
        else:
            graph.node.extend(_shape_and_type(name))
            outputs = [_shape(name), _none(name)]
        graph.output.extend(map(helper.make_empty_tensor_value_info, outputs))
    return probe


_PREFIX = "featx/trace/"


def _shape(name: str) -> str:
    return f"{_PREFIX}shape/{name}"


def _none(name: str) -> str:
    return f"{_PREFIX}none/{name}"


def _shape_and_type(name: str) -> list[NodeProto]:
    """Return nodes that make the shape of a value, and no elements of its type."""
    flat, zero = f"{_PREFIX}flat/{name}", f"{_PREFIX}0"
    return [
        helper.make_node("Shape", [name], [_shape(name)]),
        helper.make_node("Reshape", [name, f"{_PREFIX}-1"], [flat]),
        helper.make_node("Slice", [flat, zero, zero], [_none(name)]),
    ]


def _fed(feeds: Arrays, weights: Arrays, name: str) -> NDArray[Any]:
    return feeds[name] if name in feeds else weights[name]


def _is_kept(array: NDArray[Any]) -> bool:
    return array.dtype.kind in "iub" or prod(array.shape) == 1
