"""Following: opening a gallery, and seeing what a writer in another process does to it."""

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from featx.errors import FeatxError, StoreError
from featx.gallery.base import Base
from featx.gallery.changelog import Change, ChangeLog, DamagedLogError
from featx.gallery.folder import LOG, broken, read_facts
from featx.gallery.snapshot import Snapshot
from featx.gallery.stats import describe

TRIES = 20
"""Times that a gallery is read again whose writer replaces it meanwhile."""


def load(path: Path, log: ChangeLog) -> Snapshot:
    """Return what a gallery holds, its log included.

    Raises
    ------
    StoreError
        If something is missing or damaged, with the command that mends it.
    """
    for _ in range(TRIES):
        facts = read_facts(path)
        try:
            base = Base.open(path, facts)
        except FeatxError:
            if read_facts(path)["generation"] == facts["generation"]:
                raise
            continue
        generation, changes = _read(path, facts, log, int(facts["folded"]))
        if generation <= base.generation:
            return Snapshot.of(base).changed(changes)
    raise broken(path, facts, f"{LOG} is of a later generation than gallery.json")


def _read(
    path: Path, facts: Mapping[str, Any], log: ChangeLog, after: int
) -> tuple[int, list[Change]]:
    try:
        return log.read(after)
    except DamagedLogError as cause:
        raise broken(path, facts, str(cause)) from cause


Marks = list[tuple[int, int, int]]
"""Number, time of change and size of files; zeros where there is none."""


def _marks(path: Path) -> Marks:
    """Return what differs once the log has changed: of itself and of what SQLite writes first."""
    marks = []
    for name in (LOG, f"{LOG}-wal"):
        try:
            found = (path / name).stat()
            marks.append((found.st_ino, found.st_mtime_ns, found.st_size))
        except OSError:
            marks.append((0, 0, 0))
    return marks


class Follower:
    """A reader of a gallery, which sees what writers do.

    Parameters
    ----------
    path : Path

    Raises
    ------
    StoreError
        As `load` does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._log: ChangeLog | None = None
        self._marks: Marks = []
        self._open()

    def _open(self) -> None:
        facts = read_facts(self.path)
        marks = _marks(self.path)  # before it is read: a change in between is seen the next time
        try:
            log = ChangeLog.reading(self.path / LOG)
        except DamagedLogError as cause:
            raise broken(self.path, facts, str(cause)) from cause
        try:
            self._version = log.version()
            self.latest = load(self.path, log)
        except BaseException:
            log.close()
            raise
        self._log, self._marks = log, marks

    def current(self) -> Snapshot:
        """Return what the gallery holds now.

        Raises
        ------
        StoreError
            If it was closed, or was replaced by something that cannot be read.
        """
        with self._lock:
            if self._log is None:
                raise StoreError(f"{self.path}: is closed; open it again")
            if self._is_outdated(self._log):
                old = self._log  # open until then, so that no other file is given its inode
                self._open()
                old.close()
                return self.latest
            # Asked before the log is read: a change in between is seen the next time.
            version = self._log.version()
            if version != self._version:
                self._catch_up(self._log)
                self._version = version
            return self.latest

    def _is_outdated(self, log: ChangeLog) -> bool:
        """Return whether the log is another file, or has changed and cannot say so itself."""
        if log.is_frozen:
            return _marks(self.path) != self._marks
        try:
            return (self.path / LOG).stat().st_ino != self._marks[0][0]
        except OSError:
            return True

    def _catch_up(self, log: ChangeLog) -> None:
        latest = self.latest
        generation, changes = _read(self.path, latest.base.facts, log, latest.seq)
        if generation > latest.base.generation:
            self.latest = load(self.path, log)
        elif changes:
            self.latest = latest.changed(changes)

    def stats(self) -> dict[str, Any]:
        """Return the figures of `Gallery.stats`."""
        return describe(self.path, self.current(), None)

    def close(self) -> None:
        """Close the log; what is mapped goes with the last that uses it."""
        with self._lock:
            if self._log is not None:
                self._log.close()
            self._log = None
