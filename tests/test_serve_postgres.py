"""Services of galleries in PostgreSQL: others are answered while the database is waited for."""

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from email.message import Message
from pathlib import Path

import pytest
from blake3 import blake3

from command_line import done
from featx.serve.service import off_loop
from postgres import Postgres
from serving import DIM, Served, serving

LONGEST_S = 60.0
SOON_S = 30.0
Q = [float(number) for number in range(1, DIM + 1)]

Asked = tuple[str, str, object]
Answered = Future[tuple[int, Message, bytes]]


@pytest.fixture(scope="module")
def path(postgres: Postgres, vector_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a gallery in a database."""
    out = tmp_path_factory.mktemp("served") / "vectors.knn"
    done("index", vector_set, "-o", out, "--backend", "pgvector", "--dsn", postgres.dsn())
    return out


def id_of(path: Path) -> str:
    found: str = json.loads((path / "gallery.json").read_text())["id"]
    return found


@contextmanager
def held_up(postgres: Postgres, path: Path) -> Iterator[None]:
    """Let nobody read a gallery."""
    import psycopg

    names = ", ".join(f"featx_{id_of(path)}_{each}" for each in ("items", "state", "names"))
    with psycopg.connect(postgres.dsn()) as connection:
        connection.execute(f"LOCK TABLE {names}".encode())
        yield


def wait_until(postgres: Postgres, waiting: int) -> None:
    """Wait until so many questions wait for the database."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    until = time.monotonic() + LONGEST_S
    while (found := postgres.run(query)[0][0]) != waiting:
        assert time.monotonic() < until, f"{found} wait, not {waiting}"


def status_of_health(served: Served) -> int:
    connection = http.client.HTTPConnection(*served.address, timeout=SOON_S)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status
    finally:
        connection.close()


def statuses(
    postgres: Postgres, path: Path, served: Served, asked: Sequence[Asked], *, watching: int
) -> list[int]:
    """Ask one after another for what the database holds up, and after each whether it lives."""
    answers: list[Answered] = []
    with ThreadPoolExecutor(len(asked)) as clients:
        with held_up(postgres, path):
            wait_until(postgres, watching)
            for method, where, document in asked:
                body = None if document is None else json.dumps(document)
                headers = {"content-type": "application/json"}
                answers.append(clients.submit(served.request, method, where, body, headers))
                wait_until(postgres, watching + len(answers))
                assert status_of_health(served) == 200
        return [each.result()[0] for each in answers]


@pytest.mark.pg
def test_who_reads_is_waited_for_alone(postgres: Postgres, path: Path) -> None:
    asked: list[Asked] = [
        ("GET", where, None)
        for where in ("/metrics", "/v1/models", "/v2/models/vectors", "/openapi.json")
    ]

    with serving(path) as served:  # which itself looks every second how many items there are
        assert statuses(postgres, path, served, asked, watching=1) == [200] * 4


@pytest.mark.pg
def test_who_teaches_is_waited_for_alone(postgres: Postgres, path: Path) -> None:
    example = {"examples": [{"id": "new", "input": Q, "label": "a"}]}
    asked: list[Asked] = [
        ("DELETE", "/v1/examples?id=new", None),
        ("GET", "/v1/models", None),
        ("POST", "/v1/classify", {"input": [Q]}),
    ]

    with serving(path, allow_teach=True) as served:
        assert served.json("POST", "/v1/examples", example)[0] == 201  # its labels are not counted
        assert statuses(postgres, path, served, asked, watching=0) == [200] * 3
        status, said = served.json("DELETE", "/v1/examples?id=v0&id=new")

    assert (status, said["error"]["message"]) == (404, "id: the gallery has no item 'new'")


@pytest.mark.pg
def test_the_digest_tells_one_state_from_another(postgres: Postgres, path: Path) -> None:
    found = []
    with serving(path, allow_teach=True) as served:
        for _ in range(2):
            found += [served.json("GET", "/v1/models/vectors")[1]["digest"] for _ in range(2)]
            held = served.service.engine.thing.held
            state = f"{id_of(path)}:{held.generation}:{held.seq}"
            assert found[-1] == blake3(state.encode()).hexdigest()
            served.json("POST", "/v1/examples", {"examples": [{"input": Q}], "replace": True})

    assert found[0] == found[1] != found[2] == found[3]


@pytest.mark.pg
def test_a_database_is_asked_in_another_thread(path: Path) -> None:
    with serving(path) as served:
        thing = served.service.engine.thing

        assert asyncio.run(off_loop(thing, threading.get_ident)) != threading.get_ident()


def test_files_are_asked_where_one_is(vector_gallery: Path) -> None:
    with serving(vector_gallery) as served:
        thing = served.service.engine.thing

        assert asyncio.run(off_loop(thing, threading.get_ident)) == threading.get_ident()
