"""What a model or an index does by itself, without a server: the bound of ``bench/serve.py``.

``serve_bound.py texts FILE`` encodes the texts of a JSONL file in batches, tokenised beforehand;
``serve_bound.py vectors GALLERY FILE.npy`` asks a gallery for the vote of each batch of vectors.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clock
import numpy as np

SECONDS = 4.0


def rate(work: Callable[[int], Any], batches: int, size: int) -> float:
    """Return items a second over whole rounds of batches."""
    for number in range(min(batches, 4)):
        work(number)
    started_s, done = time.perf_counter(), 0
    while time.perf_counter() - started_s < SECONDS:
        work(done % batches)
        done += 1
    return done * size / (time.perf_counter() - started_s)


def texts(path: Path, sizes: list[int], threads: int) -> dict[str, float]:
    from featx.backbone.backbone import Backbone
    from featx.backbone.settings import Settings
    from featx.zoo import catalog

    backbone = Backbone(catalog.find("minilm-l6"), Settings(device="cpu", threads=threads))
    lines = path.read_text(encoding="utf-8").splitlines()
    samples = [backbone.load(json.loads(line)["input"].encode()) for line in lines]
    found = {}
    for size in sizes:
        cut = [samples[i : i + size] for i in range(0, len(samples) - size + 1, size)]
        found[str(size)] = rate(lambda i, cut=cut: backbone.encode_batch(cut[i]), len(cut), size)
    return found


def vectors(gallery: Path, path: Path, sizes: list[int]) -> dict[str, float]:
    from featx import Gallery

    Q = np.load(path)
    found = {}
    with Gallery.open(gallery) as opened:
        for size in sizes:
            cut = [Q[i : i + size] for i in range(0, len(Q) - size + 1, size)]
            found[str(size)] = rate(lambda i, cut=cut: opened.classify(cut[i]), len(cut), size)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["texts", "vectors"])
    parser.add_argument("places", type=Path, nargs="+")
    parser.add_argument("--sizes", type=json.loads, default=[1, 32])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.work == "texts":
        rates = texts(args.places[0], args.sizes, args.threads)
    else:
        rates = vectors(args.places[0], args.places[1], args.sizes)
    clock.say({"rates": rates, "encode_s": 1 / rates[str(args.sizes[-1])]})


if __name__ == "__main__":
    main()
