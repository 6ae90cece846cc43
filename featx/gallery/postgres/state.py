"""State: the last change of a gallery, and what its tables are."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from featx.errors import SpaceError, StoreError
from featx.gallery.postgres.server import Server, Session, one
from featx.gallery.postgres.tables import VERSION, Tables

NamedCounts = dict[str, dict[str, int]]
"""``"label"`` and ``"split"`` → how many items have each that any ever had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the first server says of a gallery.

    Attributes
    ----------
    seq : int
        Number of the last change.
    generation : int
        How often it was built or compacted.
    changes : int
        Items added and removed since it was built.
    items : int
        Rows that can be found.
    removed : int
        Rows that were removed and are still stored.
    next_row : int
        No row has this number, or a larger one.
    """

    seq: int
    generation: int
    changes: int
    items: int
    removed: int
    next_row: int


def read_state(session: Session, tables: Tables) -> State:
    """Return the last change; of the first server only."""
    query = sql.SQL("SELECT seq, generation, changes, items, removed, next_row FROM {}")
    names = ("seq", "generation", "changes", "items", "removed", "next_row")
    return State(**dict(zip(names, one(session, query.format(tables.state)), strict=True)))


def read_counted(session: Session, tables: Tables) -> tuple[State, NamedCounts]:
    """Return the last change and, as they were after it, labels and splits."""
    query = sql.SQL("SELECT what, name, n FROM {}").format(tables.names)
    with session.transaction():
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        state, rows = read_state(session, tables), session.execute(query).fetchall()
    found: NamedCounts = {"label": {}, "split": {}}
    for what, name, n in sorted(rows):
        found[what][name] = n
    return state, found


def read_facts_of(session: Session, tables: Tables) -> dict[str, Any]:
    """Return what was fitted: the index, the vote and their measures."""
    facts: dict[str, Any] = one(session, sql.SQL("SELECT facts FROM {}").format(tables.state))[0]
    return facts


def put_state(session: Session, tables: Tables, before: State, after: State) -> None:
    """Make a change one of the gallery.

    Raises
    ------
    StoreError
        If another process has changed it meanwhile.
    """
    columns = [name for name in asdict(after) if name != "facts"]
    query = sql.SQL("UPDATE {} SET ({}) = ROW({}) WHERE seq = %s AND generation = %s").format(
        tables.state,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
    )
    values = [asdict(after)[name] for name in columns]
    if session.execute(query, [*values, before.seq, before.generation]).rowcount != 1:
        raise StoreError("another process has changed the gallery meanwhile; open it again")


def put_facts(session: Session, tables: Tables, facts: Mapping[str, Any]) -> None:
    """Write what was fitted."""
    query = sql.SQL("UPDATE {} SET facts = %s").format(tables.state)
    session.execute(query, [Jsonb(dict(facts), dumps=json.dumps)])


def begin(session: Session, tables: Tables, space: str, shard: int, shards: int) -> None:
    """Write the state of a gallery without items."""
    query = sql.SQL("INSERT INTO {} VALUES (%s, %s, %s, %s, %s, 0, 0, 0, 0, 0, 0, '{{}}')")
    values = [VERSION, tables.id, space, shard, shards]
    session.execute(query.format(tables.state), values)


def check(path: Path, server: Server, facts: Mapping[str, Any], shard: int) -> None:
    """Refuse tables that are not those which ``gallery.json`` means.

    Raises
    ------
    StoreError
        If they are gone, of a newer version, or of another server of the gallery.
    SpaceError
        If their vectors are of another space.
    """
    query = sql.SQL("SELECT version, gallery, space, shard, shards FROM {}").format(
        server.tables.state
    )
    version, gallery, space, number, count = server.ask(lambda session: one(session, query))
    where = f"{path}: PostgreSQL at {server.dsn}"
    if version > VERSION:
        raise StoreError(
            f"{where}: its tables are of version {version}, newer than {VERSION}; upgrade featx"
        )
    if space != facts["space"]:
        raise SpaceError(
            f"{where}: its vectors are of another space ({space[:8]}) than {path.name} says "
            f"({facts['space'][:8]}); restore the right gallery.json, or run: {mend(path)}"
        )
    if (gallery, number, count) != (facts["id"], shard, len(facts["servers"])):
        found = f"is server {number + 1} of {count} of gallery {gallery}"
        raise StoreError(
            f"{where}: {found}, not {shard + 1} of {len(facts['servers'])} of {facts['id']}; "
            "correct the servers in gallery.json"
        )


def mend(path: Path) -> str:
    """Return the command that builds a gallery anew."""
    return f"featx index SET -o {path} --backend pgvector --dsn DSN"
