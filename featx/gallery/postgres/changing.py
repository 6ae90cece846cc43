"""Changing: the statements that add and remove rows within a change."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from featx.gallery.items import NAMED, ItemFacts
from featx.gallery.postgres.server import Session, one
from featx.gallery.postgres.tables import NEVER, Tables

NameCounts = Counter[tuple[str, str]]
"""(``"label"`` or ``"split"``, name) → number of items."""


def names_of(facts: Iterable[ItemFacts]) -> NameCounts:
    """Count the labels and splits of items."""
    found: NameCounts = Counter()
    for each in facts:
        found.update((what, name) for what in NAMED if (name := getattr(each, what)) is not None)
    return found


def forget(session: Session, tables: Tables, rows: Sequence[int], seq: int) -> NameCounts:
    """Mark rows as removed by a change; return the labels and splits that they had."""
    if not rows:
        return Counter()
    query = sql.SQL("UPDATE {} SET removed = %s WHERE row = ANY(%s) RETURNING label, split")
    found = session.execute(query.format(tables.items), (seq, list(rows))).fetchall()
    return names_of(ItemFacts(label=label, split=split) for label, split in found)


def count(session: Session, tables: Tables, counts: Mapping[tuple[str, str], int]) -> None:
    """Add to how many items have each label and split; on the first server only."""
    query = sql.SQL(
        "INSERT INTO {} AS held VALUES (%s, %s, %s) "
        "ON CONFLICT (what, name) DO UPDATE SET n = held.n + EXCLUDED.n"
    ).format(tables.names)
    values = [(what, name, n) for (what, name), n in counts.items() if n]
    if values:
        with session.cursor() as cursor:
            cursor.executemany(query, values)


def note(session: Session, tables: Tables, seq: int) -> None:
    """Note on a server other than the first that it holds rows of a change."""
    session.execute(sql.SQL("UPDATE {} SET seq = %s").format(tables.state), (seq,))


def free_row(session: Session, tables: Tables) -> int:
    """Return the number after that of the last row of a server."""
    query = sql.SQL("SELECT coalesce(max(row), -1) + 1 FROM {}").format(tables.items)
    return int(one(session, query)[0])


def take_back(session: Session, tables: Tables, seq: int) -> None:
    """Undo what a server holds of changes after `seq`, which did not become the gallery's."""
    (noted,) = one(session, sql.SQL("SELECT seq FROM {}").format(tables.state))
    if noted <= seq:
        return
    session.execute(sql.SQL("DELETE FROM {} WHERE added > %s").format(tables.items), (seq,))
    query = sql.SQL("UPDATE {} SET removed = %s WHERE removed > %s AND removed < %s")
    session.execute(query.format(tables.items), (NEVER, seq, NEVER))
    note(session, tables, seq)
