"""Real items of a modality: golden ones and samples, for comparisons that mean something."""

import csv
from collections.abc import Callable, Sequence

import numpy as np

from featx import samples
from featx.backbone.backbone import Backbone
from featx.backbone.golden import load_golden
from featx.types import Content
from featx.zoo.catalog import golden_file
from featx.zoo.manifest import Manifest

ITEMS = 32


def real_items(backbone: Backbone) -> list[Content]:
    """Return `ITEMS` items: the golden ones of a backbone, then samples of its modality.

    Arrays have no samples; theirs are random numbers, the same each time.
    """
    golden = load_golden(backbone)[0] if golden_file(backbone.manifest).is_file() else []
    wanted = ITEMS - len(golden)
    return [*golden, *_SAMPLES[backbone.manifest.modality](backbone.manifest, wanted)][:ITEMS]


def _texts(_: Manifest, n: int) -> list[Content]:
    with (samples.folder() / "mails.csv").open(encoding="utf-8", newline="") as file:
        texts = sorted((row["text"] for row in csv.DictReader(file)), key=len)
    return _spread(texts[: len(texts) // 2], n)  # the longer half takes most of the time


def _images(_: Manifest, n: int) -> list[Content]:
    return _spread(sorted((samples.folder() / "clipart").rglob("*.png")), n)


def _sounds(_: Manifest, n: int) -> list[Content]:
    return _spread(sorted((samples.folder() / "sounds").rglob("*.flac")), n)


def _arrays(manifest: Manifest, n: int) -> list[Content]:
    shape = manifest.array.shape if manifest.array and manifest.array.shape else (manifest.dim,)
    return list(np.random.default_rng(0).normal(size=(n, *shape)).astype(np.float32))


def _spread(items: Sequence[Content], n: int) -> list[Content]:
    """Return `n` items at equal distances."""
    return [items[number * len(items) // n] for number in range(n)]


_SAMPLES: dict[str, Callable[[Manifest, int], list[Content]]] = {
    "array": _arrays,
    "audio": _sounds,
    "image": _images,
    "text": _texts,
}
