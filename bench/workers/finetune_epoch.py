"""Train one epoch of a fine-tuning problem with featx, with kept values at the cut or without.

``finetune_epoch.py TEXTS cached|full``: both take the same batches, and tokens are at hand.
``finetune_epoch.py TEXTS keep`` computes the values and keeps them.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import clock
import finetune_batches
import numpy as np
from numpy.typing import NDArray

from bench.support.finetune_problem import SIZE, Problem, make
from featx.finetune.steps.batches import Batch
from featx.types import Sample

Feeds = dict[str, NDArray[Any]]


def cached(problem: Problem, plan: list[Batch]) -> Iterator[Feeds]:
    """Yield the tail's inputs, read from the cache."""
    for batch in plan:
        yield problem.activations.feeds(batch.rows, length=batch.length, size=SIZE)


def full(problem: Problem, plan: list[Batch], samples: list[Sample]) -> Iterator[Feeds]:
    """Yield the tail's inputs, computed by the body from the tokens."""
    body = problem.body
    for batch in plan:
        held = [samples[row] for row in batch.rows]
        values = body.encode_batch(held).reshape(len(held), -1, body.width)
        short = ((0, SIZE - len(held)), (0, batch.length - values.shape[1]))
        mask = body.modality.collate(held)["attention_mask"]
        yield {
            body.cut.tensor: np.pad(values, (*short, (0, 0))),
            body.manifest.inputs["attention_mask"]: np.pad(mask, short, mode="edge"),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("texts", type=int)
    parser.add_argument("mode", choices=["cached", "full", "keep"])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    problem = Problem(args.texts, args.threads)
    clock.say(keep(problem) if args.mode == "keep" else train(problem, args.mode))


def keep(problem: Problem) -> dict[str, Any]:
    """Compute what is not kept yet."""
    caching = problem.caching()
    caching.body.session  # noqa: B018  (loads the graph)
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    for _ in caching.steps():
        pass
    found = {"encode_s": time.perf_counter() - started_s}
    found["encode_cpu_s"] = clock.cpu_s() - cpu_before_s
    return {**found, "size_bytes": sum(path.stat().st_size for path in caching.folder.iterdir())}


def train(problem: Problem, mode: str) -> dict[str, Any]:
    """Train one epoch; graphs are made before."""
    folder = make(problem)
    with np.load(folder / "head.npz") as file:
        head = file["W"], file["b"]
    facts, _ = finetune_batches.read(folder)
    trainer = problem.trainer(facts["parameters"], head)
    plan = problem.planned()
    for batch in {batch.length: batch for batch in plan}.values():
        trainer.check(problem.activations.feeds(batch.rows, length=batch.length, size=SIZE))
    samples = [problem.body.load(row["text"].encode()) for row in problem.rows]
    problem.body.session  # noqa: B018  (loads the graph)
    feeds = cached(problem, plan) if mode == "cached" else full(problem, plan, samples)
    losses = []
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    for batch, feed in zip(plan, feeds, strict=True):
        losses.append(trainer.step(feed, *problem.answers(batch), facts["rate"]))
    found = {"encode_s": time.perf_counter() - started_s}
    found["encode_cpu_s"] = clock.cpu_s() - cpu_before_s
    return {**found, "losses": losses, "steps": len(plan)}


if __name__ == "__main__":
    main()
