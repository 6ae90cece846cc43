"""One embedding run: a set is brought in line with a source."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

from threadpoolctl import threadpool_limits

from featx.backbone.backbone import Backbone
from featx.backbone.pipeline import Pipeline
from featx.backbone.timings import Timings
from featx.data.cache import cache_limit, keep_within
from featx.data.ledger import Ledger
from featx.data.sources.options import DescribedSource
from featx.data.splitcache import SplitCache
from featx.data.statindex import StatIndex
from featx.data.store import EmbeddingSet
from featx.data.vectorcache import VectorCache
from featx.data.writer import SetWriter
from featx.embedding.commit import Commit
from featx.embedding.intake import Intake, Known
from featx.embedding.loading import Loader
from featx.embedding.policy import Policy
from featx.embedding.progress import Progress
from featx.embedding.task import Task
from featx.embedding.tuning import Tuner
from featx.embedding.writing import RowWriter
from featx.errors import InputError, StoreError


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

    Attributes
    ----------
    timings : Timings
    notes : list of str
        What a user should know at the end.
    removed : int
        Rows that the set no longer holds, since the source does not list their items.
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
        self.removed = 0

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
            writer = stack.enter_context(self.writer())
            known = self._known(stack)
            ledger = Ledger(self.out)
            stack.callback(ledger.close)
            stack.enter_context(threadpool_limits(1, user_api="blas"))
            commit = Commit(writer, known, ledger, Intake(writer, known, self.policy), progress)
            pipeline = self._pipeline(known)
            try:
                before = writer.committed
                yield from self._encode(pipeline, commit)
                made = writer.finish(partial=self.policy.partial or bool(commit.unlisted))
                self.removed = max(0, before + commit.new - len(made))
            except BaseException:
                pipeline.close()
                with suppress(StoreError):
                    commit.rescue(pipeline.leftovers())
                    ledger.keep_old()
                raise

    def writer(self) -> RowWriter:
        """Open what the rows are written to: a set."""
        return SetWriter(
            self.out,
            model=self.backbone.facts,
            command=self.command,
            source=self.source.describe(),
        )

    def tuner(self) -> Tuner:
        """Return what finds the size of batches."""
        return Tuner(self.cache, len(self.source))

    def vectors(self, cache: Path) -> VectorCache | SplitCache:
        """Open what remembers vectors: a store of the backbone's fingerprint."""
        return vectors_of(self.backbone, cache)

    def _known(self, stack: ExitStack) -> Known:
        if self.cache is None:
            return Known()
        vectors, stats = self.vectors(self.cache), StatIndex(self.cache)
        for store in (stats, vectors):
            stack.callback(store.close)
            stack.callback(self._note_problem, store)
        return Known(vectors, stats)

    def _note_problem(self, store: VectorCache | SplitCache | StatIndex) -> None:
        if store.problem and store.problem not in self.notes:
            self.notes.append(store.problem)

    def _pipeline(self, known: Known) -> Pipeline[Task]:
        pipeline = Pipeline[Task](
            self.backbone.replicas(),
            Loader(self.backbone, known, self.policy).load,
            loaders=self.policy.loaders,
            tune=self.tuner().limits,
        )
        self.timings = pipeline.timings
        return pipeline

    def _encode(self, pipeline: Pipeline[Task], commit: Commit) -> Iterator[Progress]:
        """Run the pipeline, and commit what it gives."""
        for ready in pipeline.run(commit.intake.works(self.source)):
            commit.add(ready)
            if commit.is_due:
                yield commit.now()
                self.policy.check(*commit.errors)
        yield commit.now()
        self.policy.check(*commit.errors)
        if not self.policy.partial:
            require_any(commit.progress)
        if commit.unlisted:
            self.notes.append(
                f"{commit.unlisted[0]} cannot be listed: what the set holds of it was kept, and "
                "nothing was dropped"
            )


def vectors_of(backbone: Backbone, cache: Path) -> VectorCache:
    """Open the store of a backbone's vectors in the user-wide cache."""
    name, dim = backbone.manifest.name, backbone.dim
    return VectorCache(cache, fingerprint=backbone.fingerprint, dim=dim, name=name)


def require_any(progress: Progress) -> None:
    """Raise before a source without one good item empties the set.

    Raises
    ------
    InputError
        If every item failed.
    """
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
