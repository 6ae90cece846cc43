"""The tools that are compared, and the settings that a peer's best is looked for among."""

from dataclasses import replace
from typing import Any

from bench.support.drive import Tool

TEXT, IMAGE = "minilm-l6", "efficientnet-lite0"
LAYERS, IMAGE_LAYERS = "minilm-l6-layers", "efficientnet-lite0-layers"

FEATX = Tool("featx", "featx", "featx_encode.py", TEXT)
FEATX_INT8 = replace(FEATX, name="featx int8", arguments=("--precision", "int8"))
FEATX_EXACT = Tool("featx exact", "featx", "featx_encode.py", IMAGE)
FEATX_FAST = replace(FEATX_EXACT, name="featx fast", arguments=("--decode", "fast"))

FASTEMBED = Tool("fastembed 0.9.1", "fastembed", "fastembed_encode.py", "minilm-onnx")
FASTEMBED_IMAGE = replace(FASTEMBED, model="efficientnet")
TORCH = Tool(
    "sentence-transformers 6.2.0 torch",
    "sentence-transformers",
    "sentence_transformers_encode.py",
    "minilm",
    ("--backend", "torch"),
)
ONNX = Tool(
    "sentence-transformers 5.7.0 ONNX",
    "sentence-transformers-onnx",
    "sentence_transformers_encode.py",
    "minilm",
    ("--backend", "onnx"),
)

FASTEMBED_DEFAULT = {"batch_size": 256}
TEXT_BATCHES, IMAGE_BATCHES = (1, 2, 4, 8, 32), (1, 2, 4, 16)
SENTENCE_BATCHES = (8, 16, 32, 64)


def settings(sizes: tuple[int, ...], **others: int) -> list[dict[str, Any]]:
    return [{"batch_size": size, **others} for size in sizes]
