"""The one writer of a gallery in PostgreSQL."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from featx.errors import InputError, StoreError
from featx.gallery.admission import additions, removals
from featx.gallery.changelog import Change
from featx.gallery.folder import read_facts
from featx.gallery.items import ItemFacts
from featx.gallery.postgres.changing import count, forget, free_row, names_of, note, take_back
from featx.gallery.postgres.compacting import compact, needs_compaction
from featx.gallery.postgres.failures import GoneError, explained
from featx.gallery.postgres.figures import figures
from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.load import Entry, copying
from featx.gallery.postgres.locking import Locks
from featx.gallery.postgres.reader import Secrets, newest, opened
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.state import State, mend, put_state
from featx.types import Vectors


class PostgresWriter:
    """Adds, removes and compacts; a `featx.gallery.held.Writer`.

    It holds a lock of each server, by a connection that all it writes goes through: once that is
    lost another process may write, and nothing of this one arrives any more.

    Parameters
    ----------
    path : Path
    secrets : sequence of mapping, optional

    Raises
    ------
    StoreError
        If another process writes to the gallery, or a server cannot be reached.
    """

    def __init__(self, path: Path, secrets: Secrets = ()) -> None:
        self.path = path
        self._changing = RLock()
        self._facts = read_facts(path)
        self._is_closed = False
        self._locks: Locks | None = None
        try:
            self._shards = Shards.open(path, self._facts, secrets)
        except GoneError as cause:
            raise StoreError(f"{path}: {cause}; build it anew: {mend(path)}") from cause
        try:
            self._locks = Locks.take(path, self._shards)
            self._latest = opened(path, self._facts, self._shards)
            self._recover()
        except BaseException:
            self.close()
            raise

    @property
    def latest(self) -> PostgresHeld:
        """What the gallery held when it was last asked for."""
        return self._latest

    def current(self) -> PostgresHeld:
        """Return what the gallery holds now."""
        if self._is_closed:
            raise StoreError(f"{self.path}: is closed; open it again")
        return self._latest

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
            self._write(additions(self._locked(), ids, X, facts, replace=replace))

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items, all or none; see `Gallery.remove`."""
        with self._changing:
            self._write(removals(self._locked(), ids))

    def _write(self, changes: Sequence[Change]) -> None:
        if not changes:
            return
        held, before = self._latest, self._latest.state
        gone = [change.id for change in changes if change.action != "add"]
        rows = list(held.find_all(gone).values())
        entries = [
            Entry(before.next_row + at, change.id, change.facts, change.vector)
            for at, change in enumerate(each for each in changes if each.vector is not None)
            if change.vector is not None
        ]
        after = State(
            seq=before.seq + 1,
            generation=before.generation,
            changes=before.changes + len(changes),
            items=before.items + len(entries) - len(rows),
            removed=before.removed + len(rows),
            next_row=before.next_row + len(entries),
        )
        self._commit(before, after, entries, rows)
        self._latest = PostgresHeld(self.path, held.facts, self._shards, after)

    def _commit(
        self, before: State, after: State, entries: Sequence[Entry], rows: Sequence[int]
    ) -> None:
        """Write a change on all servers, on the first one last."""
        assert self._locks is not None
        homes: dict[int, list[Entry]] = {}
        for entry in entries:
            homes.setdefault(self._shards.home(entry.id), []).append(entry)
        counts: Counter[tuple[str, str]] = Counter()
        try:
            for at, (server, session) in reversed(list(enumerate(self._locks))):
                own = homes.get(at, [])
                if not own and not rows and at:
                    continue
                with explained(server.dsn), session.transaction():
                    counts.subtract(forget(session, server.tables, rows, after.seq))
                    if own:
                        with copying(session, server.tables, after.seq) as put:
                            for entry in own:
                                put(entry)
                    if at:
                        note(session, server.tables, after.seq)
                    else:
                        counts.update(names_of(entry.facts for entry in entries))
                        count(session, server.tables, counts)
                        put_state(session, server.tables, before, after)
        except BaseException as cause:
            self._fail(cause)
            raise

    def _fail(self, cause: BaseException) -> None:
        """Take back what a change has left on some servers; after a loss, when locked again."""
        if isinstance(cause, InputError) and self._locks is not None:
            self._recover()
            return
        self._unlock()

    def _locked(self) -> PostgresHeld:
        """Return what the gallery holds, with the locks: again, where a connection was lost."""
        self.current()
        if self._locks is None or self._locks.are_lost():
            self._unlock()
            self._locks = Locks.take(self.path, self._shards)
            self._latest = newest(self._latest, self._facts)
            self._recover()
        return self._latest

    def _unlock(self) -> None:
        if self._locks is not None:
            self._locks.release()
        self._locks = None

    def _recover(self) -> None:
        """Delete what a change that was not ended has left, of this writer or one before it."""
        assert self._locks is not None
        state, free = self._latest.state, 0
        for at, (server, session) in enumerate(self._locks):
            with explained(server.dsn), session.transaction():
                if at:
                    take_back(session, server.tables, state.seq)
                free = max(free, free_row(session, server.tables))
        if free > state.next_row:  # others have inserted rows in SQL
            after = dataclasses.replace(state, next_row=free)
            self._latest = dataclasses.replace(self._latest, state=after)

    def fold(self) -> None:
        """Do nothing: what is added is in the tables."""
        self.current()

    def compact(self) -> None:
        """Drop removed rows, build the index anew and tune it; see `Gallery.compact`."""
        with self._changing:
            if needs_compaction(self._locked()):
                assert self._locks is not None
                compact(self._latest, self._locks)
                self._latest = opened(self.path, self._facts, self._shards)

    def stats(self) -> dict[str, Any]:
        """Return the figures of `Gallery.stats`."""
        return figures(self.current())

    def close(self) -> None:
        """Give up the locks and close the connections."""
        with self._changing:
            self._is_closed = True
            self._unlock()
            self._shards.close()
