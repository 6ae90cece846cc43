"""One backbone in a comparison: what it has embedded so far, and how fast it is."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from featx.backbone.backbone import Backbone
from featx.backbone.joint import join
from featx.data.sources.options import DescribedSource
from featx.embedding import stream
from featx.transfer.compare.embedder import Embedder
from featx.types import Content, Vectors


class Contestant:
    """One backbone in a comparison.

    Parameters
    ----------
    backbone : Backbone
    embedder : Embedder
        Embeds items with it, and may do so with others at the same time.
    columns : slice
        Where its vectors lie among those of the embedder.

    Attributes
    ----------
    name : str
    size_bytes : int
        Of its files.
    """

    def __init__(self, backbone: Backbone, embedder: Embedder, columns: slice) -> None:
        self.backbone = backbone
        self.embedder = embedder
        self.name = backbone.manifest.name
        self.size_bytes = sum(entry.size_bytes for entry in backbone.manifest.files.values())
        self._columns = columns

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Return the vectors of items that are embedded, in the order of `ids`, (N, D)."""
        return np.ascontiguousarray(self.embedder.vectors(ids)[:, self._columns])

    def encode_s(self, contents: Sequence[Content]) -> float:
        """Return the seconds that encoding takes by itself, without the cache."""
        started_s = time.perf_counter()
        for _ in stream(contents, self.backbone):
            pass
        return time.perf_counter() - started_s


def line_up(
    backbones: Sequence[Backbone], source: DescribedSource, folder: Path, *, cache: Path | None
) -> list[Contestant]:
    """Return a contestant for each backbone; those that share most of a graph embed together.

    Parameters
    ----------
    backbones : sequence of Backbone
    source : DescribedSource
    folder : Path
        For what is thrown away in the end.
    cache : Path or None
        The user-wide cache; None works without one.
    """
    found = {}
    for number, joint in enumerate(join(backbones, folder)):
        embedder = Embedder(joint, source, folder / str(number), cache=cache)
        for backbone, columns in zip(joint.members, joint.columns, strict=True):
            found[id(backbone)] = Contestant(backbone, embedder, columns)
    return [found[id(backbone)] for backbone in backbones]


def embedders(contestants: Sequence[Contestant]) -> list[Embedder]:
    """Return what embeds for some contestants, each once."""
    return list(dict.fromkeys(each.embedder for each in contestants))
