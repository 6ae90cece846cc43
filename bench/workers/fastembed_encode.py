"""Encode texts or images with fastembed, in its own environment."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import clock
import numpy as np
from fastembed import ImageEmbedding, TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType

NAME = "bench/minilm"
# fastembed registers no image models of users; a listed model that is one plain graph, pointed at
# another folder, is the same thing, and works in its worker processes too.
STAND_IN = "Qdrant/resnet50-onnx"


def open_text(folder: Path, threads: int) -> TextEmbedding:
    TextEmbedding.add_custom_model(
        model=NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=NAME),
        dim=384,
        model_file="model.onnx",
    )
    return TextEmbedding(NAME, threads=threads, specific_model_path=str(folder))


def open_image(folder: Path, threads: int) -> ImageEmbedding:
    return ImageEmbedding(STAND_IN, threads=threads, specific_model_path=str(folder))


def rate(model: TextEmbedding | ImageEmbedding, items: list[str], setting: dict[str, Any]) -> float:
    """Return items a second, the start of processes counted: it is the same for all sizes."""
    started_s = time.perf_counter()
    for _ in model.embed(items, **setting):
        pass
    return len(items) / (time.perf_counter() - started_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--setting", type=json.loads, default={})
    parser.add_argument("--sweep", type=json.loads)
    parser.add_argument("--first", type=int)
    args = parser.parse_args()

    is_image = args.corpus.is_dir()
    model = (open_image if is_image else open_text)(args.model, args.threads)
    if args.sweep:
        items = clock.corpus_items(args.corpus)[: args.first]
        clock.say(clock.sweep(args.sweep, lambda setting: rate(model, items, setting)))
        return

    def run() -> np.ndarray:
        items = clock.corpus_items(args.corpus)
        return np.stack(list(model.embed(items, **args.setting)))

    clock.say(clock.encode(run, args.out))


if __name__ == "__main__":
    main()
