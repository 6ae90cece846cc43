"""Golden vectors of backbones whose graphs lie in packages: run by ONNX's reference evaluator.

It computes in NumPy, operator by operator, and shares no code with ONNX Runtime or featx.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator
from tokenizers.implementations import BertWordPieceTokenizer

from model_zoo.build import items


@dataclass(frozen=True)
class Carried:
    """A text graph in a package.

    Attributes
    ----------
    file : str
        The graph, in the folder of its source.
    output : str
        Token vectors, which are averaged, or one vector a text.
    max_tokens : int
    is_unit : bool
        Whether vectors are scaled to unit length.
    """

    file: str
    output: str
    max_tokens: int
    is_unit: bool


BACKBONES = {
    "minilm-l6-int8": Carried("model.onnx", "last_hidden_state", 256, is_unit=True),
    "paraphrase-minilm-l3": Carried("paraphrase-MiniLM-L3-v2.onnx", "461", 128, is_unit=False),
}


def build(sources: dict[str, Path], out: Path) -> None:
    """Write one file for each backbone."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = BertWordPieceTokenizer(str(sources["minilm-l6"] / "vocab.txt"), lowercase=True)
    for name, carried in BACKBONES.items():
        vectors = embed(carried, sources[name] / carried.file, tokenizer)
        np.savez_compressed(out / f"{name}.npz", vectors=vectors, items=np.array(items.TEXTS))


def embed(carried: Carried, graph: Path, tokenizer: BertWordPieceTokenizer) -> np.ndarray:
    """Run one text at a time, unpadded: a mean needs no mask."""
    evaluator = ReferenceEvaluator(str(graph))
    rows = []
    for text in items.TEXTS:
        ids = tokenizer.encode(text).ids
        longest = carried.max_tokens
        ids = [*ids[: longest - 1], ids[-1]] if len(ids) > longest else ids
        feed = {name: np.zeros((1, len(ids)), np.int64) for name in evaluator.input_names}
        feed |= {"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)), np.int64)}
        (found,) = evaluator.run([carried.output], feed)
        rows.append(found[0].astype(np.float64).reshape(-1, found.shape[-1]).mean(axis=0))
    vectors = np.stack(rows)
    if carried.is_unit:
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)
