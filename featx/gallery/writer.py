"""The one writer of a gallery: changes go to the log, and from there into the parts."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread, current_thread, get_native_id
from typing import Any

from featx.errors import FeatxError, StoreError
from featx.gallery.admission import additions, removals
from featx.gallery.changelog import Change, ChangeLog, DamagedLogError
from featx.gallery.folder import LOCK, LOG, broken, clean, read_facts
from featx.gallery.follow import load
from featx.gallery.generation import commit, next_number
from featx.gallery.items import ItemFacts
from featx.gallery.lock import lock_gallery
from featx.gallery.rewriting import Rewritten, compacted, folded, needs_compaction
from featx.gallery.snapshot import Snapshot
from featx.gallery.stats import describe
from featx.types import Vectors

FOLD_AT = 4096
FOLD_LEAST = 1024
FOLD_SHARE = 64
"""Pending changes from which they are folded into the parts in the background.

That is one for `FOLD_SHARE` rows, from `FOLD_LEAST` to `FOLD_AT`: a fold takes longer with the rows
of the gallery, a search with what is pending, which is searched exactly.
"""

_NICE = 10  # of the thread that folds: the p99 of searches beside adds falls by a tenth


class GalleryWriter:
    """Adds, removes, folds and compacts; holds the lock of the gallery until it is closed.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    latest : Snapshot
        What the gallery holds now.
    fold_error : str or None
        Why the last background fold failed.

    Raises
    ------
    StoreError
        If another process writes to the gallery, or it is missing or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fold_error: str | None = None
        self._failed_at = 0  # pending changes when the last background fold failed
        self._folding: Thread | None = None
        self._changing = RLock()  # held while the log and `latest` change
        self._rewriting = RLock()  # held while parts are written
        self._is_closed = False
        read_facts(path)  # nothing is locked that is no gallery
        self._lock = lock_gallery(path)
        try:
            self._log = self._opened_log()
            try:
                self.latest = self._recovered()
            except BaseException:
                self._log.close()
                raise
        except BaseException:
            os.close(self._lock)
            raise

    def _opened_log(self) -> ChangeLog:
        try:
            return ChangeLog.writing(self.path / LOG)
        except DamagedLogError as cause:
            raise broken(self.path, read_facts(self.path), str(cause)) from cause

    def _recovered(self) -> Snapshot:
        """Read the gallery, and end what a writer that was killed had begun."""
        snapshot = load(self.path, self._log)
        facts = snapshot.base.facts
        if self._log.generation() < snapshot.base.generation:
            self._log.trim(int(facts["folded"]), snapshot.base.generation)
        clean(self.path, facts["files"])
        return snapshot

    def current(self) -> Snapshot:
        """Return what the gallery holds now."""
        self._require_open()
        return self.latest

    def _require_open(self) -> None:
        if self._is_closed:
            raise StoreError(f"{self.path}: is closed; open it again")

    def _require_in_place(self) -> None:
        """Raise where another gallery is at the path: writing would be its end, not a change."""
        try:
            is_own = os.path.samestat(os.fstat(self._lock), (self.path / LOCK).stat())
        except OSError:
            is_own = False
        if not is_own:
            raise StoreError(f"{self.path}: was moved or replaced while it was open; open it again")

    def add(
        self,
        ids: Sequence[str],
        X: Vectors,
        *,
        facts: Sequence[ItemFacts] | None,
        replace: bool,
    ) -> None:
        """Add items, all or none; see `Gallery.add`."""
        with self._changing:
            self._write(additions(self.current(), ids, X, facts, replace=replace))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, all or none; see `Gallery.remove`."""
        with self._changing:
            self._write(removals(self.current(), ids))

    def _write(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        self._require_in_place()
        before = self.latest
        after = before.changed(changes)
        try:
            self._log.append(before.seq + 1, changes)
        except BaseException as cause:
            before.recent.forget_later()
            if isinstance(cause, DamagedLogError):
                raise broken(self.path, before.base.facts, str(cause)) from cause
            raise
        self.latest = after
        if after.pending - self._failed_at >= _fold_at(len(after.base)):
            self._fold_in_background()

    def _fold_in_background(self) -> None:
        if self._folding is None or not self._folding.is_alive():
            self._folding = Thread(target=self._fold_quietly, name="featx-fold")
            self._folding.start()

    def _fold_quietly(self) -> None:
        _yield_cores()
        try:
            self.fold()
        except Exception as cause:  # noqa: BLE001  # nobody waits here; the log keeps everything
            self.fold_error = str(cause) or type(cause).__name__
            self._failed_at = self.latest.pending
        else:
            self.fold_error, self._failed_at = None, 0

    def fold(self) -> None:
        """Move the pending changes from the log into the parts; rows keep their numbers."""
        with self._rewriting:
            self._require_open()
            if self.latest.pending:
                self._rewrite(folded)

    def compact(self) -> None:
        """Drop removed rows, join parts, fit the index anew; see `Gallery.compact`."""
        with self._rewriting:
            self.fold()
            if needs_compaction(self.latest.base):
                self._rewrite(compacted)
            with suppress(StoreError), self._changing:  # the gallery is as it shall be without it
                self._log.wipe()

    def _rewrite(self, write: Callable[[Snapshot, int], Rewritten]) -> None:
        self._require_in_place()
        try:
            with self._changing:
                pinned, number = self.latest, next_number(self.path, self._log)
            self._adopt(write(pinned, number))
        except BaseException:
            self._put_right()
            raise

    def _adopt(self, rewritten: Rewritten) -> None:
        base = rewritten.base
        with self._changing:
            self._require_in_place()
            base.facts.update(commit(self.path, self._log, base.facts))
            self.latest = self.latest.moved(base, rewritten.taken, rewritten.kept)

    def _put_right(self) -> None:
        """Hold what ``gallery.json`` names, whether a rewriting that failed got that far or not."""
        # What cannot be read now is found when the gallery is opened the next time.
        with suppress(FeatxError), self._changing:
            self._require_in_place()
            facts = read_facts(self.path)
            if int(facts["generation"]) != self.latest.base.generation:
                self.latest = load(self.path, self._log)
            clean(self.path, facts["files"])

    def stats(self) -> dict[str, Any]:
        """Return the figures of `Gallery.stats`."""
        return describe(self.path, self.current(), self.fold_error)

    def close(self) -> None:
        """Wait for a fold in the background, close the log and give up the lock."""
        if self._folding is not None and self._folding is not current_thread():
            self._folding.join()
        with self._rewriting, self._changing:
            if not self._is_closed:
                self._is_closed = True
                self._log.close()
                os.close(self._lock)


def _yield_cores() -> None:
    """Let other threads go first, where the system has priorities of threads."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, get_native_id(), _NICE)


def _fold_at(rows: int) -> int:
    return min(FOLD_AT, max(FOLD_LEAST, rows // FOLD_SHARE))
