"""One backbone in a comparison: what it has embedded so far, and how fast it is."""

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from featx.backbone.backbone import Backbone
from featx.data.sources.chosen import Chosen
from featx.data.sources.options import DescribedSource
from featx.data.store import EmbeddingSet
from featx.embedding import Policy, Progress, Run, stream
from featx.types import Content, Vectors

OnProgress = Callable[[int, int], None]


class Contestant:
    """One backbone in a comparison.

    Items come from the user-wide cache where it has them, and go into it.

    Parameters
    ----------
    backbone : Backbone
    source : DescribedSource
    folder : Path
        For sets that are thrown away in the end; its own.
    cache : Path or None
        The user-wide cache; None works without one.

    Attributes
    ----------
    name : str
    size_bytes : int
        Of its files.
    problems : dict of str to str
        Items that it cannot embed, the first ten of each part: id → why.
    truncated : int
        Items of which something was cut off.
    item_s : float
        Seconds an item took in the last part.
    """

    def __init__(
        self, backbone: Backbone, source: DescribedSource, folder: Path, *, cache: Path | None
    ) -> None:
        self.backbone = backbone
        self.name = backbone.manifest.name
        self.size_bytes = sum(entry.size_bytes for entry in backbone.manifest.files.values())
        self.problems: dict[str, str] = {}
        self.truncated = 0
        self.item_s = 0.0
        self._source = source
        self._folder = folder
        self._cache = cache
        self._parts: list[EmbeddingSet] = []
        self._row: dict[str, int] = {}

    def __contains__(self, item_id: str) -> bool:
        return item_id in self._row

    def embed(
        self,
        ids: Sequence[str],
        *,
        is_over: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = lambda *_: None,
    ) -> bool:
        """Embed further items; what is done when the time is over is kept in the cache alone.

        Parameters
        ----------
        ids : sequence of str
        is_over : callable, optional
            Asked after each second or so.
        on_progress : callable, optional
            Told how many items are done, and of how many.

        Returns
        -------
        bool
            Whether it came to its end.
        """
        _ = self.backbone.session  # opened here: that takes as long as many items do
        started_s = time.perf_counter()
        out = self._folder / f"{len(self._parts)}.emb"
        source = Chosen(self._source, set(ids))
        run = Run(source, self.backbone, out, cache=self._cache, policy=Policy(partial=True))
        steps = cast("Generator[Progress, None, None]", run.steps())
        for progress in steps:
            on_progress(progress.done, progress.total)
            if progress.done < progress.total and is_over():
                steps.close()
                return False
        self.problems |= dict(progress.first_errors)
        self.truncated += progress.truncated
        self.item_s = (time.perf_counter() - started_s) / len(ids)
        self._take(EmbeddingSet.open(out))
        return True

    def _take(self, part: EmbeddingSet) -> None:
        first = len(self._row)
        self._row |= {item_id: first + number for number, item_id in enumerate(part.ids)}
        self._parts.append(part)

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """Return the vectors of items that are embedded, in the order of `ids`, (N, D)."""
        everything = np.concatenate([np.asarray(part.X[:]) for part in self._parts])
        return np.ascontiguousarray(everything[[self._row[each] for each in ids]])

    def encode_s(self, contents: Sequence[Content]) -> float:
        """Return the seconds that encoding takes by itself, without the cache."""
        started_s = time.perf_counter()
        for _ in stream(contents, self.backbone):
            pass
        return time.perf_counter() - started_s
