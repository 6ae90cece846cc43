"""Sources, sets and runs of units, for the tests of scale."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from featx.backbone.backbone import Backbone, identity
from featx.data.sources.arrays import Arrays
from featx.data.sources.options import Options
from featx.data.store import EmbeddingSet
from featx.embedding import Policy, Progress, Run
from featx.scale.assignment import Assignment, Recipe
from featx.scale.destination import Destination
from featx.scale.engine import InProcess
from featx.scale.run import ScaledRun
from featx.types import Item, Vectors

DIM = 4
SIZE = 16
"""Items of a unit, so that small sources have many units."""


def numbers(count: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).standard_normal((count, DIM), dtype=np.float32)


def names(count: int) -> list[str]:
    return [f"i{number}" for number in range(count)]


def assigned(out: Path) -> Assignment:
    """Begin a set, and return what a worker of it is told."""
    backbone = Backbone(identity(DIM))
    with Destination.open(out, "0000", model=backbone.facts, source={}) as destination:
        destination.commit([], finished=False, size=8)
        return Assignment(
            recipe=Recipe(model="identity", dim=DIM),
            policy=Policy(partial=True),
            url=destination.url,
            set_id=destination.manifest["set_id"],
            fingerprint=backbone.fingerprint,
            version=version("featx"),
            items=1,
            run="0000",
        )


class Listed:
    """Items that a test lists itself, as a source."""

    skipped = 0

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def describe(self) -> dict[str, Any]:
        return {"kind": "paths", "paths": ["listed"]}


@dataclass
class Scaled:
    """An ``.npz`` file that is embedded unit by unit, again and again."""

    path: Path
    backbone: Backbone
    out: Path
    policy: Policy = field(default_factory=Policy)
    removed: int = 0

    def save(self, X: Vectors, ids: Sequence[str], y: Sequence[str] | None = None) -> None:
        labels = [""] * len(ids) if y is None else y  # an empty label is none
        np.savez(self.path, X=X, ids=np.array(ids, dtype=str), y=np.array(labels, dtype=str))

    @property
    def source(self) -> Arrays:
        return Arrays(self.path, Options(modality="array"))

    def begin(self, size: int = SIZE) -> None:
        """Begin the set with small units."""
        facts, description = self.backbone.facts, self.source.describe()
        with Destination.open(self.out, "0000", model=facts, source=description) as destination:
            destination.commit([], finished=False, size=size)

    def run(self, policy: Policy | None = None) -> Progress:
        """Embed what is saved, and say how far it came."""
        if not self.out.exists():
            self.begin()
        chosen = policy or self.policy
        scaled = ScaledRun(self.source, InProcess(self.backbone), self.out, policy=chosen)
        *_, last = scaled.steps()
        self.removed = scaled.removed
        return last

    def embed(self, X: Vectors, ids: Sequence[str], y: Sequence[str] | None = None) -> Progress:
        self.save(X, ids, y)
        return self.run()

    def plain(self, out: Path | None = None) -> Run:
        """Embed what is saved without units, and return the run."""
        run = Run(self.source, self.backbone, out or self.out.with_suffix(".plain"))
        for _ in run.steps():
            pass
        return run

    @property
    def set(self) -> EmbeddingSet:
        return EmbeddingSet.open(self.out)

    @property
    def vectors(self) -> Vectors:
        return np.asarray(self.set.X)

    @property
    def written(self) -> dict[str, int]:
        """Name → time of every vector file."""
        return {path.name: path.stat().st_mtime_ns for path in self.out.glob("segment-*.npy")}
