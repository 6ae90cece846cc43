"""One backbone in a comparison: what it has embedded so far, and how fast it is."""

import time
from collections.abc import Sequence

import numpy as np

from featx.backbone.backbone import Backbone
from featx.data.segment import RowView
from featx.data.store import EmbeddingSet
from featx.embedding import stream
from featx.types import Content, Vectors


class Contestant:
    """One backbone in a comparison.

    Parameters
    ----------
    backbone : Backbone

    Attributes
    ----------
    name : str
    size_bytes : int
        Of its files.
    problems : dict of str to str
        Items that it cannot embed, the first ten of each part: id → why.
    truncated : int
        Items of which something was cut off.
    """

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self.name = backbone.manifest.name
        self.size_bytes = sum(entry.size_bytes for entry in backbone.manifest.files.values())
        self.problems: dict[str, str] = {}
        self.truncated = 0
        self._parts: list[Vectors] = []
        self._row: dict[str, int] = {}

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row

    def take(self, part: EmbeddingSet, columns: slice, *, truncated: int) -> None:
        """Take further items: some columns of a set, which stays where it is."""
        first = len(self._row)
        self._row |= {item_id: first + number for number, item_id in enumerate(part.ids)}
        X = part.X
        segments = X.segments if isinstance(X, RowView) else [X]
        self._parts += [segment[:, columns] for segment in segments]
        self.truncated += truncated

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Return the vectors of items that are embedded, in the order of `ids`, (N, D)."""
        rows = np.array([self._row[each] for each in ids], dtype=np.int64)
        return RowView(self._parts)[rows]

    def encode_s(self, contents: Sequence[Content]) -> float:
        """Return the seconds that encoding takes by itself, without the cache."""
        started_s = time.perf_counter()
        for _ in stream(contents, self.backbone):
            pass
        return time.perf_counter() - started_s
