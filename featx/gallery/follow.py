"""Following: opening a gallery, and seeing what a writer in another process does to it."""

from pathlib import Path
from threading import Lock

from featx.errors import FeatxError, StoreError
from featx.gallery.base import Base
from featx.gallery.changelog import ChangeLog
from featx.gallery.folder import LOG, broken, read_facts
from featx.gallery.snapshot import Snapshot

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
        generation, changes = log.read(int(facts["folded"]))
        if generation <= base.generation:
            return Snapshot.of(base).changed(changes)
    raise broken(path, facts, f"{LOG} is of a later generation than gallery.json")


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

    fold_error: str | None = None

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._log: ChangeLog | None = None
        self._inode = 0
        self._open()

    def _open(self) -> None:
        facts = read_facts(self.path)
        try:
            inode = (self.path / LOG).stat().st_ino if (self.path / LOG).exists() else 0
            log = ChangeLog.reading(self.path / LOG)
        except StoreError as cause:
            raise broken(self.path, facts, str(cause)) from cause
        try:
            self._version = log.version()
            self.latest = load(self.path, log)
        except BaseException:
            log.close()
            raise
        self._log, self._inode = log, inode

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
            if self._is_replaced():
                self._log.close()
                self._open()
                return self.latest
            # Asked before the log is read: a change in between is seen the next time.
            version = self._log.version()
            if version != self._version:
                self._catch_up(self._log)
                self._version = version
            return self.latest

    def _is_replaced(self) -> bool:
        """Return whether the folder is another one of the same name."""
        try:
            return (self.path / LOG).stat().st_ino != self._inode
        except OSError:
            return True

    def _catch_up(self, log: ChangeLog) -> None:
        generation, changes = log.read(self.latest.seq)
        if generation > self.latest.base.generation:
            self.latest = load(self.path, log)
        elif changes:
            self.latest = self.latest.changed(changes)

    def close(self) -> None:
        """Close the log; what is mapped goes with the last that uses it."""
        with self._lock:
            if self._log is not None:
                self._log.close()
            self._log = None
