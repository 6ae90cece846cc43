"""From items to work: what the set or the cache holds already is settled at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from featx.backbone.job import Job
from featx.data.places.stored import seen
from featx.data.splitcache import SplitCache
from featx.data.statindex import StatIndex
from featx.data.told import Held
from featx.data.vectorcache import VectorCache
from featx.embedding.policy import REFUSED, Policy
from featx.embedding.task import Task, Work
from featx.embedding.writing import RowWriter
from featx.types import Item, Stored

CHUNK = 512
CHUNK_BYTES = 32 << 20
"""Items that are looked up together, fewer if they hold their content already."""

TOO_LONG = f"is longer than {REFUSED}; cut it, or use --on-truncate chunk"

REPEATED = "its id occurs twice in the source; give each item its own"


@dataclass(frozen=True, slots=True)
class Known:
    """What saves work: the cache's vectors and the digests of unchanged files."""

    vectors: VectorCache | SplitCache | None = None
    stats: StatIndex | None = None

    def settle_cached(self, works: Sequence[Work], policy: Policy) -> list[Work]:
        """Settle what the cache holds a vector of, by digest, and return the rest."""
        if self.vectors is None:
            return list(works)
        found = self.vectors.get_many([work.what.digest for work in works if work.what.digest])
        missing = []
        for work in works:
            if work.what.digest not in found:
                missing.append(work)
                continue
            vector, seen = found[work.what.digest]
            work.what.seen, work.what.is_cached = seen, True
            refused = seen.get("truncated", False) and policy.on_truncate == "error"
            work.settle(**({"problem": TOO_LONG} if refused else {"vector": vector}))
        return missing


class Intake:
    """The items of a source as work for a pipeline, in order.

    An item is settled here if its id stands twice in the source, if its file is unchanged and
    the set holds its vector, or if the cache does.
    """

    def __init__(self, writer: RowWriter, known: Known, policy: Policy) -> None:
        self._writer = writer
        self._known = known
        self._policy = policy
        self._live: set[str] = set()

    def works(self, items: Iterable[Item]) -> Iterator[Work]:
        """Yield the work of every item; runs in the one thread that the writer belongs to."""
        for chunk in _chunks(items):
            yield from self._look(chunk)

    def release(self, works: Iterable[Work]) -> None:
        """Forget the ids of work that has been committed: the writer knows them from now on."""
        self._live.difference_update([work.what.id for work in works])

    def _look(self, items: Sequence[Item]) -> list[Work]:
        held = self._writer.held([item.id for item in items])
        works = [_work(item, held.get(item.id)) for item in items]
        for item, work in zip(items, works, strict=True):
            if problem := self._problem(item, work.what.held):
                work.settle(problem=problem)
        self._recall([work.what for work in works if not work.is_settled])
        for work in works:
            if not work.is_settled:
                keep_if_unchanged(work, self._policy)
        self._known.settle_cached([w for w in works if not w.is_settled], self._policy)
        return works

    def _problem(self, item: Item, held: Held | None) -> str:
        is_repeated = item.id in self._live or (held is not None and held.is_told)
        self._live.add(item.id)
        return REPEATED if is_repeated else item.problem

    def _recall(self, tasks: Sequence[Task]) -> None:
        """Find the digests of files that have not changed since they were last read."""
        if self._known.stats is None:
            return
        _ask(tasks)
        files = [(task, key) for task in tasks if (key := task.key) is not None]
        looks = self._known.stats.look([key for _, key in files])
        for (task, _), look in zip(files, looks, strict=True):
            if look.digest is None or self._policy.verify:
                task.stat = look.stat  # of a file that is going to be read
            else:
                task.digest = look.digest


def _ask(tasks: Sequence[Task]) -> None:
    """Ask object stores for the versions of files that were named, not listed."""
    stored = [(task, task.content) for task in tasks if isinstance(task.content, Stored)]
    unseen = [(task, content) for task, content in stored if not content.tag]
    if not unseen:
        return
    asked = seen([content for _, content in unseen])
    for (task, _), content in zip(unseen, asked, strict=True):
        task.content = content


def _work(item: Item, held: Held | None) -> Work:
    return Job(Task(item.id, item.content, item.uri, item.label, item.split, held))


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    chunk, size_bytes = list[Item](), 0
    for item in items:
        chunk.append(item)
        size_bytes += len(item.content) if isinstance(item.content, (bytes, str)) else 0
        if len(chunk) == CHUNK or size_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, size_bytes = [], 0
    if chunk:
        yield chunk


def keep_if_unchanged(work: Work, policy: Policy) -> None:
    """Settle work whose content is the one that the set holds a vector of."""
    task = work.what
    if task.held is None or not task.digest or not task.is_unchanged:
        return
    if task.held.truncated and policy.on_truncate == "error":
        work.settle(problem=TOO_LONG)
        return
    task.is_kept = True
    task.seen = {"truncated": task.held.truncated}
    work.settle()
