"""Two thousand labelled texts, one block of MiniLM to tune on them, and some batches of both.

A problem's folder holds what the workers of both sides train on::

    tail.onnx           the last block, pooling and unit length
    head.npz            W, b: solved on the frozen embeddings
    batch-00.npz ...    values at the cut, mask, targets and weights, as an epoch has them
    facts.json          names and settings
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from bench.support import labelled
from bench.support.places import HOME, RUNS
from featx import LinearProbe
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.finetune.graph.cuts import cut_for_blocks, find_cuts
from featx.finetune.graph.parameters import trainable
from featx.finetune.graph.plain import plain_graph
from featx.finetune.graph.shapes import probe_feeds
from featx.finetune.graph.split import Split, split
from featx.finetune.steps.activations import Activations
from featx.finetune.steps.batches import Batch, plan_batches
from featx.finetune.steps.body import Body
from featx.finetune.steps.caching import Caching
from featx.finetune.steps.optimiser import Optimiser
from featx.finetune.steps.targets import one_hot
from featx.finetune.steps.trainer import Trainer
from featx.zoo import catalog

MODEL = "minilm-l6"
SIZE, SEED = 32, 0
SHOWN = 12
RATE = 1e-4
OPTIMISER = Optimiser(weight_decay=0.01, l2_sp=1e-3)
CACHE = RUNS / "activations"

Feeds = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Problem:
    """Some texts and the backbone that is tuned on them.

    Attributes
    ----------
    texts : int
    threads : int
    """

    texts: int
    threads: int

    @property
    def folder(self) -> Path:
        return HOME / "problems" / f"finetune-{self.texts}"

    @cached_property
    def backbone(self) -> Backbone:
        settings = Settings(device="cpu", threads=self.threads)
        return Backbone(catalog.find(MODEL), settings)

    @cached_property
    def parts(self) -> Split:
        manifest = self.backbone.manifest
        graph = plain_graph(manifest)
        cuts = find_cuts(graph, probe_feeds(graph, manifest), name=MODEL)
        return split(graph, cut_for_blocks(cuts, 1))

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        lines = labelled.texts().read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines[: self.texts]]

    @cached_property
    def names(self) -> list[str]:
        return sorted({row["label"] for row in self.rows})

    @cached_property
    def codes(self) -> NDArray[np.int64]:
        return np.array([self.names.index(row["label"]) for row in self.rows])

    @cached_property
    def body(self) -> Body:
        return Body(self.backbone, self.parts)

    def caching(self, cache: Path | None = CACHE) -> Caching:
        bulk = Backbone(self.backbone.manifest, self.backbone.settings.in_bulk())
        texts = [row["text"] for row in self.rows]
        return Caching(Body(bulk, self.parts), texts, cache=cache)

    @cached_property
    def activations(self) -> Activations:
        caching = self.caching()
        for _ in caching.steps():
            pass
        return caching.activations()

    def planned(self) -> list[Batch]:
        rng = np.random.default_rng(SEED)
        rows = np.arange(self.texts)
        return plan_batches(self.activations.lengths, rows, size=SIZE, rng=rng)

    def answers(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return targets and weights, filled up to `SIZE` rows."""
        missing = SIZE - len(batch.rows)
        targets = one_hot(self.codes[batch.rows], len(self.names), smoothing=0.1)
        weights = np.ones(len(batch.rows), np.float32)
        return np.pad(targets, ((0, missing), (0, 0)), mode="edge"), np.pad(weights, (0, missing))

    def trainer(self, parameters: list[str], head: tuple[Any, Any]) -> Trainer:
        return Trainer(
            self.parts.tail,
            parameters,
            head=head,
            optimiser=OPTIMISER,
            settings=self.backbone.settings,
        )


def make(problem: Problem) -> Path:
    """Write a problem's folder, unless it is there."""
    folder = problem.folder
    if (folder / "facts.json").is_file():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(problem.parts.tail, folder / "tail.onnx")
    head = solved(problem)
    np.savez(folder / "head.npz", W=head[0], b=head[1])
    plan = problem.planned()
    shown = [plan[number * len(plan) // SHOWN] for number in range(min(SHOWN, len(plan)))]
    for number, batch in enumerate(shown):
        feeds = problem.activations.feeds(batch.rows, length=batch.length, size=SIZE)
        targets, weights = problem.answers(batch)
        values, mask = feeds.values()
        arrays = {"values": values, "mask": mask, "targets": targets, "weights": weights}
        np.savez(folder / f"batch-{number:02}.npz", **arrays)
    names = trainable(problem.parts.tail)
    idle = problem.trainer(names, head).idle(feeds, targets, weights)
    facts = {
        "inputs": list(feeds),
        "parameters": [name for name in names if name not in idle],
        "batches": len(shown),
        "lengths": [batch.length for batch in shown],
        "optimiser": {"weight_decay": OPTIMISER.weight_decay, "l2_sp": OPTIMISER.l2_sp},
        "rate": RATE,
    }
    (folder / "facts.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return folder


def solved(problem: Problem) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the head that is solved on frozen embeddings."""
    X = problem.backbone.encode([row["text"] for row in problem.rows])
    probe = LinearProbe().fit(X, problem.codes)
    return probe.coef_.astype(np.float32), probe.intercept_.astype(np.float32)
