"""Tables of a gallery on one server: their names and the SQL that makes them.

All names are made here, of the id of the gallery; values are given apart from the SQL.
"""

from dataclasses import dataclass
from typing import Literal

from psycopg import sql

from featx.index.metric import MetricName

VERSION = 1
"""Of the tables; one that is newer is refused."""

NEVER = 2**63 - 1
"""Number of the change that removed an item which is there."""

Storage = Literal["halfvec", "vector"]
"""Numbers of 16 bits, or of 32."""

MOST_DIM = 16_000
"""Numbers of a vector that pgvector stores."""

MOST_INDEXED: dict[Storage, int] = {"halfvec": 4000, "vector": 2000}
"""Numbers of a vector that its HNSW index takes."""

LINKS, EFFORT = 16, 128
"""``m`` and ``ef_construction`` of the graph."""

_INLINE_BYTES = (
    6000  # of a vector that lies in its row: no second look-up, and costs are as planned
)
_FILL = 85  # percent; the rest lets a removal stay on its page, so that no index is told of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """The tables of one gallery.

    Attributes
    ----------
    id : str
        16 digits of base 16.
    schema : str
    dim : int
    metric : "cosine", "dot" or "l2"
    storage : "halfvec" or "vector"
    """

    id: str
    schema: str
    dim: int
    metric: MetricName
    storage: Storage

    @property
    def items(self) -> sql.Identifier:
        """Rows, facts and vectors."""
        return self._name("items")

    @property
    def state(self) -> sql.Identifier:
        """What the tables are, and the last change."""
        return self._name("state")

    @property
    def names(self) -> sql.Identifier:
        """Labels and splits."""
        return self._name("names")

    @property
    def all(self) -> tuple[sql.Identifier, ...]:
        """Everything that whoever searches reads."""
        return self.items, self.names, self.state

    @property
    def graph(self) -> sql.Identifier:
        """The HNSW index."""
        return self._name("hnsw")

    @property
    def lock(self) -> int:
        """Number of the lock that the writer holds."""
        return int.from_bytes(bytes.fromhex(self.id), signed=True)

    def _name(self, noun: str) -> sql.Identifier:
        return sql.Identifier(self.schema, f"featx_{self.id}_{noun}")

    @property
    def distance(self) -> sql.SQL:
        """Operator that falls as similarity rises.

        Rows are of length one where cosines are compared, so that the inner product is theirs; and
        zero rows, which have no cosine, are found too.
        """
        return sql.SQL("<->" if self.metric == "l2" else "<#>")

    def _of_type(self, storage: Storage) -> sql.Composed:
        return sql.SQL("{}({})").format(sql.Identifier(storage), sql.Literal(self.dim))

    def compared(self, indexed: Storage) -> sql.Composable:
        """Return what an index over numbers of this size compares."""
        if indexed == self.storage:
            return sql.Identifier("vec")
        return sql.SQL("(vec::{})").format(self._of_type(indexed))

    def create(self) -> list[sql.Composed]:
        """Return what makes the tables, empty."""
        is_inline = self.dim * (2 if self.storage == "halfvec" else 4) <= _INLINE_BYTES
        stored = sql.SQL("PLAIN" if is_inline else "EXTERNAL")
        return [
            sql.SQL(
                "CREATE TABLE {} (row bigint PRIMARY KEY, id text NOT NULL, uri text NOT NULL, "
                "label text, split text, preview text NOT NULL, thumbnail bytea, "
                "vec {} NOT NULL, added bigint NOT NULL, removed bigint NOT NULL) "
                "WITH (fillfactor = {})"
            ).format(self.items, self._of_type(self.storage), sql.Literal(_FILL)),
            sql.SQL(
                "ALTER TABLE {} ALTER vec SET STORAGE {}, ALTER thumbnail SET STORAGE EXTERNAL"
            ).format(self.items, stored),
            sql.SQL(
                "CREATE TABLE {} (version int NOT NULL, gallery text NOT NULL, "
                "space text NOT NULL, shard int NOT NULL, shards int NOT NULL, "
                "seq bigint NOT NULL, generation bigint NOT NULL, changes bigint NOT NULL, "
                "items bigint NOT NULL, removed bigint NOT NULL, next_row bigint NOT NULL, "
                "facts jsonb NOT NULL)"
            ).format(self.state),
            sql.SQL(
                "CREATE TABLE {} (what text, name text, n bigint NOT NULL, "
                "PRIMARY KEY (what, name))"
            ).format(self.names),
        ]

    def index(self) -> list[sql.Composed]:
        """Return what makes the indexes of ids, labels and splits.

        Ids of any length are hashed; labels and splits are few.
        """
        return [
            sql.SQL("CREATE INDEX ON {} USING hash (id)").format(self.items),
            sql.SQL("CREATE INDEX ON {} (label)").format(self.items),
            sql.SQL("CREATE INDEX ON {} (split)").format(self.items),
        ]

    def index_graph(self, indexed: Storage) -> sql.Composed:
        """Return what makes the HNSW index."""
        kind = "l2" if self.metric == "l2" else "ip"
        return sql.SQL(
            "CREATE INDEX {} ON {} USING hnsw ({} {}) WITH (m={}, ef_construction={})"
        ).format(
            sql.Identifier(f"featx_{self.id}_hnsw"),
            self.items,
            self.compared(indexed),
            sql.Identifier(f"{indexed}_{kind}_ops"),
            sql.Literal(LINKS),
            sql.Literal(EFFORT),
        )

    def list_half_built(self) -> sql.Composed:
        """Return what names the graphs that a compaction which was ended has left.

        PostgreSQL writes to them at each insertion, though nobody searches them.  New ones are
        ``_ccnew``, ``_ccnew1`` and so on, and one that was replaced but not deleted is ``_ccold``.
        """
        return sql.SQL(
            "SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
            "WHERE indrelid = to_regclass({}) AND NOT indisvalid AND starts_with(relname, {}) "
            "ORDER BY 1"
        ).format(sql.Literal(self.items.as_string(None)), sql.Literal(f"featx_{self.id}_hnsw_cc"))

    def drop_index(self, name: str) -> sql.Composed:
        """Return what deletes an index while searches go on; outside any transaction."""
        query = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}")
        return query.format(sql.Identifier(self.schema, name))

    def drop(self) -> sql.Composed:
        """Return what deletes the tables, if they are there."""
        return sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(self.all))
