"""What an embedding run commits, a second's work at a time."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from featx.data.ledger import Failure, Ledger
from featx.data.rows import Row
from featx.embedding.intake import Intake, Known
from featx.embedding.progress import FIRST_ERRORS, Progress
from featx.embedding.task import Task, Work
from featx.embedding.writing import RowWriter
from featx.types import Vectors

COMMIT_S = 1.0
COMMIT_ROWS = 1024
"""What is done is committed after so many seconds or rows, whichever comes first."""


class Commit:
    """Work that is done and not yet committed, and what has been.

    Attributes
    ----------
    progress : Progress
        Counts what is committed.
    unlisted : list of str
        Folders of the source that could not be read: what lies in them is not gone.
    new : int
        Rows of items that the set did not hold before.
    """

    def __init__(
        self, writer: RowWriter, known: Known, ledger: Ledger, intake: Intake, progress: Progress
    ) -> None:
        self.writer = writer
        self.known = known
        self.ledger = ledger
        self.intake = intake
        self.progress = progress
        self.unlisted: list[str] = []
        self.new = 0
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
        held = self.writer.held([work.what.id for work in self._works])
        found = {item_id: row.digest for item_id, row in held.items()}
        self._append([w for w in self._works if found.get(w.what.id) != w.what.digest.hex()])
        self.remember([*self._works, *leftovers])
        self.writer.seal()

    def _append(self, works: Sequence[Work]) -> None:
        """Write new rows, and list what failed."""
        fresh = [work for work in works if work.vector is not None]
        if fresh:
            self.writer.append([self._row(work.what) for work in fresh], _vectors(fresh))
            self.new += sum(work.what.held is None for work in fresh)
        failed = [work for work in works if work.problem]
        self.ledger.add(self._failure(work) for work in failed)
        self.unlisted += [w.what.id for w in failed if w.what.id.endswith("/")]

    def _row(self, task: Task) -> Row:
        """Return the row of an item; one that failed the last time gets its label back."""
        row, had = task.row, self.ledger.had.get(task.id)
        if had is None:
            return row
        return row._replace(label=row.label or had.label, split=row.split or had.split)

    def _failure(self, work: Work) -> Failure:
        task = work.what
        had = task.held or self.ledger.had.get(task.id)
        label, split = (None, None) if had is None else (had.label, had.split)
        return Failure(task.id, task.uri, work.problem, label, split)

    def remember(self, works: Sequence[Work]) -> None:
        """Tell the cache which vectors were computed, and of which files."""
        vectors, stats = self.known.vectors, self.known.stats
        made = [work for work in works if work.vector is not None and not work.what.is_cached]
        if vectors is not None and made:
            tasks = [work.what for work in made]
            vectors.put([t.digest for t in tasks], _vectors(made), [t.seen for t in tasks])
        if stats is not None:
            tasks = [work.what for work in works if work.what.stat and not work.problem]
            stats.remember([(t.key, t.stat, t.digest) for t in tasks if t.key is not None])


def _vectors(works: Sequence[Work]) -> Vectors:
    """Return the vectors of works that have one, shape (N, D)."""
    rows = [work.vector for work in works if work.vector is not None]
    return np.concatenate(rows).reshape(len(rows), -1)


def _counted(progress: Progress, works: Sequence[Work]) -> Progress:
    failed = [(work.what.id, work.problem) for work in works if work.problem]
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
