"""The commit log of an embedding set's open segment, in SQLite.

A commit is: rows written to the segment, ``fdatasync``, then one transaction here that gives the
new committed length and the facts of each row.  What the log does not count does not exist.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from featx.data.files import explained
from featx.data.rows import Row
from featx.errors import StoreError

_TABLES = """
CREATE TABLE IF NOT EXISTS known (id TEXT PRIMARY KEY, digest TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (row INTEGER PRIMARY KEY, facts TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class CommitLog:
    """Which ids a set holds, and the facts of the rows that are not sealed yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with explained(path.parent), self._damage_named():
            self._database = sqlite3.connect(path, isolation_level=None)
            try:
                self._database.execute("PRAGMA journal_mode=WAL")
                self._database.execute("PRAGMA synchronous=FULL")
                self._database.executescript(_TABLES)
            except BaseException:
                self._database.close()
                raise

    def _damage_named(self) -> "_DamageNamed":
        return _DamageNamed(self.path)

    def state(self, key: str) -> str:
        """Return a remembered value, or an empty string."""
        found = self._database.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return "" if found is None else str(found[0])

    def digest_of(self, item_id: str) -> str:
        """Return the digest of the row that holds `item_id`, or an empty string."""
        query = "SELECT digest FROM known WHERE id = ?"
        with self._damage_named():
            found = self._database.execute(query, (item_id,)).fetchone()
        return "" if found is None else str(found[0])

    def committed(self) -> int:
        """Return the number of committed rows of the open segment."""
        with self._damage_named():
            return int(self._database.execute("SELECT COUNT(*) FROM pending").fetchone()[0])

    def pending(self) -> Iterator[Row]:
        """Yield the facts of the open segment's rows, in order."""
        with self._damage_named():
            for (facts,) in self._database.execute("SELECT facts FROM pending ORDER BY row"):
                yield Row(**json.loads(facts))

    def commit(self, rows: Sequence[Row], *, at: int) -> None:
        """Record `rows` as the open segment's rows `at` and following, durably."""
        with explained(self.path), self._damage_named(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO pending VALUES (?, ?)",
                [(at + i, json.dumps(asdict(row))) for i, row in enumerate(rows)],
            )
            self._database.executemany(
                "INSERT OR REPLACE INTO known VALUES (?, ?)", [(r.id, r.digest) for r in rows]
            )

    def rebuild(self, rows: Sequence[tuple[str, str]], *, sealed: str) -> None:
        """Forget the open segment and hold exactly these (id, digest) of the `sealed` state."""
        with explained(self.path), self._damage_named(), self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.execute("DELETE FROM pending")
            self._database.execute("DELETE FROM known")
            self._database.executemany("INSERT OR REPLACE INTO known VALUES (?, ?)", rows)
            self._database.execute("INSERT OR REPLACE INTO state VALUES ('sealed', ?)", (sealed,))

    def close(self) -> None:
        """Close the database."""
        self._database.close()


class _DamageNamed:
    """Turns SQLite's errors into one line that names the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, sqlite3.Error):
            advice = "run the command again when this is mended"
            if any(sign in str(error) for sign in ("not a database", "malformed")):
                advice = "delete it and run the command again; it is made anew from the rest"
            message = f"{self._path}: {error}; {advice}"
            raise StoreError(message) from error
