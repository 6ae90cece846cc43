"""Train a tail on a problem's batches with featx, and print what the steps took.

``finetune_steps.py FOLDER OUT``; the folder is one of `bench.support.finetune_problem`, and OUT
gets the parameters.  ``finetune_torch.py`` does the same with torch.
"""

import argparse
import time
from pathlib import Path

import clock
import finetune_batches
import numpy as np
import onnx

from featx.backbone.settings import Settings
from featx.finetune.steps.optimiser import Optimiser
from featx.finetune.steps.trainer import Trainer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    args = parser.parse_args()

    facts, batches = finetune_batches.read(args.folder)
    with np.load(args.folder / "head.npz") as head:
        W, b = head["W"], head["b"]
    trainer = Trainer(
        onnx.load(args.folder / "tail.onnx"),
        facts["parameters"],
        head=(W, b),
        optimiser=Optimiser(**facts["optimiser"]),
        settings=Settings(device="cpu", threads=args.threads),
    )
    feeds = [
        dict(zip(facts["inputs"], (batch["values"], batch["mask"]), strict=True))
        for batch in batches
    ]
    for feed, batch in zip(feeds, batches, strict=True):  # makes the graphs, and runs each once
        trainer.gradients(feed, batch["targets"], batch["weights"])
    losses = []
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    for step in range(args.steps):
        feed, batch = feeds[step % len(feeds)], batches[step % len(feeds)]
        losses.append(trainer.step(feed, batch["targets"], batch["weights"], facts["rate"]))
    ended_s = time.perf_counter()
    found = {"encode_s": ended_s - started_s, "encode_cpu_s": clock.cpu_s() - cpu_before_s}
    np.savez(args.out, **trainer.parameters())
    clock.say({**found, "losses": losses})


if __name__ == "__main__":
    main()
