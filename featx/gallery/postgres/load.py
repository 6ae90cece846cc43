"""Load: rows copied into the tables in binary form, some at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from pgvector import HalfVector, Vector
from psycopg import sql

from featx.errors import InputError
from featx.gallery.items import ItemFacts
from featx.gallery.postgres.server import Session
from featx.gallery.postgres.tables import NEVER, Tables
from featx.types import Vectors

_COLUMNS = ("row", "id", "uri", "label", "split", "preview", "thumbnail", "vec", "added", "removed")
_TYPES = ("int8", "text", "text", "text", "text", "text", "bytea", "", "int8", "int8")

LARGEST_HALF = float(np.finfo(np.float16).max)
"""The largest number of 16 bits."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An item with its row.

    Attributes
    ----------
    row : int
    id : str
    facts : ItemFacts
    vector : ndarray of float32, shape (D,)
    """

    row: int
    id: str
    facts: ItemFacts
    vector: Vectors


@contextmanager
def copying(session: Session, tables: Tables, added: int) -> Iterator[Callable[[Entry], None]]:
    """Give a function that copies a row into the table of a server.

    Parameters
    ----------
    session : Session
    tables : Tables
    added : int
        Number of the change that adds the rows.

    Raises
    ------
    InputError
        If one holds a byte or a number that cannot be stored.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, _COLUMNS))
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(tables.items, columns)
    with session.cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types([kind or tables.storage for kind in _TYPES])
        yield lambda entry: copy.write_row(_stored(entry, tables, added))


def _stored(entry: Entry, tables: Tables, added: int) -> tuple[object, ...]:
    facts = entry.facts
    for text in (entry.id, facts.uri, facts.label, facts.split):
        if text is not None and "\x00" in text:
            raise InputError(
                f"{entry.id!r}: holds a zero byte, which PostgreSQL cannot store; rename it"
            )
    if tables.storage == "vector":
        vector: object = Vector(entry.vector)
    elif float(np.abs(entry.vector).max(initial=0)) > LARGEST_HALF:
        raise InputError(
            f"{entry.id!r}: its vector has a number above {LARGEST_HALF:,.0f}, the largest of 16 "
            "bits; build the gallery with --storage vector"
        )
    else:
        vector = HalfVector(entry.vector)
    preview = facts.preview.replace("\x00", "")  # names nothing: it only reminds a person
    texts = (entry.id, facts.uri, facts.label, facts.split, preview)
    return (entry.row, *texts, facts.thumbnail, vector, added, NEVER)
