"""Train a head of a set, by blocks or on all rows; the last line tells time and memory.

``python scale_statistics.py SET KIND streamed|whole``
"""

import json
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np

from featx.data.store import EmbeddingSet

EVERY_S = 0.01


def main() -> None:
    path, kind, how = sys.argv[1:]
    opened = EmbeddingSet.open(path)
    train = _streamed if how == "streamed" else _whole
    peak, done = [0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done))
    watcher.start()
    started_s = time.perf_counter()
    arrays = train(opened, kind)
    seconds = time.perf_counter() - started_s
    done.set()
    watcher.join()
    np.savez(Path(path).with_suffix(f".{kind}.{how}.npz"), **arrays)
    print(json.dumps({"seconds": seconds, "peak_bytes": peak[0]}))


def _streamed(opened: EmbeddingSet, kind: str) -> "dict[str, np.ndarray]":
    from featx.train.recipe import Recipe
    from featx.train.streaming.run import train_streamed

    arrays = train_streamed(opened, Recipe(head=kind)).arrays
    return {name: values for name, values in arrays.items() if name != "trained_digests"}


def _whole(opened: EmbeddingSet, kind: str) -> "dict[str, np.ndarray]":
    from featx.heads import HEADS
    from featx.registry import resolve

    return resolve("head", HEADS, kind)().fit(np.asarray(opened.X), opened.y).head_arrays()


def _watch(peak: list[int], done: threading.Event) -> None:
    while not done.wait(EVERY_S):
        found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
        peak[0] = max(peak[0], 1024 * int(found[1]) if found else 0)


if __name__ == "__main__":
    main()
