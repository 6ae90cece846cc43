"""The least that a folder of images can cost: CPU seconds of decoding and of the model, each alone.

Both are measured with every core busy, as they are when both are done at once: one thread a core
decodes, then one run of one thread a core computes.  The bound is their sum over the cores.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clock
import numpy as np
import onnxruntime
from featx_encode import open_backbone

BATCHES = (1, 2, 4, 8, 16)


def cpu_per_item(work: Callable[[int], object], count: int, items: int, threads: int) -> float:
    """Return CPU seconds an item of `count` calls that do `items` each."""
    with ThreadPoolExecutor(threads) as pool:
        before_s = clock.cpu_s()
        for _ in pool.map(work, range(count)):
            pass
        return (clock.cpu_s() - before_s) / (count * items)


def model_cpu_s(graph: Path, threads: int, seconds: float) -> tuple[float, int]:
    """Return the least CPU seconds an image, and its batch size."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    found = []
    for size in BATCHES:
        feeds = {"image": np.zeros((size, 3, 224, 224), dtype=np.float32)}
        started_s = time.perf_counter()
        session.run(["embedding"], feeds)
        count = max(2 * threads, int(threads * seconds / (time.perf_counter() - started_s)))
        run = lambda _, feeds=feeds: session.run(["embedding"], feeds)  # noqa: E731
        found.append((cpu_per_item(run, count, size, threads), size))
    return min(found)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("model")
    parser.add_argument("--decode", choices=["exact", "fast"], default="exact")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    args = parser.parse_args()

    paths = sorted(args.corpus.iterdir())
    part = paths[: args.first]
    backbone = open_backbone(args.model, threads=1, decode=args.decode, precision=None)
    backbone.load(backbone.read(part[0]))
    load = lambda i: backbone.load(backbone.read(part[i]))  # noqa: E731
    decode_s = cpu_per_item(load, len(part), 1, args.threads)
    model_s, batch = model_cpu_s(backbone.manifest.file("graph"), args.threads, args.seconds)
    clock.say(
        {
            "encode_s": len(paths) * (decode_s + model_s) / args.threads,
            "decode_cpu_ms": round(1000 * decode_s, 2),
            "model_cpu_ms": round(1000 * model_s, 2),
            "batch": batch,
        }
    )


if __name__ == "__main__":
    main()
