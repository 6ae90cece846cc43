"""Small models laid out as on the hub, for tests of adding them."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

from featx.backbone.runtime import open_session
from featx.onboard.adding import Added, Checked, Checks
from featx.onboard.fetch.files import MOST_BYTES
from featx.onboard.pairs import add_models
from featx.onboard.read.choices import Choices
from featx.types import Vectors
from featx.zoo.manifest import Manifest

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "cat", "dog")

TABLE: Vectors = np.random.default_rng(5).normal(size=(len(WORDS), 4)).astype(np.float32)
"""Vectors of the words; those of the text graph are these."""


def tokenizer_bytes() -> bytes:
    """Return a tokenizer of `WORDS` that puts [CLS] before and [SEP] behind."""
    ids = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(WordLevel(ids, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer.to_str().encode()


def text_graph(
    *,
    external: str = "",
    ids_type: int = TensorProto.INT64,
    outputs: tuple[str, ...] = ("last_hidden_state",),
) -> bytes:
    """Return a graph that looks words up: ids (b, t) to ``TABLE[ids]`` (b, t, 4)."""
    ids = value("input_ids", ids_type, ["batch", "sequence"])
    mask = value("attention_mask", TensorProto.INT64, ["batch", "sequence"])
    nodes = [helper.make_node("Gather", ["table", "input_ids"], [name]) for name in outputs]
    made = [value(name, TensorProto.FLOAT, ["batch", "sequence", 4]) for name in outputs]
    tensor = numpy_helper.from_array(TABLE, "table")
    if external:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=external)
    return graph(nodes, [ids, mask], made, [tensor])


def vector_graph(names: tuple[str, ...] = ("x",), *, output: str = "y") -> bytes:
    """Return a graph that adds its inputs (n, 3)."""
    inputs = [value(name, TensorProto.FLOAT, ["n", 3]) for name in names]
    nodes = [helper.make_node("Sum", list(names), [output])]
    return graph(nodes, inputs, [value(output, TensorProto.FLOAT, ["n", 3])], [])


def patch_graph() -> bytes:
    """Return a graph of pixels (n, 3, 2, 2) to rows of patches (n, 4, 3): each pixel's channels."""
    pixels = value("pixel_values", TensorProto.FLOAT, ["n", 3, 2, 2])
    shape = numpy_helper.from_array(np.array([0, 3, 4], dtype=np.int64), "shape")
    nodes = [
        helper.make_node("Reshape", ["pixel_values", "shape"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["last_hidden_state"], perm=[0, 2, 1]),
    ]
    rows = value("last_hidden_state", TensorProto.FLOAT, ["n", 4, 3])
    return graph(nodes, [pixels], [rows], [shape])


def value(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    tensors: list[onnx.TensorProto],
) -> bytes:
    made = helper.make_graph(nodes, "small", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", 17)]
    raw: bytes = helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()
    return raw


def sentence_files(**changes: object) -> dict[str, bytes]:
    """Return the files of a sentence-transformers model; a change of None leaves a file out."""
    pooling = {"word_embedding_dimension": 4, "pooling_mode_mean_tokens": True}
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for n, (path, kind) in enumerate(kinds)
    ]
    files: dict[str, object] = {
        "README.md": b"---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n",
        "config.json": {"model_type": "bert", "max_position_embeddings": 512, "hidden_size": 4},
        "tokenizer.json": tokenizer_bytes(),
        "tokenizer_config.json": {"model_max_length": 512},
        "modules.json": modules,
        "1_Pooling/config.json": pooling,
        "sentence_bert_config.json": {"max_seq_length": 16, "do_lower_case": False},
        "config_sentence_transformers.json": {"prompts": {"query": "red "}},
        "onnx/model.onnx": text_graph(),
    }
    files |= changes
    return {
        name: raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        for name, raw in files.items()
        if raw is not None
    }


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write files below a folder and return it."""
    for name, raw in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(raw)
    return folder


def wheel_bytes(package: str, files: Mapping[str, bytes]) -> bytes:
    """Return a wheel of version 1.0 with these files and what a wheel must have."""
    about = f"{package}-1.0.dist-info"
    told = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
        f"{about}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": b"",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in {**files, **told}.items():
            archive.writestr(name, raw)
    return file.getvalue()


def add(what: str, choices: Choices, *, checks: Checks, limit_bytes: int = MOST_BYTES) -> Added:
    """Add one backbone to the user's zoo."""
    (added,) = add_models(what, choices, checks=checks, limit_bytes=limit_bytes)
    return added


def opens(manifest: Manifest) -> Checked:
    """Check that ONNX Runtime can load the graph, and no more."""
    open_session(manifest.file("graph"), device="cpu", threads=1)
    return Checked()
