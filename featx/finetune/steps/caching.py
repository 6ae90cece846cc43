"""Running the body once over all items, and keeping what it makes of them."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Literal
from weakref import finalize

import numpy as np
from numpy.typing import NDArray

from featx.backbone.job import Job
from featx.backbone.pipeline import Pipeline
from featx.backbone.room import Room, room_for
from featx.data.cache import ACTIVATIONS
from featx.embedding.policy import LOADERS
from featx.errors import FeatxError, InputError, ItemError
from featx.finetune.steps.activations import Activations, extra_inputs
from featx.finetune.steps.body import Body
from featx.finetune.steps.cutstore import KEY_BYTES, VALUES, CutStore
from featx.fingerprint import DIGEST_BYTES, digest, hash_facts
from featx.types import Content, Sample, Vectors

View = Callable[[Sample, int, np.random.Generator], Sample]
"""From a sample and a number from 1 on to another view of the item."""

COMMIT_BYTES = 16 << 20
"""Of values that wait for a commit; what is lost if the power fails."""

VIEW_BYTES = KEY_BYTES - DIGEST_BYTES

CHANGED = "its bytes are not those that were embedded"

TEXT_ROOM = Room(jobs=512, size_bytes=64 << 20, chunk=32)
"""Values at a cut take a hundred times the memory of vectors, so fewer texts are under way."""


@dataclass(slots=True)
class Wanted:
    """A view of an item, and what is learned of it."""

    index: int
    view: int
    key: bytes = b""
    rows: int = 1

    @property
    def digest(self) -> bytes:
        """That of the item's bytes."""
        return self.key[:DIGEST_BYTES]


class Caching:
    """The values at a cut of all items, computed where the cache does not hold them.

    Whatever ends it early, what was committed stays, and the next run goes on from there.

    Parameters
    ----------
    body : Body
    contents : sequence of Content
    cache : Path or None
        The user-wide cache; None keeps the values until the activations are let go.
    views : int
        Views of each item: view 0 is the item as it is.
    view : callable or None
        Makes the others, see `View`; its generator is seeded by the item's digest and the number,
        so that a view is the same in every run.
    dtype : {"float16", "float32"}
        In float16, values are rounded by up to 0.05 %, which moves probabilities by some 1e-4.
    names : sequence of str
        What messages call the contents; by their numbers if there are none.

    Attributes
    ----------
    problems : dict of int to str
        Why a content has no values, by its index.

    Raises
    ------
    InputError
        If the values at this cut cannot be kept, or not be fed to the tail.
    """

    def __init__(  # noqa: PLR0913  (what is computed, how, and what it is called)
        self,
        body: Body,
        contents: Sequence[Content],
        *,
        cache: Path | None = None,
        views: int = 1,
        view: View | None = None,
        dtype: Literal["float16", "float32"] = "float16",
        names: Sequence[str] = (),
    ) -> None:
        extra_inputs(body)
        self.body = body
        self.problems: dict[int, str] = {}
        self._contents, self._views, self._view = contents, views, view
        self._cache, self._names = cache, names
        self._dtype = np.dtype(dtype)
        self._spans = np.zeros((views, len(contents), 2), dtype=np.int64)
        self._waiting: dict[bytes, NDArray[np.floating]] = {}
        self._wanted: list[Wanted] = []

    @cached_property
    def folder(self) -> Path:
        """Where the values lie."""
        if self._cache is None:
            return self._own_folder
        key = hash_facts({"body": self.body.fingerprint, "dtype": self._dtype.str})[:32]
        return self._cache / ACTIVATIONS / key

    @cached_property
    def _own_folder(self) -> Path:
        folder = Path(mkdtemp(prefix="featx-activations-"))
        finalize(self, rmtree, folder, ignore_errors=True)
        return folder

    def steps(
        self, digests: NDArray[np.uint8] | None = None
    ) -> Generator[tuple[int, int], None, None]:
        """Do the work, and yield how much of how much is done after each commit.

        Parameters
        ----------
        digests : ndarray of uint8, shape (N, 32), or None
            Of the contents as they were read before; one that has changed since is a problem.

        Raises
        ------
        StoreError
            If the disk is full, the place cannot be written, or another process writes there.
        InputError
            If float16 cannot hold a value, or an item has several parts.
        """
        store = CutStore(self.folder, width=self.body.width, dtype=self._dtype)
        try:
            pipeline = self._pipeline(store, digests)
            try:
                yield from self._run(pipeline, store)
            except BaseException:
                pipeline.close()
                with suppress(FeatxError):
                    self._take(pipeline.leftovers(), store)
                    self._commit(store)
                raise
        finally:
            store.close()
            self.body.let_go()

    def activations(self, view: int = 0) -> Activations:
        """Return one view of what `steps` made, row i for content i."""
        return Activations(
            self.body,
            self.folder / VALUES,
            self._spans[view],
            dtype=self._dtype,
            owner=self if self._cache is None else None,
        )

    def _pipeline(self, store: CutStore, digests: NDArray[np.uint8] | None) -> Pipeline[Wanted]:
        room = TEXT_ROOM if self.body.manifest.modality == "text" else room_for(self.body)
        load = partial(self._load, store, digests)
        return Pipeline[Wanted]([self.body], load, loaders=LOADERS, room=room)

    def _run(self, pipeline: Pipeline[Wanted], store: CutStore) -> Iterator[tuple[int, int]]:
        total = self._views * len(self._contents)
        jobs = (
            Job(Wanted(index, view))
            for index in range(len(self._contents))
            for view in range(self._views)
        )
        done = 0
        for ready in pipeline.run(jobs):
            self._take(ready, store)
            done += len(ready)
            if sum(array.nbytes for array in self._waiting.values()) >= COMMIT_BYTES:
                self._commit(store)
                yield done, total
        self._commit(store)
        yield done, total

    def _commit(self, store: CutStore) -> None:
        """Write what waits, and learn where all that was taken lies."""
        if self._waiting:
            store.append(list(self._waiting), list(self._waiting.values()))
        for wanted in self._wanted:
            self._spans[wanted.view, wanted.index] = store.span(wanted.key)
        self._waiting, self._wanted = {}, []

    def _load(
        self, store: CutStore, digests: NDArray[np.uint8] | None, jobs: Sequence[Job[Wanted]]
    ) -> None:
        """Read and decode what the store does not hold; in a loader's thread."""
        missing, raws = [], []
        for job in jobs:
            try:
                raw = self.body.read(self._contents[job.what.index])
            except ItemError as error:
                job.settle(problem=str(error))
                continue
            wanted = job.what
            wanted.key = job.key = item_key(raw, wanted.view)
            if digests is not None and digests[wanted.index].tobytes() != wanted.digest:
                job.settle(problem=CHANGED)
            elif store.holds(job.key):
                job.settle()
            else:
                missing.append(job)
                raws.append(raw)
        for job, loaded in zip(missing, self.body.load_many(raws), strict=True):
            if isinstance(loaded, ItemError):
                job.settle(problem=str(loaded))
            else:
                self._accept(job, loaded)

    def _accept(self, job: Job[Wanted], sample: Sample) -> None:
        if sample.parts != 1:
            index, audio = job.what.index, self.body.manifest.audio
            name = self._names[index] if self._names else f"item {index}"
            what, do = ("windows", "cut the sounds") if audio else ("parts", "embed without chunks")
            message = (
                f"{name}: has {sample.parts} {what}; fine-tuning takes items of one; {do}, or"
                " train a head alone: featx train"
            )
            raise InputError(message)
        if self.body.length_axes:
            job.what.rows = next(iter(sample.inputs.values())).shape[1]
        if job.what.view and self._view is not None:
            sample = self._view(sample, job.what.view, generator(job.what.key))
        job.sample = sample

    def _take(self, jobs: Sequence[Job[Wanted]], store: CutStore) -> None:
        """Let values wait for the next commit."""
        for job in jobs:
            wanted = job.what
            if job.problem:
                self.problems[wanted.index] = job.problem
                continue
            is_known = wanted.key in self._waiting or wanted.key in store
            if job.vector is not None and not is_known:
                values = job.vector.reshape(-1, store.width)[: wanted.rows]
                self._waiting[wanted.key] = self._narrowed(values)
            self._wanted.append(wanted)

    def _narrowed(self, values: Vectors) -> NDArray[np.floating]:
        with np.errstate(over="ignore"):
            narrow = values.astype(self._dtype)
        if not np.isfinite(narrow).all():
            message = (
                f"cut {self.body.cut.tensor!r}: its values reach {np.abs(values).max():.3g}, more"
                " than float16 holds; add --activations fp32"
            )
            raise InputError(message)
        return narrow


def item_key(raw: bytes, view: int) -> bytes:
    """Return what a view of an item is called, whose bytes are `raw`."""
    return digest(raw) + view.to_bytes(VIEW_BYTES, "little")


def generator(key: bytes) -> np.random.Generator:
    """Return the generator that draws the view of this key, always the same."""
    return np.random.default_rng(list(key))
