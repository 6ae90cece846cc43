"""Connections to PostgreSQL: when one counts as lost, how long it is waited for, and by whom."""

import os
import signal
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Barrier

import pytest

pytest.importorskip("psycopg", reason="no client: pip install 'featx[pg]'")

from psycopg import Error, OperationalError, errors

from featx.errors import StoreError
from featx.gallery.gallery import Gallery
from featx.gallery.postgres.dsn import Dsn
from featx.gallery.postgres.failures import LostError, explained
from featx.gallery.postgres.held import PostgresHeld
from featx.gallery.postgres.server import Server, Session, connected
from featx.gallery.postgres.shards import Shards
from featx.gallery.postgres.tables import Tables
from postgres import Keeper, Postgres

LONGEST_S = 60
TABLES = Tables(id="0" * 16, schema="public", dim=6, metric="cosine", storage="halfvec")


def shards_of(count: int) -> Shards:
    """Return servers that nobody has connected to yet."""
    return Shards(
        [Server(Dsn.parse(f"host=127.0.0.1 port={9 + at}"), TABLES) for at in range(count)]
    )


def told(cause: Error) -> Exception:
    with pytest.raises(StoreError) as caught, explained("db"):
        raise cause
    return caught.value


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (
            OperationalError("refused"),
            "cannot be reached (refused); is it running, and is --dsn ri",
        ),
        (errors.ConnectionFailure("gone"), "cannot be reached (gone); is it running"),
        (errors.AdminShutdown("terminating"), "cannot be reached (terminating); is it running"),
        (
            OperationalError("FATAL:  the database system is starting up"),
            "the database system is starting up; do it again in a moment",
        ),
    ],
)
def test_a_connection_that_is_not_there_is_lost(cause: Error, message: str) -> None:
    error = told(cause)

    assert type(error) is LostError
    assert message in str(error)


@pytest.mark.parametrize(
    ("cause", "message"),
    [
        (errors.OutOfMemory("no memory"), "at db: no memory; give the server more memory"),
        (errors.DeadlockDetected("a deadlock"), "at db: a deadlock; do it again"),
        (errors.ConfigurationLimitExceeded("a limit"), "at db: a limit"),
    ],
)
def test_what_a_server_says_over_a_connection_does_not_make_it_lost(
    cause: Error, message: str
) -> None:
    error = told(cause)

    assert type(error) is StoreError
    assert message in str(error)
    assert "is it running" not in str(error)


@pytest.mark.pg
def test_a_question_is_asked_again_only_where_its_connection_was_lost(postgres: Postgres) -> None:
    server = Server(Dsn.parse(postgres.dsn()), TABLES)
    asked = []

    def fail(session: Session) -> None:
        asked.append(session.info.backend_pid)
        session.execute("DO $$ BEGIN RAISE 'full' USING ERRCODE = 'out_of_memory'; END $$")

    def end(session: Session) -> None:
        asked.append(session.info.backend_pid)
        session.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(StoreError, match="full; give the server more memory"):
        server.ask(fail)
    assert len(asked) == 1
    with pytest.raises(LostError):
        server.ask(end)
    server.close()

    assert asked[1] == asked[0]  # the connection was fine
    assert len(set(asked[1:])) == 2


@pytest.mark.pg
def test_a_server_that_vanishes_is_given_up_soon_or_when_the_dsn_says(postgres: Postgres) -> None:
    names = ("connect_timeout", "tcp_user_timeout", "keepalives_idle", "keepalives_interval")
    found = []

    for rest in ("", "&tcp_user_timeout=7000&keepalives_idle=3"):
        session = connected(Dsn.parse(postgres.dsn(rest=rest)))
        found.append([session.info.get_parameters()[name] for name in names])
        session.close()

    assert found == [["10", "30000", "10", "5"], ["10", "7000", "3", "5"]]


@pytest.mark.parametrize("count", [1, 2])
def test_servers_that_were_closed_say_so_however_many_they_are(count: int) -> None:
    shards = shards_of(count)
    shards.close()

    with pytest.raises(StoreError, match=r"port=9: is closed; open the gallery again$"):
        shards.ask(lambda session, _: session.info.backend_pid)


def test_a_bug_in_a_question_is_not_taken_for_a_closed_gallery() -> None:
    shards = shards_of(2)

    def fail(_: int) -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        shards.run(fail, [1, 2])
    shards.close()


def test_two_who_ask_all_servers_do_not_wait_for_each_other() -> None:
    shards, all_at_once = shards_of(2), Barrier(4)

    with ThreadPoolExecutor(2) as callers:
        each = [
            callers.submit(shards.run, lambda at: (all_at_once.wait(LONGEST_S), at)[1], [1, 2])
            for _ in range(2)
        ]

    assert [asked.result() for asked in each] == [[1, 2], [1, 2]]
    shards.close()


@pytest.mark.pg
def test_nobody_waits_for_a_connection_that_another_one_waits_for(
    postgres: Postgres, tmp_path: Path
) -> None:
    path = Keeper([postgres.dsn()]).build(tmp_path).path

    with Gallery.open(path) as gallery, ThreadPoolExecutor(2) as readers:
        held = gallery.snapshot
        assert isinstance(held, PostgresHeld)
        pid = held.shards.head.ask(lambda session: session.info.backend_pid)
        os.kill(pid, signal.SIGSTOP)  # the one connection there is answers no more
        try:
            asked: set[Future[int]] = {readers.submit(lambda: len(gallery)) for _ in range(2)}
            answered, waiting = wait(asked, LONGEST_S, FIRST_COMPLETED)
        finally:
            os.kill(pid, signal.SIGCONT)

        assert (len(answered), len(waiting)) == (1, 1)
        assert [each.result() for each in asked] == [60, 60]


@pytest.mark.pg
def test_readers_at_once_see_no_older_change_after_a_newer_one(
    postgres: Postgres, tmp_path: Path
) -> None:
    path = Keeper([postgres.dsn()]).build(tmp_path).path

    with Gallery.open(path) as reader, Gallery.open(path, writable=True) as writer:

        def seen(_: int) -> list[int]:
            return [reader.snapshot.seq for _ in range(60)]

        with ThreadPoolExecutor(4) as readers:
            looking = [readers.submit(seen, number) for number in range(3)]
            for row in range(20):
                writer.remove([f"i{row}"])
        found = [each.result() for each in looking]

        assert found == [sorted(each) for each in found]
        assert reader.snapshot.seq == 20
