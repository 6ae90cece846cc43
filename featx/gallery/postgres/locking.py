"""Locks: held by the one writer of a gallery, a lock of each server, as long as it is connected."""

from collections.abc import Iterator
from pathlib import Path

from psycopg import OperationalError

from featx.errors import StoreError
from featx.gallery.postgres.failures import explained
from featx.gallery.postgres.server import Server, Session, closed, one
from featx.gallery.postgres.shards import Shards


class BusyError(StoreError):
    """Another process writes to the gallery."""


class Locks:
    """Connections that hold the lock of each server, and through which all is written.

    Parameters
    ----------
    held : list of (Server, Session)
    """

    def __init__(self, held: list[tuple[Server, Session]]) -> None:
        self._held = held

    @classmethod
    def take(cls, path: Path, shards: Shards) -> "Locks":
        """Lock a gallery for this process.

        Raises
        ------
        StoreError
            If another process holds a lock, or a server cannot be reached.
        """
        locks = cls([])
        try:
            for server in shards.servers:
                session = server.connect()
                locks._held.append((server, session))
                lock(path, server, session)
        except BaseException:
            locks.release()
            raise
        return locks

    def __iter__(self) -> Iterator[tuple[Server, Session]]:
        """Yield each server with the connection that holds its lock, the first one first."""
        return iter(self._held)

    def are_lost(self) -> bool:
        """Return whether a connection was lost, and its lock with it; asks each server."""
        try:
            for _, session in self._held:
                session.execute("SELECT")
        except OperationalError:
            return True
        return False

    def __del__(self) -> None:
        self.release()

    def release(self) -> None:
        """Close the connections, which gives the locks up."""
        for _, session in self._held:
            closed(session)


def lock(path: Path, server: Server, session: Session) -> None:
    """Take the lock of a server for a connection.

    Raises
    ------
    StoreError
        If another connection holds it, saying whose it is as far as the server tells.
    """
    number = server.tables.lock
    with explained(server.dsn):
        (is_taken,) = one(session, "SELECT pg_try_advisory_lock(%s)", number)
        if is_taken:
            return
        holder = session.execute(
            "SELECT pid, usename, client_addr FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND objsubid = 1 AND granted "
            "AND (classid::int8 << 32) | objid::int8 = %s",
            (number,),
        ).fetchone()
    whose = "" if holder is None else f" (backend {holder[0]}, user {holder[1]}{_from(holder[2])})"
    raise BusyError(
        f"{path}: another process is writing to it; wait for it to end{whose}; where that is "
        "featx serve, change it through that: POST or DELETE /v1/examples"
    )


def _from(address: object) -> str:
    return "" if address is None else f", from {address}"
