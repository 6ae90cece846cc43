"""Creating: the tables of a new gallery on its servers, filled from a set."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import numpy as np
from psycopg import errors, sql

from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError
from featx.gallery.items import from_batch
from featx.gallery.postgres.changing import NameCounts, count
from featx.gallery.postgres.compacting import build_graph
from featx.gallery.postgres.dsn import Dsn
from featx.gallery.postgres.failures import explained
from featx.gallery.postgres.load import Entry, copying
from featx.gallery.postgres.rows import COUNTED, Stored
from featx.gallery.postgres.server import Server, Session, closed, connected, one, prepare, set_to
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.state import State, begin, put_state
from featx.gallery.postgres.tables import Storage, Tables
from featx.gallery.recipe import Thumbnails, items_of
from featx.index.stack import Stack

_NOTHING = State(seq=0, generation=0, changes=0, items=0, removed=0, next_row=0)


def schema_of(dsn: Dsn) -> str:
    """Return the schema for the tables in a database, which has pgvector from now on.

    Raises
    ------
    StoreError
        If it cannot be reached, or pgvector is not there and may not be set up.
    """
    with explained(dsn):
        session = connected(dsn)
        try:
            _set_up(session, dsn)
            (schema,) = one(session, "SELECT current_schema()")
            if schema is None:
                raise StoreError(
                    f"PostgreSQL at {dsn}: no schema of search_path is there; create one, or name "
                    "another: options=-csearch_path=public"
                )
            prepare(session, dsn, schema)
            return str(schema)
        finally:
            closed(session)


def _set_up(session: Session, dsn: Dsn) -> None:
    query = "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector')"
    if one(session, query)[0]:
        return
    where = f"PostgreSQL at {dsn}"
    try:
        session.execute("CREATE EXTENSION IF NOT EXISTS vector")
    except errors.InsufficientPrivilege as cause:
        raise StoreError(
            f"{where}: the database has no pgvector, and the user may not set it up; "
            "ask an administrator to run in it: CREATE EXTENSION vector"
        ) from cause
    except (errors.UndefinedFile, errors.FeatureNotSupported) as cause:
        raise StoreError(
            f"{where}: pgvector is not installed on the server; install its package there, such as "
            "postgresql-17-pgvector, and run this again"
        ) from cause


@contextmanager
def creating(
    servers: Sequence[Server], space: str, tell: Callable[[str], object]
) -> Iterator[Shards]:
    """Create tables, to be filled; they are deleted where that fails.

    Parameters
    ----------
    servers : sequence of Server
    space : str
    tell : callable
        Is given a line for each server on which they could not be deleted.

    Raises
    ------
    InputError
        If two of the servers are the same database.
    StoreError
        If a server cannot be reached, or the user may not create tables.
    """
    shards, made = Shards(servers), list[Server]()
    with ExitStack() as sessions:
        try:
            for number, server in enumerate(servers):
                session = server.connect()
                sessions.callback(closed, session)
                _create(server, session, space, number, len(servers))
                made.append(server)
            yield shards
        except BaseException:
            drop(made, tell)
            raise
        finally:
            shards.close()


def _create(server: Server, session: Session, space: str, number: int, count: int) -> None:
    tables = server.tables
    with explained(server.dsn):
        # Of an id that nobody has used: only this process can hold the lock already.
        if not one(session, "SELECT pg_try_advisory_lock(%s)", tables.lock)[0]:
            raise InputError(f"--dsn: {server.dsn} is a database that another --dsn names too")
        with session.transaction():
            for statement in tables.create():
                session.execute(statement)
            begin(session, tables, space, number, count)


def fill(
    shards: Shards, embedding_set: EmbeddingSet, stack: Stack, thumbnails: Thumbnails | None
) -> None:
    """Copy the items of a set into empty tables, block by block.

    Of rows with one id the last counts, as a run which goes on has replaced the others.
    """
    with ExitStack() as copies:
        put = [copies.enter_context(_copying(server)) for server in shards.servers]
        for entry in entries_of(embedding_set, stack, shards.tables, thumbnails):
            put[shards.home(entry.id)](entry)
    shards.ask(_settled)
    stored = Stored(shards, 0)
    counts: NameCounts = Counter()
    for what in COUNTED:
        counts.update({(what, name): n for name, n in stored.counts(what).items()})
    items = stored.count({})
    head = shards.head
    after = State(
        seq=0, generation=1, changes=0, items=items, removed=0, next_row=len(embedding_set)
    )

    def noted(session: Session) -> None:
        with session.transaction():
            count(session, head.tables, counts)
            put_state(session, head.tables, _NOTHING, after)

    head.ask(noted)


@contextmanager
def _copying(server: Server) -> Iterator[Callable[[Entry], None]]:
    session = server.connect()
    try:
        set_to(session, "statement_timeout", 0)
        with explained(server.dsn), copying(session, server.tables, 0) as put:

            def told(entry: Entry) -> None:
                with explained(server.dsn):  # else it leaves through those of all later servers
                    put(entry)

            yield told
    finally:
        closed(session)


def entries_of(
    embedding_set: EmbeddingSet, stack: Stack, tables: Tables, thumbnails: Thumbnails | None
) -> Iterator[Entry]:
    """Yield the items of a set; for the cosine their vectors are of length one."""
    take = stack.unit_take if tables.metric == "cosine" else stack.take
    start = 0
    for batch in items_of(embedding_set, thumbnails)():
        X = take(np.arange(start, start + batch.num_rows))
        pictures = batch.column("thumbnail").to_pylist()
        each = zip(from_batch(batch), X, pictures, strict=True)
        for row, ((item_id, facts), x, picture) in enumerate(each, start):
            yield Entry(row, item_id, replace(facts, thumbnail=picture), x)
        start += batch.num_rows


def _settled(session: Session, tables: Tables) -> None:
    """Delete rows whose id a later row has too, and make the indexes but for the graph."""
    set_to(session, "statement_timeout", 0)
    for statement in tables.index():
        session.execute(statement)
    query = sql.SQL(
        "DELETE FROM {0} USING (SELECT id, max(row) AS last FROM {0} GROUP BY id "
        "HAVING count(*) > 1) AS twice WHERE {0}.id = twice.id AND {0}.row < twice.last"
    )
    session.execute(query.format(tables.items))
    session.execute(sql.SQL("ANALYZE {}").format(tables.items))


def index(shards: Shards, indexed: Storage) -> None:
    """Build the graph of each server."""
    shards.ask(lambda session, tables: build_graph(session, tables, tables.index_graph(indexed)))


def drop(servers: Sequence[Server], tell: Callable[[str], object]) -> None:
    """Delete the tables of a gallery on servers, and tell where that cannot be done."""
    for server in servers:
        query = server.tables.drop()
        try:
            with explained(server.dsn), closing(server.connect()) as session:
                session.execute(query)
        except StoreError as cause:
            tell(f"{cause}; tables that no gallery needs are left there: {query.as_string(None)}")
