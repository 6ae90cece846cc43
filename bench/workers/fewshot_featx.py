"""Train a head on each draw of a few labelled texts, and print how it does on others.

``fewshot_featx.py PROBLEM MODEL``: the seconds are those of embedding the texts of a draw and of
training with everything chosen by itself, and those of the training alone.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import clock
import numpy as np
from numpy.typing import NDArray

from bench.support.heads_promises import MemorySet
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.heads.predict import Head
from featx.train.recipe import Recipe
from featx.train.train import train
from featx.zoo import catalog


def trained(backbone: Backbone, draw: dict[str, Any]) -> tuple[Head, dict[str, float]]:
    """Return a head of a draw, and the seconds of embedding and training."""
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    X = backbone.encode(draw["texts"])
    embedded_s = time.perf_counter()
    labels = np.array(draw["labels"], dtype=object)
    head = train(MemorySet(X, labels), Recipe(seed=draw["seed"]))
    ended_s = time.perf_counter()
    seconds = {"train_s": ended_s - started_s, "head_s": ended_s - embedded_s}
    return head, {**seconds, "train_cpu_s": clock.cpu_s() - cpu_before_s}


def accuracy_of(head: Head, X: NDArray[np.float32], labels: NDArray[np.object_]) -> float:
    winners = head.logits(X).argmax(axis=1)
    return float(np.mean(np.array(head.classes, dtype=object)[winners] == labels))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", type=Path)
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()

    backbone = Backbone(catalog.find(args.model), Settings(device="cpu", threads=args.threads))
    problem = json.loads(args.problem.read_text(encoding="utf-8"))
    X = backbone.encode(problem["test"]["texts"])
    labels = np.array(problem["test"]["labels"], dtype=object)
    trained(backbone, problem["draws"][-1])  # both sides warm up
    found = []
    for draw in problem["draws"]:
        head, seconds = trained(backbone, draw)
        facts = {"size": draw["size"], "seed": draw["seed"], "head": head.kind}
        found.append({**facts, "accuracy": accuracy_of(head, X, labels), **seconds})
    clock.say({"runs": found})


if __name__ == "__main__":
    main()
