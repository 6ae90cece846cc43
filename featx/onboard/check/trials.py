"""Real items that a backbone is tried on before it is added."""

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featx import samples
from featx.backbone.backbone import Backbone
from featx.types import Content, Sample

MAILS = 3

LONG_WORDS = 700
"""Words of the longest text: more tokens than most models take, and not so many that it is slow."""

PICTURES = 4
SOUNDS = 3
ARRAYS = 4


def trial_items(backbone: Backbone) -> list[Content]:
    """Return items of the backbone's modality, of different sizes; the same each time.

    Texts come from short to longer than most models take, images and sounds from the samples that
    travel with featx; arrays are random.
    """
    makers = {"text": _texts, "image": _pictures, "audio": _sounds}
    modality = backbone.manifest.modality
    return makers[modality]() if modality in makers else _arrays(backbone)


def load_items(backbone: Backbone, items: Sequence[Content]) -> list[Sample]:
    """Return items as the graph takes them."""
    return [backbone.load(backbone.read(item)) for item in items]


def of_equal_length(modality: str, loaded: Sequence[Sample]) -> list[Sample]:
    """Return the two longest texts, cut to the same number of tokens; others as they are."""
    if modality != "text":
        return list(loaded)
    pair = sorted(loaded, key=lambda sample: sample.inputs["token_ids"].shape[1])[-2:]
    length = pair[0].inputs["token_ids"].shape[1]
    return [cut(sample, length) for sample in pair]


def cut(sample: Sample, length: int) -> Sample:
    """Return the first tokens of a text."""
    ids = sample.inputs["token_ids"][:, :length]
    return replace(sample, inputs={"token_ids": ids}, cost=length)


def describe(modality: str, sample: Sample) -> str:
    """Return what an item is, for messages."""
    if modality == "text":
        return f"a text of {sample.inputs['token_ids'].shape[1]} tokens"
    shape = next(iter(sample.inputs.values())).shape
    return f"an item of shape {shape}"


def _texts() -> list[Content]:
    with (samples.folder() / "mails.csv").open(encoding="utf-8", newline="") as file:
        mails = [row["text"] for row in csv.DictReader(file)]
    words = " ".join(mails).split()
    return ["red", "A dog runs over the green field.", *mails[:MAILS], " ".join(words[:LONG_WORDS])]


def _pictures() -> list[Content]:
    paths = sorted((samples.folder() / "clipart").glob("*/*.png"))
    return [path.read_bytes() for path in paths[:: len(paths) // PICTURES][:PICTURES]]


def _sounds() -> list[Content]:
    paths = sorted((samples.folder() / "sounds").glob("*/*.flac"))
    paths.sort(key=lambda path: path.stat().st_size)
    return [path.read_bytes() for path in paths[:: (len(paths) - 1) // (SOUNDS - 1)][:SOUNDS]]


def _arrays(backbone: Backbone) -> list[Content]:
    options = backbone.manifest.array
    shape = (options.shape if options else ()) or (backbone.manifest.dim,)
    rng = np.random.default_rng(0)
    return [rng.normal(size=shape).astype(np.float32) for _ in range(ARRAYS)]
