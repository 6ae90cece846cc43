"""What embeds the items of a comparison: for each backbone, or for several at once."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import cast

from featx.backbone.backbone import Backbone
from featx.backbone.joint import Joiner, Joint, lone
from featx.data.sources.chosen import Chosen
from featx.data.sources.options import DescribedSource
from featx.data.splitcache import SplitCache
from featx.data.store import EmbeddingSet
from featx.data.vectorcache import VectorCache
from featx.embedding import Policy, Progress, Run
from featx.embedding.run import vectors_of
from featx.errors import InputError, ItemError
from featx.fingerprint import digest
from featx.transfer.compare.contestant import Contestant

OnProgress = Callable[[int, int], None]

ASKED = 16
"""Items that tell whether the cache knows them already."""

JOINING_S = 0.015
"""Reading, joining and proving graphs takes about so long a MB, on two cores."""

JOINING_SHARE = 0.2
"""Of the time that is left."""

ITEM_S = 0.01
"""And a backbone that is not run for an item saves about so much: a picture or 60 tokens."""


class Embedder:
    """Embeds items of a source for contestants; those that share a graph embed together.

    Items come from the user-wide cache where it has them, and go into it, as if each backbone had
    embedded them by itself.

    Parameters
    ----------
    source : DescribedSource
    folder : Path
        For what is thrown away in the end.
    cache : Path or None
        The user-wide cache; None works without one.
    """

    def __init__(self, source: DescribedSource, folder: Path, *, cache: Path | None) -> None:
        self._source = source
        self._folder = folder
        self._cache = cache
        self._joiner = Joiner(folder)
        self._joints: dict[tuple[Backbone, ...], list[Joint]] = {}

    def groups(
        self, contestants: Sequence[Contestant], ids: Sequence[str], *, left_s: float = float("inf")
    ) -> "list[Group]":
        """Return what is to embed items for contestants.

        Parameters
        ----------
        contestants : sequence of Contestant
            Those that are still in the race.
        ids : sequence of str
            Items.  Few are not worth joining graphs for; and a backbone that the cache knows them
            of stays by itself: others would have it compute them again.
        left_s : float, optional
            Seconds, of which joining may take a small part.
        """
        known = self._known(contestants, ids) if len(contestants) > 1 else set()
        fresh = tuple(each.backbone for each in contestants if each not in known)
        if fresh not in self._joints and pays(fresh, len(ids), left_s=left_s):
            self._joints = {fresh: self._joiner.join(fresh)}
        alone = [lone(each.backbone) for each in contestants if each in known]
        left = list(contestants)
        return [
            Group(joint, [_pop(left, member) for member in joint.members], self)
            for joint in [*alone, *self._joints.get(fresh, map(lone, fresh))]
        ]

    def run(self, joint: Joint, ids: Sequence[str]) -> "_JointRun":
        """Return a run that embeds some items, into a folder of its own."""
        source = Chosen(self._source, set(ids))
        return _JointRun(joint, source, self._new_folder() / "part.emb", self._cache)

    def _new_folder(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True)
        return Path(mkdtemp(dir=self._folder))

    def _known(self, contestants: Sequence[Contestant], ids: Sequence[str]) -> set[Contestant]:
        """Return those of which the cache has all vectors, as far as some items tell."""
        if self._cache is None:
            return set()
        asked = set(ids[:: -(-len(ids) // ASKED)])
        digests = []
        for item in Chosen(self._source, asked):
            with suppress(ItemError):
                digests.append(digest(contestants[0].backbone.read(item.content)))
        return {each for each in contestants if self._holds(each.backbone, digests)}

    def _holds(self, backbone: Backbone, digests: Sequence[bytes]) -> bool:
        if self._cache is None or "graph" not in backbone.manifest.files:
            return False
        store = vectors_of(backbone, self._cache)
        try:
            return len(store.get_many(digests)) == len(set(digests)) > 0
        finally:
            store.close()


class Group:
    """Contestants that one run embeds items for.

    Attributes
    ----------
    name : str
        Of all their backbones.
    contestants : sequence of Contestant
        In the order of the joint's members.
    item_s : float
        Seconds an item took.
    """

    def __init__(self, joint: Joint, contestants: Sequence[Contestant], embedder: Embedder) -> None:
        self.name = joint.backbone.manifest.name
        self.contestants = contestants
        self.item_s = 0.0
        self._joint = joint
        self._embedder = embedder

    def embed(
        self,
        ids: Sequence[str],
        *,
        is_over: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = lambda *_: None,
    ) -> bool:
        """Embed further items; what is done when the time is over is kept in the cache alone.

        Items that one of several backbones cannot embed are tried by each of them by itself.

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

        def run(joint: Joint, taking: Sequence[Contestant], some: Sequence[str]) -> bool:
            return self._embedder.run(joint, some).into(taking, is_over, on_progress)

        left: Sequence[str] = ids
        if len(self.contestants) > 1:
            if not run(self._joint, self.contestants, ids):
                return False
            left = [each for each in ids if each not in self.contestants[0]]
        for contestant in self.contestants if left else ():
            if not run(lone(contestant.backbone), [contestant], left):
                return False
        self.item_s = (time.perf_counter() - started_s) / len(ids)
        return True


def pays(backbones: Sequence[Backbone], n: int, *, left_s: float = float("inf")) -> bool:
    """Return whether joining graphs may take less time than it saves for so many items.

    Of the seconds that are left it must take a small part.
    """
    files = [entry for each in backbones for entry in each.manifest.files.values()]
    cost_s = JOINING_S * sum(entry.size_bytes for entry in files) / 1e6
    return cost_s < min(ITEM_S * n * (len(backbones) - 1), JOINING_SHARE * left_s)


def _pop(contestants: list[Contestant], backbone: Backbone) -> Contestant:
    """Take the first one of a backbone out of a list."""
    places = (place for place, each in enumerate(contestants) if each.backbone is backbone)
    return contestants.pop(next(places))


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

    def into(
        self, taking: Sequence[Contestant], is_over: Callable[[], bool], on_progress: OnProgress
    ) -> bool:
        """Run, and hand what was embedded to contestants; return whether it came to its end.

        What is wrong with an item, or with all, is told by a lone contestant; several get what
        was embedded of all of them.
        """
        is_alone = len(taking) == 1
        steps = cast("Generator[Progress, None, None]", self.steps())
        try:
            for progress in steps:
                on_progress(progress.done, progress.total)
                if progress.done < progress.total and is_over():
                    steps.close()
                    return False
        except InputError:
            if is_alone:
                raise
            return True
        part = EmbeddingSet.open(self.out)
        for contestant, columns in zip(taking, self._joint.columns, strict=True):
            contestant.take(part, columns, truncated=progress.truncated)
        if is_alone:
            taking[0].problems |= dict(progress.first_errors)
        return True
