"""An exported file against the Python that it was made of, on real items."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import TAKEN, Backbone
from featx.backbone.runtime import open_session
from featx.errors import InputError
from featx.export.exportable import Exportable
from featx.export.metadata import Takes
from featx.export.names import EMBEDDING, ITEM, LABEL, NOVEL, PIXELS, PROBABILITIES, VALUES
from featx.export.pixels import Pixels
from featx.export.preprocessing import preprocessing_graph
from featx.modality.content import first_line
from featx.modality.image import ROLE
from featx.types import Content, Modality, Sample, Vectors

EXACT = 1e-5
"""Largest difference in probability where only the order of float32 sums differs; of values, as a
share of the largest value."""

ROUNDED = 5e-3
"""The same where weights are rounded to float16, or the graph resizes pictures: a pixel that is
rounded to the level next to it shows in the vector."""

Feeds = dict[str, NDArray[Any]]

CHUNK = 8
"""Items of one run, after one by itself: a batch of any size must do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How an exported file differs from Python.

    Attributes
    ----------
    items : int
    difference : float
        Largest difference in probability; of values, as a share of the largest value.
    labels : int
        Items that get another label.
    novel : int
        Items that one calls novel and the other does not.
    levels : float or None
        Largest difference of a resized pixel, of 255, where the graph resizes.
    """

    items: int
    difference: float
    labels: int = 0
    novel: int = 0
    levels: float | None = None


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
        If the file does not run on one item or several, or gives another label than that of its
        highest probability.
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
    is_value = exported.task == "regress"
    values = found[VALUES if is_value else PROBABILITIES].astype(np.float64)
    if exported.task == "classify":
        _require_own_label(exported, values, found[LABEL])
    novel = 0 if exported.flags is None else (found[NOVEL] != exported.flags(X)).sum()
    scale = max(1.0, float(np.abs(wanted).max())) if is_value else 1.0
    return Comparison(
        items=len(X),
        difference=float(np.abs(values - wanted).max() / scale),
        labels=int(_labels_differ(exported, values, wanted).sum()),
        novel=int(novel),
        levels=_levels(backbone, items) if takes == "pixels" else None,
    )


def require_equal(found: Comparison, where: str, *, is_exact: bool) -> None:
    """Raise if a file differs more than it may.

    Parameters
    ----------
    found : Comparison
    where : str
        What was exported.
    is_exact : bool
        Whether only the order of sums may differ.

    Raises
    ------
    InputError
        Saying by how much, and what is allowed.
    """
    problem = ""
    most = EXACT if is_exact else ROUNDED
    if not found.difference <= most:  # nor where it is no number
        problem = f"differ by {found.difference:.2g}; at most {most:g} is allowed"
    elif found.labels and not is_exact:
        problem = f"give {found.labels} of {found.items} items another label; none may have one"
    if problem:
        remedy = f"serve it instead: featx serve {where}"
        if not is_exact:
            remedy = "leave out --precision and --with-preprocessing"
        message = f"{where}: not written: answers of the file and of Python {problem}; {remedy}"
        raise InputError(message)


def _run(path: Path, feeds: Iterator[Feeds]) -> Feeds:
    """Return all outputs, their batches joined."""
    session = open_session(path, device="cpu")
    batches = []
    for given in feeds:
        each = {name: _taken(array, session.inputs.get(name)) for name, array in given.items()}
        try:
            batches.append(session.run(session.outputs, each))
        except Exception as cause:
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


def _require_own_label(
    exported: Exportable, values: NDArray[np.float64], labels: NDArray[Any]
) -> None:
    own = [exported.classes[code] for code in values.argmax(axis=1)]
    if labels.tolist() != own:
        message = f"{exported.where}: the labels of the file are not those of its probabilities"
        raise InputError(message)


def _labels_differ(
    exported: Exportable, values: NDArray[np.float64], wanted: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which items (N,) get another class, or other tags; values are no labels."""
    if exported.task == "regress":
        return np.zeros(len(values), np.bool_)
    if exported.task == "classify":
        return np.asarray(values.argmax(axis=1) != wanted.argmax(axis=1))
    return np.asarray(((values > 0.5) != (wanted > 0.5)).any(axis=1))


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
