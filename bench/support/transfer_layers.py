"""Several layers of a backbone side by side, beside its last layer alone.

Heads with everything chosen by itself are trained on a few labels a class and on many; the other
items judge.  The zoo's vectors of several layers hold those of the last one, so both sides have
the same items from the same run.
"""

import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import finetune_cases, labelled, rows, tools
from bench.support.labelled import Labelled
from bench.support.memoryset import MemorySet
from bench.support.packages import Unavailable
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.index.metric import unit_rows
from featx.train.recipe import Recipe
from featx.train.train import train
from featx.zoo import catalog

COMMAND = "python -m bench.transfer --only layers"
SIZES = (4, 16, 64)
THREADS = 2
SEED = 20261126

Vectors = NDArray[np.float32]
Names = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class Case:
    """Labelled items and a backbone.

    Attributes
    ----------
    name : str
    model : str
        Of several layers.
    last : slice
        Columns of the last layer.
    is_unit : bool
        Whether the vectors of the last layer alone have unit length.
    items : int
        Drawn at random.
    pool : callable
        Returns items with their classes, and raises `Unavailable`.
    """

    name: str
    model: str
    last: slice
    is_unit: bool
    items: int
    pool: Callable[[], list[Labelled]]

    def vectors(self, items: list[str]) -> dict[str, Vectors]:
        """Return the embeddings of both sides."""
        manifest = catalog.find(self.model)
        backbone = Backbone(manifest, Settings(device="cpu", threads=THREADS))
        is_text = manifest.modality == "text"
        contents = [item if is_text else Path(item).read_bytes() for item in items]
        X = backbone.encode(contents)
        last = np.ascontiguousarray(X[:, self.last])
        return {"last": unit_rows(last) if self.is_unit else last, "several": X}


CASES = (
    Case("texts", tools.LAYERS, slice(384, None), True, 4000, finetune_cases.texts),
    Case("clip art", tools.IMAGE_LAYERS, slice(1280), False, 3000, finetune_cases.images),
)


def measure(*, seeds: int, is_quick: bool = False) -> list[dict[str, Any]]:
    """Return rows: mean accuracy of several layers and of the last, for each number of labels."""
    most, sizes = (600, SIZES[:1]) if is_quick else (sys.maxsize, SIZES)
    return [row for case in CASES for row in _rows(case, seeds, most, sizes)]


def _rows(case: Case, seeds: int, most: int, sizes: tuple[int, ...]) -> Iterator[dict[str, Any]]:
    try:
        pool = labelled.drawn(case.pool(), min(most, case.items), seed=SEED)
    except Unavailable as error:
        yield rows.not_run(f"layers, {case.name}", f"{COMMAND} ({error})")
        return
    y = np.array([label for _, label in pool], dtype=object)
    X = case.vectors([item for item, _ in pool])
    for size in sizes:
        found = {
            side: [accuracy(vectors, y, size, seed) for seed in range(seeds)]
            for side, vectors in X.items()
        }
        gains = [
            100 * (ours - last) for ours, last in zip(found["several"], found["last"], strict=True)
        ]
        value, alone, gain = map(statistics.mean, (found["several"], found["last"], gains))
        classes = len(set(y.tolist()))
        yield rows.row(
            f"layers, {case.name}, {classes} classes, {size} labels a class: accuracy",
            round(value, 4),
            peer="the last layer alone",
            peer_value=round(alone, 4),
            ratio=round(value / alone, 4),
            threads=THREADS,
            note=f"{case.model}; {len(y):,} items; paired gain in points, mean and standard "
            f"error of {seeds} draws: {gain:.1f} ± {rows.standard_error(gains):.1f}",
        )


def accuracy(X: Vectors, y: Names, size: int, seed: int) -> float:
    """Return the accuracy, on all other items, of a head of a draw of each class."""
    order = np.random.default_rng([SEED, seed]).permutation(len(y))
    drawn = np.concatenate([order[y[order] == name][:size] for name in sorted(set(y.tolist()))])
    rest = np.setdiff1d(order, drawn)
    head = train(MemorySet(X[drawn], y[drawn]), Recipe(seed=seed))
    winners = head.logits(X[rest]).argmax(axis=1)
    return float(np.mean(np.array(head.classes, dtype=object)[winners] == y[rest]))
