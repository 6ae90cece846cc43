"""What embeds the items of a comparison: one backbone, or several at once."""

import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from featx.backbone.joint import Joint
from featx.data.sources.chosen import Chosen
from featx.data.sources.options import DescribedSource
from featx.data.splitcache import SplitCache
from featx.data.store import EmbeddingSet
from featx.data.vectorcache import VectorCache
from featx.embedding import Policy, Progress, Run
from featx.embedding.run import vectors_of
from featx.types import Vectors

OnProgress = Callable[[int, int], None]


class Embedder:
    """Embeds items part by part, with all backbones of a joint at once.

    Items come from the user-wide cache where it has them, and go into it, as if each backbone had
    embedded them by itself.

    Parameters
    ----------
    joint : Joint
    source : DescribedSource
    folder : Path
        For sets that are thrown away in the end; its own.
    cache : Path or None
        The user-wide cache; None works without one.

    Attributes
    ----------
    name : str
        Of all its backbones.
    problems : dict of str to str
        Items that it cannot embed, the first ten of each part: id → why.
    truncated : int
        Items of which something was cut off.
    item_s : float
        Seconds an item took in the last part.
    """

    def __init__(
        self, joint: Joint, source: DescribedSource, folder: Path, *, cache: Path | None
    ) -> None:
        self.name = joint.backbone.manifest.name
        self.problems: dict[str, str] = {}
        self.truncated = 0
        self.item_s = 0.0
        self._joint = joint
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
        _ = self._joint.backbone.session  # opened here: that takes as long as many items do
        started_s = time.perf_counter()
        out = self._folder / f"{len(self._parts)}.emb"
        run = _JointRun(self._joint, Chosen(self._source, set(ids)), out, self._cache)
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
        """Return the vectors of items that are embedded, those of all backbones side by side."""
        everything = np.concatenate([np.asarray(part.X[:]) for part in self._parts])
        return everything[[self._row[each] for each in ids]]


class _JointRun(Run):
    """A run whose vectors come from the caches of several backbones, and go there."""

    def __init__(
        self, joint: Joint, source: DescribedSource, out: Path, cache: Path | None
    ) -> None:
        super().__init__(source, joint.backbone, out, cache=cache, policy=Policy(partial=True))
        self._joint = joint

    def vectors(self, cache: Path) -> VectorCache | SplitCache:
        """Open the store of a lone backbone, or those of all."""
        parts = [vectors_of(each, cache) for each in self._joint.members]
        return SplitCache(parts, self._joint.columns) if len(parts) > 1 else parts[0]
