"""Server: one of the databases that hold a gallery, and the connections to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any, LiteralString, TypeVar

import psycopg
from pgvector.psycopg import register_vector
from psycopg import Connection, sql

from featx.errors import StoreError
from featx.gallery.postgres.dsn import Dsn
from featx.gallery.postgres.failures import LostError, explained
from featx.gallery.postgres.tables import Tables

T = TypeVar("T")

OLDEST = (0, 8)
"""Of pgvector: halves came with 0.7, searches that go on until enough rows pass with 0.8."""

CONNECT_S = 10
"""Seconds until a server that does not answer is given up, unless the DSN says otherwise."""

LOST_S = 30
"""Seconds without a sign of life after which a server is given up, unless the DSN says otherwise.

TCP alone waits some 15 minutes for one that has vanished.  However long a question takes, one that
is there gives such signs.
"""

_SETTINGS: dict[str, str] = {
    "plan_cache_mode": "force_custom_plan",  # a plan for any LIMIT and filter is a scan of all rows
    "jit": "off",  # takes longer than a search
    "hnsw.iterative_scan": "relaxed_order",  # candidates are ranked here anyway
}


class Session(Connection[tuple[Any, ...]]):
    """A connection that knows how hard its searches are set to search."""

    effort = 0


class Server:
    """One of the databases that hold a gallery.

    Any thread may ask it; each question has a connection of its own while it is asked.

    Parameters
    ----------
    dsn : Dsn
    tables : Tables
    """

    def __init__(self, dsn: Dsn, tables: Tables) -> None:
        self.dsn = dsn
        self.tables = tables
        self._idle: list[Session] = []
        self._lock = Lock()
        self._is_closed = False

    def connect(self) -> Session:
        """Return a connection of its own, ready for vectors; the caller closes it.

        Raises
        ------
        StoreError
            If the server cannot be reached, lets nobody in, or has no pgvector.
        """
        with explained(self.dsn):
            session = connected(self.dsn)
            try:
                prepare(session, self.dsn, self.tables.schema)
            except BaseException:
                session.close()
                raise
        return session

    def ask(self, question: Callable[[Session], T]) -> T:
        """Return what a question that changes nothing is answered.

        A connection that was lost is replaced once, and the question asked again.

        Raises
        ------
        StoreError
            If it is lost again, or the server refuses.
        """
        try:
            with self._lent() as session, explained(self.dsn):
                return question(session)
        except LostError:
            self._forget()  # the others are of the same server, which may have been restarted
            with self._lent() as session, explained(self.dsn):
                return question(session)

    @contextmanager
    def _lent(self) -> Iterator[Session]:
        with self._lock:
            if self._is_closed:
                raise closed_error(self.dsn)
            idle = self._idle.pop() if self._idle else None
        session = self.connect() if idle is None else idle
        try:
            yield session
        finally:
            self._take_back(session)

    def _take_back(self, session: Session) -> None:
        with self._lock:
            if self._is_closed or session.closed or session.broken:
                session.close()
            else:
                self._idle.append(session)

    def _forget(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; one that is asked by another thread when its answer is there."""
        with self._lock:
            self._is_closed = True
        self._forget()


def closed_error(dsn: Dsn) -> StoreError:
    """Return what is raised where a gallery that was closed is asked."""
    return StoreError(f"PostgreSQL at {dsn}: is closed; open the gallery again")


def connected(dsn: Dsn) -> Session:
    """Return a new connection, on which each statement is a transaction of its own."""
    params: dict[str, Any] = {
        "application_name": "featx",
        "connect_timeout": CONNECT_S,
        "tcp_user_timeout": 1000 * LOST_S,
        "keepalives_idle": LOST_S // 3,
        "keepalives_interval": LOST_S // 6,
        "keepalives_count": 4,
        "client_encoding": "utf8",
        **dsn.params,
    }
    session = Session.connect(dsn.conninfo, autocommit=True, **params)
    session.prepare_threshold = 2
    return session


def prepare(session: Session, dsn: Dsn, schema: str) -> None:
    """Make a connection ready for vectors, whose types may be in a schema of their own.

    Raises
    ------
    StoreError
        If the database has no pgvector, or an old one.
    """
    found = session.execute(
        "SELECT extversion, nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
        "WHERE extname = 'vector'"
    ).fetchone()
    if found is None:
        raise StoreError(
            f"PostgreSQL at {dsn}: the database has no pgvector; run in it: CREATE EXTENSION vector"
        )
    version, of_vectors = found
    if tuple(int(each) for each in version.split(".")[:2]) < OLDEST:
        raise StoreError(
            f"PostgreSQL at {dsn}: pgvector {version} is older than 0.8; install a newer one on "
            "the server, then run in the database: ALTER EXTENSION vector UPDATE"
        )
    path = sql.SQL(", ").join([sql.Identifier(schema), sql.Identifier(of_vectors)])
    settings = _SETTINGS | {"search_path": path.as_string(session)}
    each = sql.SQL(", ").join([sql.SQL("set_config(%s, %s, false)")] * len(settings))
    given = [text for setting in settings.items() for text in setting]
    session.execute(sql.SQL("SELECT {}").format(each), given)  # one message for all
    register_vector(session)


def set_to(session: Session, name: str, value: object) -> None:
    """Change a setting of a connection."""
    session.execute("SELECT set_config(%s, %s, false)", (name, str(value)))


def one(session: Session, query: LiteralString | sql.Composed, *values: object) -> tuple[Any, ...]:
    """Return the one row that a query gives."""
    row = session.execute(query, values).fetchone()
    assert row is not None, query
    return row


def closed(session: Session | None) -> None:
    """Close a connection, whatever state it is in."""
    if session is not None:
        with suppress(psycopg.Error):
            session.close()
