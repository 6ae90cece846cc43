"""Rows: what is stored of items, asked by their numbers, ids or labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any, Literal, get_args

import numpy as np
from psycopg import sql

from featx.errors import InputError
from featx.gallery.answers import Block
from featx.gallery.items import BATCH_ROWS, ItemFacts
from featx.gallery.postgres.near import COLUMNS, Row, as_matrix, item_of
from featx.gallery.postgres.server import Session
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.tables import Tables
from featx.types import Rows, Vectors

_FACTS = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_WHOLE = sql.SQL(", ").join(map(sql.Identifier, (*COLUMNS, "vec")))
_NUMBERS = 1 << 16  # of rows that are asked for at once
_SELECT = sql.SQL("SELECT {} FROM {} WHERE {}")
_OF_ROWS = sql.SQL("row = ANY(%(rows)s)")
_ANY = sql.SQL("")
_THERE = sql.SQL("added <= %(seq)s AND removed > %(seq)s")

Column = Literal["vec", "label", "thumbnail"]

Counted = Literal["label", "split"]
COUNTED: tuple[Counted, ...] = get_args(Counted)
"""Columns of few distinct names."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows that were there after a change.

    Attributes
    ----------
    shards : Shards
    seq : int
        Number of the change.
    """

    shards: Shards
    seq: int

    def find(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row of each id that an item has."""
        asked = self.shards.spread(filter(_is_storable, ids))
        where = sql.SQL("id = ANY(%(ids)s) AND ") + _THERE

        def of(home: int) -> list[Any]:
            server = self.shards.servers[home]
            query = _SELECT.format(sql.SQL("id, row"), server.tables.items, where)
            values = {"ids": asked[home], "seq": self.seq}
            return server.ask(lambda session: session.execute(query, values).fetchall())

        found = self.shards.run(of, list(asked)) if asked else []
        return dict(pair for pairs in found for pair in pairs)

    def all(self, *, is_labelled: bool = False) -> Rows:
        """Return the numbers of all rows, ascending."""
        labelled = sql.SQL(" AND label IS NOT NULL" if is_labelled else "")

        def of(server: int) -> list[Rows]:
            pages = self._pages(server, sql.SQL("row"), _NUMBERS, labelled)
            return [np.array(page, np.int64).ravel() for page in pages]

        found = chain.from_iterable(self.shards.run(of, range(len(self.shards))))
        return np.sort(np.concatenate([np.empty(0, np.int64), *found]))

    def among(self, rows: Rows, *, is_labelled: bool = False) -> Rows:
        """Return which of some numbers are those of rows, in any order."""
        labelled = sql.SQL(" AND label IS NOT NULL" if is_labelled else "")
        where = _OF_ROWS + sql.SQL(" AND ") + _THERE + labelled
        found = self._ask(sql.SQL("row"), where, rows=rows.tolist())
        return np.random.default_rng(0).permutation(np.array(sorted(found), np.int64).ravel())

    def drawn(self, most: int, *, is_labelled: bool = False) -> Rows:
        """Return at most so many rows, ascending, the same each time; each is looked at there."""
        labelled = sql.SQL(" AND label IS NOT NULL" if is_labelled else "")
        order = sql.SQL(" ORDER BY 1, 2 LIMIT %(n)s")
        columns = sql.SQL("hashint8extended(row, 0), row")
        found = self._ask(columns, _THERE + labelled + order, n=most)
        return np.array(sorted(row for _, row in sorted(found)[:most]), np.int64)

    def facts(self, rows: Sequence[int]) -> dict[int, tuple[str, ItemFacts]]:
        """Return id and facts of rows, removed ones too.

        Raises
        ------
        InputError
            If there is no such row.
        """
        found = {row[0]: item_of(row) for row in self._ask(_FACTS, _OF_ROWS, rows=list(set(rows)))}
        _require(rows, found)
        return found

    def column(self, name: Column, rows: Sequence[int]) -> dict[int, Any]:
        """Return a column of rows, removed ones too.

        Raises
        ------
        InputError
            If there is no such row.
        """
        columns = sql.SQL("row, {}").format(sql.Identifier(name))
        found: dict[int, Any] = dict(self._ask(columns, _OF_ROWS, rows=list(set(rows))))
        _require(rows, found)
        return found

    def vectors(self, rows: Rows) -> Vectors:
        """Return a copy of the vectors of some rows."""
        X = np.empty((len(rows), self.shards.tables.dim), np.float32)
        for start in range(0, len(rows), BATCH_ROWS):
            some = rows[start : start + BATCH_ROWS].tolist()
            found = self.column("vec", some)
            X[start : start + len(some)] = as_matrix([found[row] for row in some])
        return X

    def items(self) -> Iterator[tuple[str, ItemFacts]]:
        """Yield id and facts of each row, ascending, some at a time."""
        return map(item_of, self._merged(_FACTS, BATCH_ROWS))

    def blocks(self, most: int) -> Iterator[Block]:
        """Yield rows, ascending, with facts and vectors that one query has given.

        Read apart they would not fit together once a compaction has deleted what was removed.
        """
        rows = self._merged(_WHOLE, -(-most // len(self.shards)))
        while some := list(islice(rows, most)):
            yield Block(
                rows=np.array([row[0] for row in some], np.int64),
                X=as_matrix([row[-1] for row in some]),
                items=list(map(item_of, some)),
            )

    def _merged(self, columns: sql.Composable, n: int) -> Iterator[Row]:
        """Yield rows of all servers, of which `n` are asked for at once."""
        servers = range(len(self.shards))
        each = [chain.from_iterable(self._pages(server, columns, n)) for server in servers]
        return merge(*each, key=itemgetter(0))

    def _pages(
        self, server: int, columns: sql.Composable, n: int, where: sql.Composable = _ANY
    ) -> Iterator[list[Row]]:
        """Yield rows of a server, ascending, `n` at a time, each time those after the last."""
        query = _listing(columns, where, self.shards.servers[server].tables)
        last, is_last = -1, False
        while not is_last:
            page = self.shards.servers[server].ask(partial(_page, query, self.seq, last, n))
            is_last = len(page) < n
            if page:
                yield page
                last = page[-1][0]

    def page(
        self, filters: Mapping[str, str | None], *, after: int, limit: int
    ) -> list[tuple[int, tuple[str, ItemFacts]]]:
        """Return the first rows after one that pass filters, one more than `limit` if there are."""
        where, values = _filtered(filters)
        values |= {"seq": self.seq, "after": after, "n": limit + 1}
        answers = self.shards.ask(
            lambda session, tables: session.execute(
                _listing(_FACTS, where, tables), values
            ).fetchall()
        )
        rows = merge(*answers, key=itemgetter(0))
        return [(row[0], item_of(row)) for row in islice(rows, limit + 1)]

    def count(self, filters: Mapping[str, str | None]) -> int:
        """Return how many rows pass filters; each is read where a text is looked for."""
        where, values = _filtered(filters)
        return sum(n for (n,) in self._ask(sql.SQL("count(*)"), _THERE + where, **values))

    def counts(self, column: Counted) -> dict[str, int]:
        """Return how many rows have each label or split; each row is looked at."""
        name_of = sql.Identifier(column)
        where = sql.SQL("{} AND {} IS NOT NULL GROUP BY 1").format(_THERE, name_of)
        found: dict[str, int] = {}
        for name, n in self._ask(sql.SQL("{}, count(*)").format(name_of), where):
            found[name] = found.get(name, 0) + n
        return found

    def _ask(self, columns: sql.Composable, where: sql.Composable, **values: object) -> list[Any]:
        """Return the rows of all servers."""
        given = {"seq": self.seq, **values}

        def asked(session: Session, tables: Tables) -> list[Any]:
            with session.cursor(binary=True) as cursor:
                query = _SELECT.format(columns, tables.items, where)
                return cursor.execute(query, given).fetchall()

        return [row for rows in self.shards.ask(asked) for row in rows]


def _listing(columns: sql.Composable, where: sql.Composable, tables: Tables) -> sql.Composed:
    query = sql.SQL("SELECT {} FROM {} WHERE row > %(after)s AND {}{} ORDER BY row LIMIT %(n)s")
    return query.format(columns, tables.items, _THERE, where)


def _page(query: sql.Composed, seq: int, after: int, n: int, session: Session) -> list[Row]:
    with session.cursor(binary=True) as cursor:
        return cursor.execute(query, {"seq": seq, "after": after, "n": n}).fetchall()


def _filtered(filters: Mapping[str, str | None]) -> tuple[sql.Composable, dict[str, Any]]:
    """Return conditions for the label, the split and a text, where there are any."""
    clauses = {
        "label": " AND label = %(label)s",
        "split": " AND split = %(split)s",
        "text": " AND position(lower(%(text)s) IN lower(id || chr(10) || preview)) > 0",
    }
    given = {name: value for name, value in filters.items() if value}
    where = sql.SQL("").join([sql.SQL(clauses[name]) for name in given])
    return where, dict(given)


def _is_storable(item_id: str) -> bool:
    """Return whether PostgreSQL can hold an id; no item has another."""
    return "\x00" not in item_id and not any("\ud800" <= letter <= "\udfff" for letter in item_id)


def _require(rows: Sequence[int], found: Mapping[int, object]) -> None:
    missing = next((row for row in rows if row not in found), None)
    if missing is not None:
        raise InputError(f"row: found {missing}; the gallery has no such row")
