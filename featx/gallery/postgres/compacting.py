"""Compacting: removed rows deleted, the graph built anew, search and vote fitted again."""

from dataclasses import replace

from psycopg import errors, sql

from featx.gallery.fitting import Wanted
from featx.gallery.postgres.failures import explained
from featx.gallery.postgres.fitting import fit
from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.locking import Locks
from featx.gallery.postgres.server import Server, Session, one, set_to
from featx.gallery.postgres.state import put_facts, put_state
from featx.gallery.postgres.tables import LINKS, Tables

MOST_MEMORY = 2 << 30
"""Bytes of ``maintenance_work_mem``, at most, in which a graph is built; beyond it is slower."""


def needs_compaction(held: PostgresHeld) -> bool:
    """Return whether `compact` would change anything."""
    return bool(held.state.removed) or held.facts["index"]["rows"] != len(held)


def compact(held: PostgresHeld, locks: Locks) -> None:
    """Delete what was removed and fit the rest anew; rows keep their numbers.

    Parameters
    ----------
    held : PostgresHeld
        What the gallery holds now.
    locks : Locks
        Of its writer.
    """
    made = held.facts["index"]
    tasks, is_graph = list(locks), made["kind"] == "hnsw"
    held.shards.run(lambda each: _sweep(each[0], each[1], held.seq, is_graph=is_graph), tasks)
    (head, session), before = tasks[0], held.state
    after = replace(before, generation=before.generation + 1, removed=0)
    wanted = Wanted(kind=made["asked"], recall=made["recall"], metric=held.metric)
    indexed = made["indexed"] if made["kind"] == "hnsw" else None
    facts = fit(replace(held, state=replace(before, removed=0)), wanted, indexed)
    with explained(head.dsn), session.transaction():
        gone = sql.SQL("DELETE FROM {} WHERE n <= 0").format(head.tables.names)
        session.execute(gone)
        put_facts(session, head.tables, facts)
        put_state(session, head.tables, before, after)


def _sweep(server: Server, session: Session, seq: int, *, is_graph: bool) -> None:
    """Delete what was removed up to a change, and build the graph anew."""
    tables = server.tables
    with explained(server.dsn):
        set_to(session, "statement_timeout", 0)
        gone = sql.SQL("DELETE FROM {} WHERE removed <= %s").format(tables.items)
        session.execute(gone, (seq,))
        session.execute(sql.SQL("VACUUM (ANALYZE) {}").format(tables.items))
        if is_graph:
            query = sql.SQL("REINDEX INDEX CONCURRENTLY {}").format(tables.graph)
            build_graph(session, tables, query)


def build_graph(session: Session, tables: Tables, query: sql.Composed) -> None:
    """Run what builds a graph, with the memory that it needs, by one process if several cannot.

    Several share memory, of which a container may have little (``/dev/shm``).
    """
    (rows,) = one(session, sql.SQL("SELECT count(*) FROM {}").format(tables.items))
    needed = min(MOST_MEMORY, rows * (4 * tables.dim + 16 * LINKS) + (64 << 20))
    (held,) = one(session, "SELECT pg_size_bytes(current_setting('maintenance_work_mem'))")
    set_to(session, "statement_timeout", 0)
    set_to(session, "maintenance_work_mem", f"{max(needed, held) >> 10}kB")
    _drop_half_built(session, tables)
    try:
        session.execute(query)
    except (errors.DiskFull, errors.OutOfMemory):
        _drop_half_built(session, tables)
        set_to(session, "max_parallel_maintenance_workers", 0)
        session.execute(query)


def _drop_half_built(session: Session, tables: Tables) -> None:
    for (name,) in session.execute(tables.list_half_built()).fetchall():
        session.execute(tables.drop_index(name))
