"""Encode texts with sentence-transformers, with torch or ONNX Runtime below it."""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import clock
import numpy as np
import torch
from sentence_transformers import SentenceTransformer


def open_model(folder: Path, backend: str, threads: int) -> SentenceTransformer:
    torch.set_num_threads(threads)
    if backend == "torch":
        return SentenceTransformer(str(folder), device="cpu")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return SentenceTransformer(
        str(folder),
        device="cpu",
        backend="onnx",
        model_kwargs={"provider": "CPUExecutionProvider", "session_options": options},
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--backend", choices=["torch", "onnx"], required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--setting", type=json.loads, default={})
    parser.add_argument("--sweep", type=json.loads)
    parser.add_argument("--first", type=int)
    args = parser.parse_args()

    model = open_model(args.model, args.backend, args.threads)

    def encode(texts: list[str], setting: dict[str, Any]) -> np.ndarray:
        return model.encode(texts, show_progress_bar=False, **setting)

    if args.sweep:
        texts = clock.corpus_items(args.corpus)[: args.first]
        encode(texts[:8], {})

        def rate(setting: dict[str, Any]) -> float:
            started_s = time.perf_counter()
            encode(texts, setting)
            return len(texts) / (time.perf_counter() - started_s)

        clock.say(clock.sweep(args.sweep, rate))
        return
    found = clock.encode(lambda: encode(clock.corpus_items(args.corpus), args.setting), args.out)
    clock.say(found)


if __name__ == "__main__":
    main()
