"""The peers' models, made from the graphs of our zoo: the same weights, in the peers' formats.

MiniLM's matrices lie in our graph as int16 with scales (Cast, then Mul).  Here they are folded to
float32, which is what a runtime computes with after loading, and written as

- ``models/minilm``: a sentence-transformers folder, with ``onnx/model.onnx`` for its ONNX backend,
- ``models/minilm-onnx``: the same graph and tokenizer as fastembed wants them,
- ``models/efficientnet``: the image graph and its preprocessing as fastembed wants them.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bench.support import safetensors
from bench.support.places import MODELS
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

MAX_TOKENS = 256
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 384,
    "initializer_range": 0.02,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 6,
    "pad_token_id": 0,
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
TOKENIZER = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "model_max_length": MAX_TOKENS,
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
SPECIAL_TOKENS = {key: value for key, value in TOKENIZER.items() if key.endswith("_token")}
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {
        "idx": 2,
        "name": "2",
        "path": "2_Normalize",
        "type": "sentence_transformers.models.Normalize",
    },
]
POOLING = {
    "word_embedding_dimension": 384,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": True,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}


def fold(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with every ``Mul(Cast(int16), scale)`` replaced by a float32 weight."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    casts = {n.output[0]: n for n in model.graph.node if n.op_type == "Cast"}
    gone = []
    for node in [n for n in model.graph.node if n.op_type == "Mul"]:
        cast = casts.get(node.input[0])
        if cast is None or not {cast.input[0], node.input[1]} <= set(stored):
            continue
        whole, scale = (numpy_helper.to_array(stored[n]) for n in (cast.input[0], node.input[1]))
        folded = whole.astype(np.float32) * scale
        model.graph.initializer.append(numpy_helper.from_array(folded, node.output[0]))
        for name in (cast.input[0], node.input[1]):
            model.graph.initializer.remove(stored[name])
        gone += [cast, node]
    for node in gone:
        model.graph.node.remove(node)
    return model


def state_dict(model: onnx.ModelProto) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a folded BERT graph by their names in transformers.

    A matrix is named after the bias that is added to its product.
    """
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    found = {
        name.removeprefix("bert."): array
        for name, array in arrays.items()
        if name.startswith("bert.") and array.dtype == np.float32
    }
    products = {n.output[0]: n.input[1] for n in model.graph.node if n.op_type == "MatMul"}
    for node in model.graph.node:
        if node.op_type == "Add" and node.input[0] in products and node.input[1].endswith(".bias"):
            name = node.input[1].removeprefix("bert.").removesuffix(".bias") + ".weight"
            found[name] = arrays[products[node.input[0]]].T
    # Mean pooling does not use the pooler, but transformers wants one, or draws it at random.
    found["pooler.dense.weight"] = np.zeros((384, 384), dtype=np.float32)
    found["pooler.dense.bias"] = np.zeros(384, dtype=np.float32)
    return found


def build_minilm() -> None:
    """Write both folders of MiniLM."""
    manifest = catalog.find("minilm-l6")
    model = fold(onnx.load(manifest.file("graph")))
    folder = MODELS / "minilm"
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    safetensors.write(state_dict(model), folder / "model.safetensors")
    rename_output(model, "token_embeddings", "last_hidden_state")
    onnx.save(model, folder / "onnx" / "model.onnx")
    for place in (folder, MODELS / "minilm-onnx"):
        place.mkdir(exist_ok=True)
        shutil.copyfile(manifest.file("tokenizer"), place / "tokenizer.json")
        write_json(place / "config.json", BERT)
        write_json(place / "tokenizer_config.json", TOKENIZER)
        write_json(place / "special_tokens_map.json", SPECIAL_TOKENS)
    onnx.save(model, MODELS / "minilm-onnx" / "model.onnx")
    write_json(folder / "modules.json", MODULES)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS})
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "1_Pooling" / "config.json", POOLING)
    (folder / "2_Normalize").mkdir(exist_ok=True)


def rename_output(model: onnx.ModelProto, old: str, new: str) -> None:
    """Rename an output of the graph, as Hugging Face's exports call it."""
    for node in model.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
    for value in model.graph.output:
        value.name = new if value.name == old else value.name


def build_efficientnet() -> None:
    """Write the image model, with the preprocessing of our manifest in fastembed's words."""
    manifest = catalog.find("efficientnet-lite0")
    folder = MODELS / "efficientnet"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(manifest.file("graph"), folder / "model.onnx")
    write_json(folder / "preprocessor_config.json", clip_processor(manifest))


def clip_processor(manifest: Manifest) -> dict[str, Any]:
    options = manifest.image
    assert options is not None
    height, width = options.size
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": round(height / options.crop_fraction)},
        "resample": 3,  # bicubic
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [value / 255 for value in options.mean],
        "image_std": [value / 255 for value in options.std],
    }


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def build() -> None:
    """Write all models, over those that are there: it takes two seconds."""
    build_minilm()
    build_efficientnet()
