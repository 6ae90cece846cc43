"""One embedding run: a set is brought in line with a source."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from featx.backbone.backbone import Backbone
from featx.backbone.pipeline import Pipeline
from featx.backbone.timings import Timings
from featx.data.cache import cache_limit, keep_within
from featx.data.ledger import Ledger
from featx.data.sources.options import DescribedSource
from featx.data.statindex import StatIndex
from featx.data.store import EmbeddingSet
from featx.data.vectorcache import VectorCache
from featx.data.writer import SetWriter
from featx.embedding.intake import Intake, Known
from featx.embedding.loading import Loader
from featx.embedding.policy import Policy
from featx.embedding.progress import FIRST_ERRORS, Progress
from featx.embedding.task import Task, Work
from featx.embedding.tuning import Tuner
from featx.errors import InputError, StoreError

COMMIT_S = 1.0
COMMIT_ROWS = 1024
"""What is done is committed after so many seconds or rows, whichever comes first."""


class Run:
    """One embedding run: a set is brought in line with a source.

    Items that the set holds with the same digest are kept; changed and new items are encoded;
    items that are gone are dropped; labels and splits follow the source.  Whatever ends the run
    early, what was committed stays, and the next run goes on from there.

    Parameters
    ----------
    source : DescribedSource
    backbone : Backbone
    out : Path
        Folder of the set.
    cache : Path or None
        The user-wide cache; None works without one.
    command : str
        Recorded in the set.
    policy : Policy
    """

    def __init__(
        self,
        source: DescribedSource,
        backbone: Backbone,
        out: Path,
        *,
        cache: Path | None = None,
        command: str = "",
        policy: Policy | None = None,
    ) -> None:
        self.source = source
        self.backbone = backbone
        self.out = out
        self.command = command
        self.policy = policy or Policy()
        # The vectors of a backbone without a graph are the items themselves.
        self.cache = cache if "graph" in backbone.manifest.files else None
        self.timings = Timings()
        self.notes: list[str] = []

    def steps(self) -> Iterator[Progress]:
        """Do the work, and yield how far it is after each commit.

        Raises
        ------
        SpaceError
            If `out` holds a set of another backbone.
        StoreError
            If the set cannot be written.
        InputError
            If not one item could be embedded.
        ItemError
            If more items failed than the policy allows.
        """
        limit = cache_limit()
        progress = Progress(total=len(self.source))
        with ExitStack() as stack:
            if self.cache is not None:
                stack.callback(keep_within, self.cache, limit)
            writer = stack.enter_context(self._writer())
            known = self._known(stack)
            ledger = Ledger(self.out)
            stack.callback(ledger.close)
            stack.enter_context(threadpool_limits(1, user_api="blas"))
            commit = _Commit(writer, known, ledger, Intake(writer, known, self.policy), progress)
            pipeline = self._pipeline(known)
            try:
                yield from self._encode(pipeline, commit)
                writer.finish(partial=self.policy.partial)
            except BaseException:
                with suppress(StoreError):
                    commit.rescue(pipeline.leftovers())
                raise

    def _writer(self) -> SetWriter:
        return SetWriter(
            self.out,
            model=self.backbone.facts,
            command=self.command,
            source=self.source.describe(),
        )

    def _known(self, stack: ExitStack) -> Known:
        if self.cache is None:
            return Known()
        backbone = self.backbone
        vectors = VectorCache(
            self.cache,
            fingerprint=backbone.fingerprint,
            dim=backbone.dim,
            name=backbone.manifest.name,
        )
        stats = StatIndex(self.cache)
        for store in (stats, vectors):
            stack.callback(store.close)
            stack.callback(self._note_problem, store)
        return Known(vectors, stats)

    def _note_problem(self, store: VectorCache | StatIndex) -> None:
        if store.problem and store.problem not in self.notes:
            self.notes.append(store.problem)

    def _pipeline(self, known: Known) -> Pipeline[Task]:
        pipeline = Pipeline[Task](
            self.backbone.replicas(),
            Loader(self.backbone, known, self.policy).load,
            loaders=self.policy.loaders,
            tune=Tuner(self.cache, len(self.source)).limits,
        )
        self.timings = pipeline.timings
        return pipeline

    def _encode(self, pipeline: Pipeline[Task], commit: "_Commit") -> Iterator[Progress]:
        """Run the pipeline, and commit what it gives."""
        for ready in pipeline.run(commit.intake.works(self.source)):
            commit.add(ready)
            if commit.is_due:
                yield commit.now()
                self.policy.check(*commit.errors)
        yield commit.now()
        self.policy.check(*commit.errors)
        _require_any(commit.progress)


class _Commit:
    """Work that is done and not yet committed, and what has been."""

    def __init__(
        self, writer: SetWriter, known: Known, ledger: Ledger, intake: Intake, progress: Progress
    ) -> None:
        self.writer = writer
        self.known = known
        self.ledger = ledger
        self.intake = intake
        self.progress = progress
        self._works: list[Work] = []
        self._last_s = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether it is time to commit."""
        waited_s = time.monotonic() - self._last_s
        return len(self._works) >= COMMIT_ROWS or waited_s >= COMMIT_S

    @property
    def errors(self) -> tuple[int, int, str]:
        """Items that failed, items in all, and the first problem."""
        first = [f"{item_id}: {problem}" for item_id, problem in self.progress.first_errors[:1]]
        return self.progress.errors, self.progress.total, "".join(first)

    def add(self, works: Sequence[Work]) -> None:
        """Take work that is settled, in the order of the source."""
        self._works.extend(works)

    def now(self) -> Progress:
        """Write the new rows, tell the set and the cache what was learned, and count."""
        works = self._works
        self._append(works)
        self.writer.tell([work.what.facts for work in works if not work.problem])
        self._works = []
        self.remember(works)
        self.intake.release(works)
        self.progress = _counted(self.progress, works)
        self._last_s = time.monotonic()
        return self.progress

    def rescue(self, leftovers: Sequence[Work]) -> None:
        """Keep what is done after something ended the run, even in the middle of a commit.

        Parameters
        ----------
        leftovers : sequence of Work
            Settled, but with a gap in the order before them: their vectors go to the cache.
        """
        self.writer.seal()  # which brings the writer in line with what really was committed
        held = self.writer.held([work.what.item.id for work in self._works])
        found = {item_id: row.digest for item_id, row in held.items()}
        self._append([w for w in self._works if found.get(w.what.item.id) != w.what.digest.hex()])
        self.remember([*self._works, *leftovers])
        self.writer.seal()

    def _append(self, works: Sequence[Work]) -> None:
        """Write new rows, and list what failed."""
        fresh = [work for work in works if work.vector is not None]
        if fresh:
            X = np.stack([work.vector for work in fresh if work.vector is not None])
            self.writer.append([work.what.row for work in fresh], X)
        failed = [work for work in works if work.problem]
        self.ledger.add((w.what.item.id, w.what.item.uri, w.problem) for w in failed)

    def remember(self, works: Sequence[Work]) -> None:
        """Tell the cache which vectors were computed, and of which files."""
        vectors, stats = self.known.vectors, self.known.stats
        made = [work for work in works if work.vector is not None and not work.what.is_cached]
        if vectors is not None and made:
            X = np.stack([work.vector for work in made if work.vector is not None])
            vectors.put([w.what.digest for w in made], X, [w.what.seen for w in made])
        if stats is not None:
            tasks = [work.what for work in works if work.what.stat and not work.problem]
            stats.remember([(t.key, t.stat, t.digest) for t in tasks if t.key is not None])


def _counted(progress: Progress, works: Sequence[Work]) -> Progress:
    failed = [(work.what.item.id, work.problem) for work in works if work.problem]
    kept = sum(work.what.is_kept for work in works)
    cached = sum(work.what.is_cached and not work.problem for work in works)
    room = FIRST_ERRORS - len(progress.first_errors)
    return replace(
        progress,
        kept=progress.kept + kept,
        cached=progress.cached + cached,
        embedded=progress.embedded + len(works) - kept - cached - len(failed),
        errors=progress.errors + len(failed),
        truncated=progress.truncated
        + sum(bool(work.what.seen.get("truncated")) for work in works if not work.problem),
        first_errors=(*progress.first_errors, *failed[:room]),
    )


def _require_any(progress: Progress) -> None:
    """Raise before a source without one good item empties the set."""
    if progress.errors and progress.done == progress.errors:
        item_id, problem = progress.first_errors[0]
        message = f"nothing could be embedded; first problem: {item_id}: {problem}"
        raise InputError(message)


def embed(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    *,
    cache: Path | None = None,
    command: str = "",
) -> Iterator[Progress]:
    """Run to the end, and yield how far it is; see `Run`."""
    return Run(source, backbone, out, cache=cache, command=command).steps()


def embed_all(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    *,
    cache: Path | None = None,
    command: str = "",
) -> EmbeddingSet:
    """Run to the end and open the set; see `Run`."""
    for _ in embed(source, backbone, out, cache=cache, command=command):
        pass
    return EmbeddingSet.open(out)
