"""An exported file against the Python that it was made of, on real items."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import TAKEN, Backbone
from featx.backbone.pooling import normalize, pool_parts
from featx.backbone.runtime import open_session
from featx.errors import InputError
from featx.export.comparison import Comparison
from featx.export.differences import (
    answers_apart,
    other_labels,
    other_novelty,
    require_own_labels,
    vectors_apart,
    wrong_novelty,
)
from featx.export.exportable import Exportable
from featx.export.facts import Takes
from featx.export.names import EMBEDDING, ITEM, PIXELS, WINDOWS
from featx.export.pixels import Pixels
from featx.export.preprocessing import preprocessing_graph
from featx.modality.content import first_line
from featx.modality.image import ROLE
from featx.types import Content, Modality, Sample, Vectors

Feeds = dict[str, NDArray[Any]]

CHUNK = 8
"""Items of one run, after one by itself: a batch of any size must do."""


def compare(
    path: Path, exported: Exportable, backbone: Backbone, items: Sequence[Content], takes: Takes
) -> Comparison:
    """Run a file on items, and the backbone and head on the same.

    Parameters
    ----------
    path : Path
        Of an exported file.
    exported : Exportable
    backbone : Backbone
        That the embeddings trained on were made by.
    items : sequence of Content
    takes : {"embedding", "inputs", "pixels"}
        What the file takes.

    Raises
    ------
    InputError
        If the file does not run on one item or several, or gives labels that are not those of
        its probabilities.
    """
    samples = _loaded(backbone, items)
    order = sorted(range(len(samples)), key=lambda place: samples[place].cost)  # less padding
    items, samples = [items[place] for place in order], [samples[place] for place in order]
    X = backbone.encode_samples(samples)
    wanted = exported.answers(X)
    if takes == "pixels":
        feeds = _pictures(backbone, items)
    else:
        feeds = _batches(backbone, samples, X, takes)
    found = _run(path, feeds)
    if exported.task != "regress":
        require_own_labels(exported, found)
    rule, own = exported.novelty, found.get(EMBEDDING, X)
    vectors = [own, *([_joined(backbone, found[WINDOWS], samples)] if WINDOWS in found else [])]
    return Comparison(
        items=len(X),
        difference=answers_apart(exported, found, X, wanted),
        vectors=float(np.max([vectors_apart(each, X) for each in vectors])),
        labels=other_labels(exported, found, wanted),
        novel=0 if rule is None else other_novelty(rule, found, X),
        misjudged=0 if rule is None else wrong_novelty(rule, found, own),
        levels=_levels(backbone, items) if takes == "pixels" else None,
    )


def _run(path: Path, feeds: Iterator[Feeds]) -> Feeds:
    """Return all outputs, their batches joined."""
    session = open_session(path, device="cpu")
    batches = []
    for given in feeds:
        each = {name: _taken(array, session.inputs.get(name)) for name, array in given.items()}
        try:
            batches.append(session.run(session.outputs, each))
        except Exception as cause:  # ONNX Runtime's errors have no base of their own
            shapes = ", ".join(f"{name} {array.shape}" for name, array in each.items())
            message = f"{path.name}: cannot be run on {shapes}: {first_line(cause)}"
            raise InputError(message) from cause
    joined = [np.concatenate(arrays) for arrays in zip(*batches, strict=True)]
    return dict(zip(session.outputs, joined, strict=True))


def _taken(array: NDArray[Any], kind: str | None) -> NDArray[Any]:
    """Return an array as the graph takes it, as a backbone does; the number of a sound as it is."""
    return array if kind is None else array.astype(TAKEN[kind], copy=False)


def _pictures(backbone: Backbone, items: Sequence[Content]) -> Iterator[Feeds]:
    """Yield pictures one by one: they are of several sizes."""
    for sample in _loaded(Pixels(backbone.manifest), items):
        yield {PIXELS: sample.inputs[ROLE]}


def _batches(
    backbone: Backbone, samples: Sequence[Sample], X: Vectors, takes: Takes
) -> Iterator[Feeds]:
    """Yield one item by itself, then several at once, where they can be joined."""
    cannot_join = backbone.limits.parts == 1 and not backbone.settings.deterministic
    chunk = 1 if takes == "inputs" and cannot_join else CHUNK
    for start, stop in pairwise([0, *range(1, len(X), chunk), len(X)]):
        if takes == "embedding":
            yield {EMBEDDING: X[start:stop]}
        else:
            yield _inputs(backbone, samples[start:stop])


def _inputs(backbone: Backbone, samples: Sequence[Sample]) -> Feeds:
    """Return the inputs of samples, and of sounds the number of each window's."""
    roles = backbone.modality.collate(samples)
    feeds = {name: roles[role] for role, name in backbone.manifest.inputs.items()}
    if backbone.manifest.audio is not None:
        parts = [sample.parts for sample in samples]
        feeds[ITEM] = np.repeat(np.arange(len(samples)), parts)
    return feeds


def _loaded(by: Backbone | Modality, items: Sequence[Content]) -> list[Sample]:
    """Read and decode items: by a backbone, which puts its prompt before texts, or a modality."""
    return [by.load(by.read(item)) for item in items]


def _joined(backbone: Backbone, windows: Vectors, samples: Sequence[Sample]) -> Vectors:
    """Return the embeddings of sounds from those of their windows, as what takes a file back."""
    audio = backbone.manifest.audio
    assert audio is not None
    counts = np.array([sample.parts for sample in samples], dtype=np.int64)
    X = pool_parts(windows, counts, unit=audio.window_pooling == "unit_mean")[:, : backbone.dim]
    return normalize(X) if backbone.manifest.normalize else X


def _levels(backbone: Backbone, items: Sequence[Content]) -> float:
    """Return how far a pixel that the graph resizes is from Pillow's, of 255 levels."""
    options = backbone.manifest.image
    assert options is not None
    session = open_session(preprocessing_graph(options).SerializeToString(), device="cpu")
    std = np.array(options.std, dtype=np.float32)[:, None, None]
    pairs = zip(_loaded(Pixels(backbone.manifest), items), _loaded(backbone, items), strict=True)
    worst = 0.0
    for whole, resized in pairs:
        (found,) = session.run([ROLE], {PIXELS: whole.inputs[ROLE]})
        apart = found - backbone.modality.collate([resized])[ROLE]
        worst = max(worst, float(np.abs(apart * std).max()))
    return worst
