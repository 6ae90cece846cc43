"""Shards: the servers of a gallery, among which the ids of its items are spread."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

from blake3 import blake3

from featx.gallery.folder import FACTS
from featx.gallery.postgres.dsn import Dsn
from featx.gallery.postgres.server import Server, Session, closed_error
from featx.gallery.postgres.state import check
from featx.gallery.postgres.tables import Tables

T = TypeVar("T")

CALLERS = 4
"""Threads that may ask all servers at once, without waiting for each other."""


class Shards:
    """The servers of a gallery; the first one also knows its last change.

    Parameters
    ----------
    servers : sequence of Server
    """

    def __init__(self, servers: Sequence[Server]) -> None:
        self.servers = list(servers)
        self._threads = ThreadPoolExecutor(CALLERS * len(self.servers), "featx-postgres")

    @classmethod
    def open(
        cls, path: Path, facts: Mapping[str, Any], secrets: Sequence[Mapping[str, str]] = ()
    ) -> Self:
        """Connect to the servers that ``gallery.json`` names, and check their tables.

        Parameters
        ----------
        path : Path
        facts : mapping
            ``gallery.json``.
        secrets : sequence of mapping, optional
            Of the servers, where this process was given any.

        Raises
        ------
        StoreError
            If one cannot be reached, its tables are not those of the gallery, or ``gallery.json``
            names it in a way that it may not.
        """
        known = secrets or [{}] * len(facts["servers"])
        dsns = [
            Dsn.kept(f"{path / FACTS}: 'dsn' of 'servers[{at}]'", each["dsn"], secret)
            for at, (each, secret) in enumerate(zip(facts["servers"], known, strict=True))
        ]
        shards = cls(
            [
                Server(dsn, tables_of(facts, each["schema"]))
                for dsn, each in zip(dsns, facts["servers"], strict=True)
            ]
        )
        try:
            numbers = range(len(shards))
            list(shards.run(lambda at: check(path, shards.servers[at], facts, at), numbers))
        except BaseException:
            shards.close()
            raise
        return shards

    def __len__(self) -> int:
        """Return the number of servers."""
        return len(self.servers)

    @property
    def head(self) -> Server:
        """The server that knows the last change."""
        return self.servers[0]

    @property
    def tables(self) -> Tables:
        """Those of the first server; on the others only the schema may differ."""
        return self.head.tables

    def home(self, item_id: str) -> int:
        """Return the number of the server that holds an id, the same on every machine."""
        raw = blake3(item_id.encode("utf-8", "surrogatepass")).digest(length=8)
        return int.from_bytes(raw, "little") % len(self)

    def spread(self, ids: Iterable[str]) -> dict[int, list[str]]:
        """Return the ids of each server that holds any."""
        found: dict[int, list[str]] = {}
        for item_id in ids:
            found.setdefault(self.home(item_id), []).append(item_id)
        return found

    def ask(self, question: Callable[[Session, Tables], T]) -> list[T]:
        """Return what each server answers, asked at once; see `Server.ask`."""
        return self.run(
            lambda server: server.ask(lambda session: question(session, server.tables)),
            self.servers,
        )

    def run(self, task: Callable[[Any], T], arguments: Sequence[Any]) -> list[T]:
        """Return what a task gives of each argument, all at once where there are several.

        Raises
        ------
        StoreError
            If they were closed.
        """
        if len(arguments) == 1:
            return [task(arguments[0])]
        try:
            answers = self._threads.map(task, arguments)
        except RuntimeError as cause:  # the threads take no more; what a task raises comes below
            raise closed_error(self.head.dsn) from cause
        return list(answers)

    def close(self) -> None:
        """Close all connections."""
        for server in self.servers:
            server.close()
        self._threads.shutdown(wait=False)


def tables_of(facts: Mapping[str, Any], schema: str) -> Tables:
    """Return the tables of a gallery on a server."""
    return Tables(
        id=facts["id"],
        schema=schema,
        dim=int(facts["dim"]),
        metric=facts["metric"],
        storage=facts["storage"],
    )
