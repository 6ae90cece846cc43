"""One node, or a few, for each form of an operator that has a gradient."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, helper

Shape = tuple[int, ...]

make = helper.make_node


@dataclass(frozen=True)
class Case:
    """Nodes that make ``y``, of values that gradients are taken by and of constant ones."""

    name: str
    nodes: Sequence[NodeProto]
    floats: Mapping[str, Shape | NDArray[np.float32]]
    constants: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    opset: int = 20

    @property
    def operators(self) -> set[str]:
        return {node.op_type for node in self.nodes}

    def values(self) -> dict[str, NDArray[np.float32]]:
        """Return normal numbers where only a shape is given."""
        rng = np.random.default_rng(4)
        return {
            name: rng.standard_normal(each).astype(np.float32) if isinstance(each, tuple) else each
            for name, each in self.floats.items()
        }


def whole(*numbers: int) -> NDArray[np.int64]:
    return np.array(numbers, dtype=np.int64)


def positive(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(9).uniform(0.5, 2, shape).astype(np.float32)


def one(
    operator: str,
    floats: Mapping[str, Shape | NDArray[np.float32]],
    *,
    name: str = "",
    opset: int = 20,
    constants: Mapping[str, NDArray[Any]] | None = None,
    inputs: Sequence[str] = (),
    **attributes: Any,  # noqa: ANN401
) -> Case:
    """Return a case of one node, which reads its floats and then its constants."""
    read = inputs or [*floats, *(constants or {})]
    node = make(operator, read, ["y"], **attributes)
    return Case(f"{operator}-{name}".rstrip("-"), [node], floats, constants or {}, opset)


def cases() -> Iterator[Case]:
    yield from elementwise()
    yield from arithmetic()
    yield from products()
    yield from moved()
    yield from taken()
    yield from reduced()
    yield from normalised()
    yield from convolved()
    yield from pooled()


def elementwise() -> Iterator[Case]:
    x: dict[str, Shape | NDArray[np.float32]] = {"x": (3, 7)}
    for operator in (
        *("Abs", "Cos", "Erf", "Exp", "Sin", "Identity", "Neg"),
        *("Celu", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "Relu", "Selu"),
        *("Sigmoid", "Softplus", "Softsign", "Tanh"),
    ):
        yield one(operator, x)
    for operator in ("Log", "Reciprocal", "Sqrt"):
        yield one(operator, {"x": positive(3, 7)})
    wide: dict[str, Shape | NDArray[np.float32]] = {"x": np.linspace(-5, 5, 20, dtype=np.float32)}
    yield one("HardSwish", wide, name="beyond-its-limits")
    yield one("HardSigmoid", wide, name="alpha", alpha=1 / 6, beta=0.5)
    yield one("Gelu", wide, name="tanh", approximate="tanh")
    yield one("LeakyRelu", x, name="alpha", alpha=0.3)
    yield one("Elu", x, name="alpha", alpha=0.7)
    yield one("Celu", x, name="alpha", alpha=0.7)
    yield one("Selu", x, name="gamma", alpha=1.1, gamma=0.8)
    yield one("Swish", x, opset=24)
    yield one("Swish", x, name="alpha", opset=24, alpha=1.7)
    yield one("PRelu", {"x": (3, 7), "slope": (7,)})
    yield one("PRelu", {"x": (2, 3, 4, 4), "slope": (3, 1, 1)}, name="a-channel")
    yield one("Clip", x, name="none")
    low, high = np.array(-0.5, np.float32), np.array(1, np.float32)
    yield one("Clip", x, name="both", constants={"low": low, "high": high})
    yield one("Clip", x, name="above", constants={"high": high}, inputs=["x", "", "high"])
    yield Case(
        "Cast-there-and-back",
        [make("Cast", ["x"], ["h"], to=1), make("Mul", ["h", "x"], ["y"])],
        {"x": (3, 4)},
    )


def arithmetic() -> Iterator[Case]:
    for operator in ("Add", "Sub", "Mul"):
        yield one(operator, {"a": (2, 3, 4), "b": (2, 3, 4)})
        yield one(operator, {"a": (2, 1, 4), "b": (3, 1)}, name="both-broadcast")
        yield one(operator, {"a": (), "b": (3, 1)}, name="number")
    yield one("Div", {"a": (2, 1, 4), "b": positive(3, 1)}, name="both-broadcast")
    yield one("Add", {"a": (2, 3)}, name="to-itself", inputs=["a", "a"])
    yield one("Sum", {"a": (2, 1, 4), "b": (3, 1), "c": (4,)})
    yield one("Mean", {"a": (2, 3, 4), "b": (3, 1), "c": (4,)})
    yield one("Max", {"a": (2, 1, 4), "b": (3, 1), "c": (4,)})
    yield one("Min", {"a": (2, 3), "b": (2, 3)})
    yield one("Pow", {"a": positive(2, 3), "b": (3,)}, name="both")
    for exponent in (2.0, 3.0, 0.5):
        number = np.array(exponent, np.float32)
        yield one("Pow", {"a": positive(2, 3)}, name=f"{exponent}", constants={"b": number})
    yield one("Pow", {"a": (2, 3)}, name="whole", constants={"b": whole(3)})
    truth = np.array([[True, False, True]])
    yield one("Where", {"a": (2, 1), "b": (3,)}, constants={"t": truth}, inputs=["t", "a", "b"])


def products() -> Iterator[Case]:
    shapes: dict[str, tuple[Shape, Shape]] = {
        "matrices": ((3, 4), (4, 5)),
        "stack-by-weight": ((2, 3, 4), (4, 5)),
        "deep-stack-by-weight": ((2, 2, 3, 4), (4, 5)),
        "stacks": ((2, 3, 4), (2, 4, 5)),
        "broadcast-stacks": ((2, 1, 3, 4), (3, 4, 5)),
        "weight-by-stack": ((3, 4), (2, 4, 5)),
        "vectors": ((4,), (4,)),
        "stack-by-vector": ((2, 3, 4), (4,)),
        "vector-by-stack": ((4,), (2, 4, 5)),
    }
    for name, (a, b) in shapes.items():
        yield one("MatMul", {"a": a, "b": b}, name=name)
    for flip_a in (0, 1):
        for flip_b in (0, 1):
            a, b = ((4, 3) if flip_a else (3, 4)), ((5, 4) if flip_b else (4, 5))
            yield one(
                "Gemm",
                {"a": a, "b": b, "c": (5,)},
                name=f"{flip_a}{flip_b}",
                transA=flip_a,
                transB=flip_b,
                alpha=0.7,
                beta=1.3,
            )
    yield one("Gemm", {"a": (3, 4), "b": (4, 5)}, name="no-bias")
    yield one("Gemm", {"a": (3, 4), "b": (4, 5), "c": (3, 1)}, name="column")
    yield one("Einsum", {"a": (2, 3, 4), "b": (2, 5, 4)}, equation="bid, bjd -> bij")
    yield one("Einsum", {"a": (3, 4), "b": (2, 5)}, name="summed-alone", equation="ij,kl->il")


def moved() -> Iterator[Case]:
    x: dict[str, Shape | NDArray[np.float32]] = {"x": (2, 3, 4)}
    yield one("Transpose", x)
    yield one("Transpose", x, name="rotated", perm=[2, 0, 1])
    yield one("Reshape", x, constants={"s": whole(0, -1)})
    yield one("Flatten", x, axis=2)
    yield one("Squeeze", {"x": (2, 1, 3, 1)}, opset=13, constants={"a": whole(1)})
    yield one("Squeeze", {"x": (2, 1, 3, 1)}, name="all")
    yield one("Unsqueeze", x, constants={"a": whole(0, -1)})
    yield one("Expand", {"x": (3, 1)}, constants={"s": whole(2, 1, 4)})
    yield one("Tile", {"x": (2, 3)}, constants={"r": whole(3, 2)})
    yield one("Concat", {"a": (2, 3), "b": (2, 1), "c": (2, 4)}, axis=-1)
    yield one("Pad", {"x": (2, 3)}, name="around", constants={"p": whole(0, 2, 1, 1)})
    yield one(
        "Pad",
        {"x": (2, 3, 4)},
        name="axes",
        constants={"p": whole(1, 2), "v": np.array(0, np.float32), "a": whole(-2)},
    )
    yield one("Dropout", x)
    for opset, parts in ((13, {}), (18, {"num_outputs": 2})):
        node = make("Split", ["x"], ["a", "b"], axis=1)
        node.attribute.extend(helper.make_attribute(*each) for each in parts.items())
        product = make("Mul", ["a", "b"], ["y"])
        yield Case(f"Split-{opset}", [node, product], {"x": (2, 4)}, opset=opset)
    yield Case(
        "Split-sizes-one-unused",
        [make("Split", ["x", "s"], ["a", "b"], axis=-1), make("Sin", ["b"], ["y"])],
        {"x": (2, 5)},
        {"s": whole(2, 3)},
    )


def taken() -> Iterator[Case]:
    x: dict[str, Shape | NDArray[np.float32]] = {"x": (5, 6)}
    far = np.iinfo(np.int64)
    ends: dict[str, dict[str, NDArray[Any]]] = {
        "start": {"s": whole(2), "e": whole(int(far.max))},
        "two-axes": {"s": whole(1, -3), "e": whole(-1, 6), "a": whole(0, 1)},
        "steps": {"s": whole(0, 1), "e": whole(5, 6), "a": whole(-2, -1), "t": whole(2, 3)},
        "reversed": {"s": whole(-1), "e": whole(int(far.min)), "a": whole(1), "t": whole(-1)},
        "down-by-two": {"s": whole(4), "e": whole(0), "a": whole(1), "t": whole(-2)},
    }
    for name, constants in ends.items():
        yield one("Slice", x, name=name, constants=constants)
    places = {
        "one": np.array(-2),
        "single": whole(3),
        "vector": whole(4, 0, -2),
        "run": whole(1, 2, 3),
        "repeated": whole(1, 3, 1, -4),
        "matrix": np.array([[0, 1], [1, 2]]),
    }
    for name, index in places.items():
        yield one("Gather", x, name=name, constants={"i": index}, axis=0)
        yield one("Gather", x, name=f"{name}-axis-1", constants={"i": index}, axis=1)
    index = np.array([[0, 3, 3, 1, 0, 2], [1, 1, 0, 4, 4, 2]])
    yield one("GatherElements", x, constants={"i": index}, axis=0)
    yield one("GatherND", x, name="rows", constants={"i": np.array([[1], [3], [1]])})
    yield one("GatherND", x, name="numbers", constants={"i": np.array([[1, 2], [3, 0]])})
    yield one(
        "GatherND",
        {"x": (3, 4, 2)},
        name="a-batch",
        constants={"i": np.array([[1], [3], [1]])},
        batch_dims=1,
    )


def reduced() -> Iterator[Case]:
    x: dict[str, Shape | NDArray[np.float32]] = {"x": (2, 3, 4)}
    for name in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Sum", "SumSquare"):
        operator = f"Reduce{name}"
        yield one(operator, x, name="all", keepdims=0)
        yield one(operator, x, name="axes", constants={"a": whole(-1, 0)}, keepdims=0)
        yield one(operator, x, name="kept", constants={"a": whole(1)})
        if name != "Sum":
            yield one(operator, x, name="attribute", opset=13, axes=[0, -1], keepdims=0)
    yield one("ReduceSum", x, name="nothing", noop_with_empty_axes=1)
    for operator in ("Softmax", "LogSoftmax"):
        yield one(operator, x)
        yield one(operator, x, name="axis", opset=13, axis=1)


def normalised() -> Iterator[Case]:
    x, gain, shift = (2, 4, 3, 3), positive(4), (4,)
    yield one("LayerNormalization", {"x": (2, 3, 6), "g": positive(6), "b": (6,)}, axis=-1)
    yield one("LayerNormalization", {"x": (2, 3, 6), "g": positive(6)}, name="no-shift")
    yield one(
        "LayerNormalization",
        {"x": (2, 3, 4), "g": positive(3, 4), "b": (3, 4)},
        name="two-axes",
        axis=1,
        epsilon=1e-2,
    )
    yield one("RMSNormalization", {"x": (2, 3, 6), "g": positive(6)}, opset=23)
    yield one(
        "BatchNormalization",
        {"x": x, "g": gain, "b": shift, "m": (4,), "v": positive(4)},
        opset=15,
        epsilon=1e-3,
    )
    yield one(
        "BatchNormalization",
        {"x": (5, 4), "g": gain, "b": shift, "m": (4,), "v": positive(4)},
        name="no-spatial-axes",
        opset=15,
    )
    yield one("InstanceNormalization", {"x": x, "g": gain, "b": shift})
    yield one(
        "GroupNormalization", {"x": x, "g": gain, "b": shift}, opset=21, num_groups=2, stash_type=1
    )
    yield one("LpNormalization", {"x": (2, 5)})
    yield one("LpNormalization", {"x": (5, 2)}, name="axis", axis=0)


def convolved() -> Iterator[Case]:
    forms: dict[str, tuple[Shape, Shape, dict[str, Any]]] = {
        "plain": ((2, 3, 5, 6), (4, 3, 3, 3), {}),
        "one-by-one": ((2, 3, 4, 4), (5, 3, 1, 1), {}),
        "one-by-one-strided": ((2, 3, 5, 6), (4, 3, 1, 1), {"strides": [2, 2]}),
        "padded": ((2, 3, 4, 5), (4, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
        "asymmetric-pads": ((2, 3, 4, 5), (4, 3, 3, 2), {"pads": [0, 1, 2, 0]}),
        "strided": ((2, 3, 6, 7), (4, 3, 3, 3), {"strides": [2, 3], "pads": [1, 1, 1, 1]}),
        "dilated": ((2, 3, 7, 6), (4, 3, 3, 2), {"dilations": [2, 3], "pads": [2, 1, 2, 1]}),
        "grouped": ((2, 4, 4, 4), (6, 2, 3, 3), {"group": 2}),
        "each-channel": ((2, 3, 5, 5), (3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
        "each-channel-twice": ((2, 3, 4, 4), (6, 1, 3, 3), {"group": 3}),
        "grouped-strided-dilated": (
            (2, 4, 8, 7),
            (6, 2, 3, 3),
            {"group": 2, "strides": [2, 2], "dilations": [2, 1], "pads": [1, 0, 2, 1]},
        ),
        "same-upper": ((2, 3, 5, 6), (4, 3, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        "same-lower": ((2, 3, 5, 6), (4, 3, 2, 3), {"auto_pad": "SAME_LOWER"}),
        "valid": ((2, 3, 5, 6), (4, 3, 2, 3), {"auto_pad": "VALID", "strides": [2, 2]}),
        "one-axis": ((2, 3, 9), (4, 3, 3), {"strides": [2], "pads": [1, 1]}),
        "three-axes": ((1, 2, 4, 4, 3), (2, 2, 2, 2, 2), {"strides": [2, 1, 1]}),
    }
    for name, (x, w, attributes) in forms.items():
        yield one("Conv", {"x": x, "w": w, "b": (w[0],)}, name=name, **attributes)
    yield one("Conv", {"x": (2, 3, 4, 4), "w": (4, 3, 3, 3)}, name="no-bias")


def pooled() -> Iterator[Case]:
    x: dict[str, Shape | NDArray[np.float32]] = {"x": (2, 2, 7, 6)}
    yield one("GlobalAveragePool", x)
    yield one("GlobalMaxPool", {"x": (2, 2, 3, 2)})
    forms: dict[str, dict[str, Any]] = {
        "plain": {"kernel_shape": [3, 3]},
        "strided": {"kernel_shape": [2, 2], "strides": [2, 2]},
        "padded": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        "rounded-up": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
        "same": {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    }
    for name, attributes in forms.items():
        yield one("AveragePool", x, name=name, **attributes)
        # The reference implementation names wrong places where plain windows overlap.
        if name != "plain":
            yield one("MaxPool", x, name=name, **attributes)
    for name in ("padded", "rounded-up"):
        yield one("AveragePool", x, name=f"{name}-zeros", count_include_pad=1, **forms[name])
    yield one("AveragePool", x, name="dilated", kernel_shape=[2, 2], dilations=[2, 3])
    yield one("MaxPool", x, name="dilated", kernel_shape=[2, 2], dilations=[2, 3])
    yield one("AveragePool", {"x": (2, 3, 8)}, name="one-axis", kernel_shape=[3], strides=[2])
    yield one("MaxPool", {"x": (2, 3, 8)}, name="one-axis", kernel_shape=[3], strides=[2])
