"""Reading a gallery in PostgreSQL, and seeing what its writer does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from featx.errors import StoreError
from featx.gallery.folder import FACTS, read_facts
from featx.gallery.postgres.failures import GoneError
from featx.gallery.postgres.figures import figures
from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.state import mend, read_counted, read_facts_of, read_state

Secrets = Sequence[Mapping[str, str]]
"""Passwords and the like of each server, where this process was given any."""


class PostgresReader:
    """A reader of a gallery; a `featx.gallery.held.Source`.

    Parameters
    ----------
    path : Path
    secrets : sequence of mapping, optional

    Raises
    ------
    StoreError
        If a server cannot be reached, or its tables are not those of the gallery.
    """

    def __init__(self, path: Path, secrets: Secrets = ()) -> None:
        self.path = path
        self._secrets = secrets
        self._lock = Lock()
        self._shards: Shards | None = None
        self._open()

    @property
    def latest(self) -> PostgresHeld:
        """What the gallery held when it was last asked for."""
        return self._latest

    def _open(self) -> None:
        marks = _marks(self.path)
        facts = read_facts(self.path)
        secrets = self._secrets if len(self._secrets) == len(facts["servers"]) else ()
        try:
            shards = Shards.open(self.path, facts, secrets)
        except GoneError as cause:
            raise StoreError(f"{self.path}: {cause}; build it anew: {mend(self.path)}") from cause
        try:
            self._latest = opened(self.path, facts, shards)
        except BaseException:
            shards.close()
            raise
        self._facts, self._marks = facts, marks
        old, self._shards = self._shards, shards
        if old is not None:
            old.close()

    def current(self) -> PostgresHeld:
        """Return what the gallery holds now.

        Raises
        ------
        StoreError
            If it was closed, cannot be reached, or was replaced by what cannot be read.
        """
        with self._lock:
            if self._shards is None:
                raise StoreError(f"{self.path}: is closed; open it again")
            if _marks(self.path) != self._marks:
                self._open()
            latest, facts = self._latest, self._facts
        try:
            found = newest(latest, facts)  # unlocked: others need not wait for the answer
        except StoreError as error:
            return self._reopened(latest, error)
        with self._lock:
            is_last = self._latest is latest or (
                self._latest.shards is found.shards and _age(found) >= _age(self._latest)
            )
            if is_last:  # else another thread has seen more meanwhile
                self._latest = found
            return self._latest

    def _reopened(self, asked: PostgresHeld, error: StoreError) -> PostgresHeld:
        """Return what is there now, where what was asked is gone, or was closed meanwhile."""
        with self._lock:
            if self._shards is asked.shards:
                if not isinstance(error, GoneError):
                    raise error
                self._open()  # another gallery was just built at this place
            elif self._shards is None:
                raise error
            return self._latest

    def stats(self) -> dict[str, Any]:
        """Return the figures of `Gallery.stats`."""
        return figures(self.current())

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            if self._shards is not None:
                self._shards.close()
            self._shards = None


def opened(path: Path, facts: Mapping[str, Any], shards: Shards) -> PostgresHeld:
    """Return what a gallery holds, read for the first time."""
    tables = shards.tables
    state, fitted = shards.head.ask(
        lambda session: (read_state(session, tables), read_facts_of(session, tables))
    )
    return PostgresHeld(path, {**facts, **fitted}, shards, state)


def newest(latest: PostgresHeld, facts: Mapping[str, Any]) -> PostgresHeld:
    """Return what a gallery holds now; the same object where nothing has changed."""
    shards = latest.shards
    state = shards.head.ask(lambda session: read_state(session, shards.tables))
    if state == latest.state:
        return latest
    if state.generation != latest.generation:
        return opened(latest.path, facts, shards)
    if not latest.has_names:
        return PostgresHeld(latest.path, latest.facts, shards, state)
    # Whoever asked for them will ask again; read apart they may be of a later change.
    state, counted = shards.head.ask(lambda session: read_counted(session, shards.tables))
    return PostgresHeld(latest.path, latest.facts, shards, state, counted)


def _age(held: PostgresHeld) -> tuple[int, int]:
    return held.seq, held.generation


def _marks(path: Path) -> tuple[int, int, int]:
    """Return what differs once ``gallery.json`` is another file."""
    try:
        found = (path / FACTS).stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_mtime_ns, found.st_size
