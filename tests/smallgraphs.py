"""Small graphs, right and wrong, and adding them as the command line does."""

from functools import partial
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper, numpy_helper

from featx.onboard.adding import Added
from featx.onboard.check.checks import check
from featx.onboard.read.choices import Choices
from hubfolders import TABLE, add, graph, sentence_files, value, write_files

NOTHING = Choices()
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
Node = onnx.NodeProto


def add_text(
    folder: Path, raw: bytes, choices: Choices = NOTHING, *, reference: Path | None = None
) -> Added:
    """Add a sentence model with this graph."""
    files = sentence_files(**{"onnx/model.onnx": raw})
    write_files(folder / "small", files)
    checks = partial(check, reference=reference)
    return add(str(folder / "small"), choices, checks=checks)


def add_vectors(folder: Path, raw: bytes, choices: Choices | None = None) -> Added:
    """Add a graph of vectors."""
    write_files(folder / "small", {"small.onnx": raw})
    made = choices or Choices(modality="array", normalize=False)
    return add(str(folder / "small"), made, checks=check)


def words(
    nodes: list[Node],
    *tensors: onnx.TensorProto,
    output: str = "last_hidden_state",
    shape: tuple[str | int, ...] = ("batch", "sequence"),
    has_mask: bool = True,
    form: list[str | int] | None = None,
) -> bytes:
    """Return a graph of texts: `nodes` make `output` of ``rows``, vectors of the words."""
    axes = list(shape)
    inputs = [value("input_ids", INT64, axes)]
    inputs += [value("attention_mask", INT64, axes)] if has_mask else []
    looked_up = helper.make_node("Gather", ["table", "input_ids"], ["rows"])
    made = value(output, FLOAT, form or ["batch", "sequence", 4])
    table = numpy_helper.from_array(TABLE, "table")
    return graph([looked_up, *nodes], inputs, [made], [table, *tensors])


def vectors(nodes: list[Node], *tensors: onnx.TensorProto, batch: str | int = "n") -> bytes:
    """Return a graph of vectors: `nodes` make ``y`` (n, 3) of ``x`` (n, 3)."""
    x, y = value("x", FLOAT, [batch, 3]), value("y", FLOAT, [batch, 3])
    return graph(nodes, [x], [y], list(tensors))


def changed(raw: bytes, *, opset: int = 17, ir_version: int = 8) -> bytes:
    model = onnx.load_from_string(raw)
    model.opset_import[0].version, model.ir_version = opset, ir_version
    changed: bytes = model.SerializeToString()
    return changed


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Node:  # noqa: ANN401
    return helper.make_node(kind, inputs, [output], **attributes)
