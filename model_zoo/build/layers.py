"""Graphs that give several layers of a built backbone side by side; its file holds the weights.

What the layers before the last tell is thrown away by a backbone that was trained to say only what
a sentence means, or which of a thousand things a photograph shows.  Heads for other questions are
better with it (docs/few-labels.md), at no cost but the width.
"""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

MIDDLE, LAST = 4, 6
"""MiniLM's layers that lie side by side."""

STAGES = (192, 112, 80)
"""Channels of the stages of EfficientNet-Lite0 before its last; no two have as many."""
FACTOR = 0.25
"""What their averages are multiplied by; without it they vary about twice as much as the last."""

LEAST_BORROWED = 1024
"""Tensors of fewer bytes are copied."""

Output = tuple[str, list[str | int]]
"""Name and shape."""


def build_minilm(folder: Path) -> None:
    """Write ``layers.onnx`` beside ``model.onnx``: tokens of the middle and of the last layer."""
    model = onnx.load(folder / "model.onnx")
    norms = [node for node in model.graph.node if node.op_type == "LayerNormalization"]
    middle = norms[2 * MIDDLE].output[0]  # the first is the embeddings', and each layer has two
    last = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Concat", [middle, last], ["layers"], axis=-1))
    sizes = [item.dim_param for item in model.graph.output[0].type.tensor_type.shape.dim[:2]]
    width = model.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    _finish(model, folder, [("layers", [*sizes, 2 * width])])


def build_efficientnet(folder: Path) -> None:
    """Write ``layers.onnx`` beside ``model.onnx``: averages of the last layer and of stages."""
    model = onnx.load(folder / "model.onnx")
    last, logits = model.graph.output
    (axes,) = [node.input[1] for node in model.graph.node if node.output[0] == last.name]
    ends = _stage_ends(model)
    names = []
    for channels in STAGES:
        mean, part = f"stage_{channels}/mean", f"stage_{channels}"
        model.graph.node.append(
            helper.make_node("ReduceMean", [ends[channels], axes], [mean], keepdims=0)
        )
        model.graph.node.append(helper.make_node("Mul", [mean, "factor"], [part]))
        names.append(part)
    model.graph.initializer.append(helper.make_tensor("factor", TensorProto.FLOAT, [], [FACTOR]))
    model.graph.node.append(helper.make_node("Concat", [last.name, *names], ["layers"], axis=-1))
    batch, width = last.type.tensor_type.shape.dim
    classes = logits.type.tensor_type.shape.dim[1].dim_value
    layers: Output = ("layers", [batch.dim_param, width.dim_value + sum(STAGES)])
    _finish(model, folder, [layers, (logits.name, [batch.dim_param, classes])])


def _stage_ends(model: onnx.ModelProto) -> dict[int, str]:
    """Return channels and the last value of each stage whose blocks add what they read."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    makers = {node.output[0]: node for node in model.graph.node}
    sums = [node for node in model.graph.node if node.op_type == "Add"]
    return {weights[makers[node.input[0]].input[1]].dims[0]: node.output[0] for node in sums}


def _finish(model: onnx.ModelProto, folder: Path, outputs: list[Output]) -> None:
    """Write a graph of these outputs whose weights stay in ``model.onnx``."""
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs
    )
    onnx.checker.check_model(model, full_check=True)
    borrow(model, folder / "model.onnx")
    path = folder / "layers.onnx"
    path.write_bytes(model.SerializeToString(deterministic=True))


def borrow(model: onnx.ModelProto, source: Path) -> None:
    """Have large tensors refer to the bytes that they are in another graph's file, beside it."""
    raw = source.read_bytes()
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) < LEAST_BORROWED:
            continue
        start = raw.find(tensor.raw_data)
        if start < 0:
            message = f"{source}: does not hold the bytes of {tensor.name}"
            raise SystemExit(message)
        place = {"location": source.name, "offset": start, "length": len(tensor.raw_data)}
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in place.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
