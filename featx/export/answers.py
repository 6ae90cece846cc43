"""From logits to what an exported file gives: probabilities and a label, or values."""

from collections.abc import Callable

import numpy as np
from onnx import TensorProto, ValueInfoProto

from featx.export.emitter import Emitter, value
from featx.export.exportable import Exportable
from featx.export.names import EMBEDDING, INTERVAL, LABEL, LOGITS, NOVEL, PROBABILITIES, VALUES


def emit_answers(emitter: Emitter, exported: Exportable) -> list[ValueInfoProto]:
    """Add all that `EMBEDDING` is read by, and return what is said of the outputs."""
    logits, novel = exported.emit(emitter, EMBEDDING)
    outputs = _EMITTERS[exported.task](emitter, logits, exported)
    if novel:
        emitter.node("Identity", novel, output=NOVEL)
        outputs.append(value(NOVEL, kind=TensorProto.BOOL))
    return outputs


def _classes(emitter: Emitter, logits: str, exported: Exportable) -> list[ValueInfoProto]:
    temperature = emitter.constant("temperature", exported.temperature, np.float32)
    emitter.node("Div", logits, temperature, output=LOGITS)
    emitter.node("Softmax", LOGITS, output=PROBABILITIES, axis=1)
    best = emitter.node("ArgMax", PROBABILITIES, axis=1, keepdims=0)
    names = emitter.constant("names", exported.classes, object)
    emitter.node("Gather", names, best, output=LABEL)
    return [
        value(PROBABILITIES, len(exported.classes)),
        value(LABEL, kind=TensorProto.STRING),
    ]


def _tags(emitter: Emitter, logits: str, exported: Exportable) -> list[ValueInfoProto]:
    arrays, n = exported.arrays, len(exported.classes)
    scale, shift = (emitter.constant(name, arrays[name], np.float32) for name in ("scale", "shift"))
    emitter.node("Add", emitter.node("Mul", logits, scale), shift, output=LOGITS)
    emitter.node("Sigmoid", LOGITS, output=PROBABILITIES)
    half = emitter.constant("half", 0.5, np.float32)
    names = emitter.constant("names", exported.classes, object)
    none = emitter.constant("none", "", object)
    emitter.node("Where", emitter.node("Greater", PROBABILITIES, half), names, none, output=LABEL)
    return [value(PROBABILITIES, n), value(LABEL, n, kind=TensorProto.STRING)]


def _values(emitter: Emitter, logits: str, exported: Exportable) -> list[ValueInfoProto]:
    n = len(exported.classes)
    emitter.node("Identity", logits, output=LOGITS)
    emitter.node("Identity", LOGITS, output=VALUES)
    spread = emitter.constant("spread", exported.arrays["spread"], np.float32)
    axis = emitter.constant("last_axis", [2], np.int64)
    ends = [emitter.node(operator, VALUES, spread) for operator in ("Sub", "Add")]
    columns = [emitter.node("Unsqueeze", end, axis) for end in ends]
    emitter.node("Concat", *columns, output=INTERVAL, axis=2)
    return [value(VALUES, n), value(INTERVAL, n, 2)]


_EMITTERS: dict[str, Callable[[Emitter, str, Exportable], list[ValueInfoProto]]] = {
    "classify": _classes,
    "multilabel": _tags,
    "regress": _values,
}
