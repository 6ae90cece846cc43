"""What is turned away before it is read, and what every answer carries."""

import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from featx.errors import InputError
from featx.serve.http import protocol
from featx.serve.http.gate import HEADERS
from featx.serve.http.hosts import Hosts, is_foreign
from featx.serve.http.keys import Keys
from featx.serve.processes import require_safe
from featx.serve.settings import ServeSettings
from serving import Served, serving, vectors

KEYS = ("first-key", "second-key")
ASKED = {"input": vectors(1)[0].tolist()}


@pytest.fixture(scope="module")
def served(vector_head: Path) -> Iterator[Served]:
    with serving(vector_head, hosts=("featx.example",), body_bytes=100_000) as service:
        yield service


@pytest.fixture(scope="module")
def locked(vector_head: Path) -> Iterator[Served]:
    with serving(vector_head, keys=KEYS) as service:
        yield service


@contextmanager
def connected(served: Served) -> Iterator[socket.socket]:
    with socket.create_connection(served.address, timeout=30) as connection:
        yield connection


def until_end(connection: socket.socket) -> bytes:
    """Return what comes until the other side closes."""
    parts = []
    while part := connection.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def counted(served: Served, name: str, **labels: str) -> float:
    """Return the value of a metric, 0 where there is none."""
    _, _, page = served.request("GET", "/metrics")
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return sample.value
    return 0.0


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:1", "127.0.0.1:9", "127.9.9.9", "[::1]:8000", "FEATX.example.:80"],
)
def test_a_host_of_its_own_is_answered(served: Served, host: str) -> None:
    status, found = served.json("GET", "/health/ready", headers={"host": host})

    assert (status, found["ready"]) == (200, True)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "10.0.0.1",
     "featx.example:80:80", "localhost@evil.example", "0.0.0.0", "[::1", ""],
)  # fmt: skip
def test_another_host_is_refused(served: Served, host: str) -> None:
    status, found = served.json("GET", "/v1/models", headers={"host": host})

    assert (status, found["error"]["code"]) == (403, "other_host")


def test_two_hosts_are_refused(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(
            b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = until_end(connection)

    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400"))


def test_every_address_is_its_own_where_it_listens_on_all() -> None:
    everywhere = Hosts(ServeSettings(thing="x", host="0.0.0.0"))
    here = Hosts(ServeSettings(thing="x", host="10.0.0.1"))

    assert [everywhere.allow(each) for each in (b"10.1.2.3:8000", b"a.example")] == [True, False]
    assert [here.allow(each) for each in (b"10.0.0.1:8000", b"10.1.2.3")] == [True, False]
    assert Hosts(ServeSettings(thing="x", hosts=("*",))).allow(b"a.example")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PATCH", "PUT", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
    ids=str,
)
def test_a_page_of_another_site_is_refused(
    served: Served, method: str, headers: dict[str, str]
) -> None:
    status, found = served.json(method, "/v1/classify", ASKED, headers)

    assert (status, found["error"]["code"]) == (403, "cross_site")


@pytest.mark.parametrize(
    "headers",
    [{}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}],
    ids=str,
)
def test_a_page_of_its_own_is_answered(served: Served, headers: dict[str, str]) -> None:
    own = {"origin": served.url} if headers.get("sec-fetch-site") == "same-origin" else {}

    status, _ = served.json("POST", "/v1/classify", ASKED, {**headers, **own})

    assert status == 200


def test_a_get_of_another_site_may_be_sent_since_its_answer_cannot_be_read(served: Served) -> None:
    status, headers, _ = served.request(
        "GET", "/v1/models", headers={"origin": "https://evil.example"}
    )

    assert status == 200
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_an_origin_is_compared_with_its_port() -> None:
    assert not is_foreign({b"host": b"a:80", b"origin": b"http://A:80"})
    assert is_foreign({b"host": b"a:80", b"origin": b"http://a:81"})
    assert is_foreign({b"host": b"a:80", b"origin": b"a:80"})


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer first-key"},
        {"authorization": "bearer  second-key"},
        {"api-key": "first-key"},
        {"x-api-key": "second-key"},
    ],
    ids=str,
)
def test_a_key_opens(locked: Served, headers: dict[str, str]) -> None:
    status, _ = locked.json("POST", "/v1/classify", ASKED, headers)

    assert status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": "Bearer first-ke"},
        {"authorization": "Bearer first-key2"},
        {"authorization": "Basic first-key"},
        {"authorization": "first-key"},
        {"api-key": "FIRST-KEY"},
        {"authorization": "Bearer wrong", "api-key": "first-key"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/docs/", "/v1/examples", "/nowhere"])
def test_without_a_key_everything_else_is_closed(
    locked: Served, path: str, headers: dict[str, str]
) -> None:
    status, answered, body = locked.request("GET", path, headers=headers)

    assert (status, json.loads(body)["error"]["code"]) == (401, "wrong_key")
    assert answered["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/health/ready", "/v2/health/ready", "/docs", "/openapi.json"]
)
def test_health_the_page_and_the_description_need_no_key(locked: Served, path: str) -> None:
    assert locked.request("GET", path)[0] == 200


def test_an_open_path_is_open_for_reading_alone(locked: Served) -> None:
    status, _ = locked.json("POST", "/health/live", {})

    assert status == 401


def test_an_empty_key_is_no_key() -> None:
    keys = Keys(("a",))

    assert not keys.allow("GET", "/v1/models", {})
    assert keys.allow("GET", "/v1/models", {b"api-key": b"a"})


def test_other_machines_need_a_key() -> None:
    with pytest.raises(InputError, match="needs an API key: --keys-file"):
        require_safe(ServeSettings(thing="x", host="0.0.0.0"))
    require_safe(ServeSettings(thing="x", host="0.0.0.0", keys=("a",)))
    require_safe(ServeSettings(thing="x", host="::1"))


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/v1/models"), ("GET", "/nowhere"), ("POST", "/v1/models"),
     ("POST", "/v1/classify"), ("GET", "/metrics"), ("HEAD", "/health/live")],
)  # fmt: skip
def test_every_answer_keeps_a_browser_safe(served: Served, method: str, path: str) -> None:
    _, headers, _ = served.request(method, path)

    for name, value in HEADERS:
        assert headers[name.decode()] == value.decode()
    assert "server" not in headers


def test_a_body_that_is_too_long_is_refused_unread(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n"
            b"Content-Type: application/json\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = connection.recv(1 << 16)

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_long" in answer


def test_a_client_that_sends_a_long_body_anyway_hears_the_answer(served: Served) -> None:
    status, headers, body = served.request("POST", "/v1/classify", b"x" * 8_000_000)

    assert (status, json.loads(body)["error"]["code"]) == (413, "body_too_long")
    assert headers["connection"] == "close"


def test_a_body_without_a_length_is_limited_while_it_comes(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: application/json\r\n\r\n"
        )
        for _ in range(4):
            connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        answer = connection.recv(1 << 16)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_form_without_a_length_is_limited_while_it_comes(served: Served) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    with connected(served) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            + b"%x\r\n%b\r\n"
            % (len(head), head)
        )
        for _ in range(4):
            connection.sendall(b"8000\r\n" + b" " * 0x8000 + b"\r\n")
        answer = connection.recv(1 << 16)

    assert answer.startswith(b"HTTP/1.1 413 ")


def test_overload_is_refused_before_bodies_are_read(vector_head: Path) -> None:
    with serving(vector_head) as served:
        engine = served.service.engine
        engine._crowd += engine.limit
        before = counted(served, "featx_turned_away_total", reason="busy")
        with connected(served) as connection:
            connection.sendall(
                b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            )
            answer = connection.recv(1 << 16)
        status, ready = served.json("GET", "/health/ready")
        engine._crowd -= engine.limit
        again, _ = served.json("POST", "/v1/classify", ASKED)
        turned_away = counted(served, "featx_turned_away_total", reason="busy")

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in answer
    assert (status, ready["ready"]) == (200, True)
    assert again == 200
    assert turned_away == before + 1


def test_too_many_long_bodies_at_once_are_refused(vector_head: Path) -> None:
    head = (
        b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
        b"Content-Type: application/json\r\n\r\n"
    )
    with serving(vector_head, body_bytes=1000) as served:
        held = [socket.create_connection(served.address, timeout=30) for _ in range(9)]
        for connection in held:
            connection.sendall(head)
        ninth = held[8].recv(1 << 16)
        for connection in held:
            connection.close()

    assert ninth.startswith(b"HTTP/1.1 429 ")


def test_headers_that_do_not_end_in_time_end_the_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEADERS_S", 0.3)
    with connected(served) as silent, connected(served) as slow:
        slow.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")

        assert until_end(silent) == b""
        assert until_end(slow) == b""


def test_the_second_request_of_a_connection_has_to_end_its_headers_too(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"
    monkeypatch.setattr(protocol, "HEADERS_S", 0.3)
    with connected(served) as connection:
        connection.sendall(whole)
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
        connection.sendall(whole[:-2])

        assert until_end(connection) == b""


def test_a_client_that_does_not_read_is_cut_off(
    vector_gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "READING_S", 0.3)
    body = json.dumps({"input": vectors(1000).tolist(), "k": 60}).encode()
    request = (
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with serving(vector_gallery) as served, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(30)
        connection.connect(served.address)
        connection.sendall(request + body)
        ends_s = time.monotonic() + 20
        while counted(served, "featx_requests_total", route="/v1/search") < 1:
            assert time.monotonic() < ends_s
        time.sleep(0.5)

        head, _, rest = until_end(connection).partition(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head)
        assert len(rest) < int(length)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n", 404),
        (b"GET /health/live HTTP/1.0\r\n", 403),
        (b"GET http://evil.example/health/live HTTP/1.1\r\nHost: localhost\r\n", 200),
        (b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n", 400),
        (b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n", 400),
        (b"nonsense\r\n", 400),
    ],
    ids=str,
)
def test_odd_requests_are_answered(served: Served, request_: bytes, status: int) -> None:
    with connected(served) as connection:
        connection.sendall(request_ + b"Connection: close\r\n\r\n")
        answer = until_end(connection)

    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_headers_without_end_are_refused(served: Served) -> None:
    with connected(served) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: " + b"b" * 70_000)

        assert until_end(connection).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
@pytest.mark.parametrize("of", ["a value", "many headers", "the address"])
def test_headers_of_64_kib_are_taken_and_not_a_byte_more(
    served: Served, of: str, more: int, status: int
) -> None:
    fixed = len(b"/health/live?" + b"host: localhost\r\n" + b"connection: close\r\n")
    room = 65_536 - fixed + more
    address, headers = b"", b""
    if of == "the address":
        address = b"a" * room
    elif of == "a value":
        headers = b"x: " + b"a" * (room - 5) + b"\r\n"
    else:
        headers = b"x: y\r\n" * (room // 6 - 1)
        headers += b"z: " + b"a" * (room - len(headers) - 5) + b"\r\n"
    with connected(served) as connection:
        connection.sendall(
            b"GET /health/live?%b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n%b\r\n"
            % (address, headers)
        )
        answer = until_end(connection)

    assert answer.startswith(b"HTTP/1.1 %d " % status)


def test_headers_that_are_too_long_run_nothing_that_follows_them(served: Served) -> None:
    before = counted(served, "featx_requests_total", route="/v1/classify")
    body = json.dumps(ASKED).encode()
    with connected(served) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nX: %b\r\nContent-Length: %d\r\n"
            b"Content-Type: application/json\r\n\r\n%b" % (b"x" * 65_536, len(body), body)
        )
        answer = until_end(connection)

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert counted(served, "featx_requests_total", route="/v1/classify") == before


def test_a_body_that_does_not_come_in_time_is_not_waited_for(vector_head: Path) -> None:
    with serving(vector_head, deadline_s=0.3) as served, connected(served) as connection:
        connection.sendall(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/json\r\n\r\n{"
        )
        answer = until_end(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"slow_body" in answer


def test_a_thousand_connections_that_are_dropped_do_no_harm(served: Served) -> None:
    for _ in range(10):
        held = [socket.create_connection(served.address, timeout=30) for _ in range(100)]
        for at, connection in enumerate(held):
            connection.sendall(b"POST /v1/classify HTTP/1.1\r\nHost: localh"[: at % 40])
            connection.close()

    status, _ = served.json("POST", "/v1/classify", ASKED)

    assert status == 200


def test_a_connection_is_kept_after_an_answer_that_came_early(locked: Served) -> None:
    body = b'{"input": [0]}' + b" " * 70_000
    request = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with connected(locked) as connection:
        for _ in range(2):
            connection.sendall(request + body)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 401 ")


def test_requests_are_counted_by_route(served: Served) -> None:
    asked = {"route": "/v1/models/{name:path}", "method": "GET", "status": "404"}
    before = counted(served, "featx_requests_total", **asked)

    served.request("GET", "/v1/models/some")
    served.request("GET", "/v1/models/other")

    assert counted(served, "featx_requests_total", **asked) == before + 2
    assert counted(served, "featx_request_seconds_count", route=asked["route"]) >= 2
    assert counted(served, "featx_items_answered_total") >= 1
    assert counted(served, "featx_batches_total") >= 1
    assert counted(served, "featx_items_waiting") == 0
    assert counted(served, "featx_last_success_age_seconds") < 60


def test_the_access_log_is_json(vector_head: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(vector_head, access_log=True) as served:
        served.json("POST", "/v1/classify?top=2", ASKED)

    (line,) = [line for line in capsys.readouterr().err.splitlines() if "classify" in line]
    found = json.loads(line)
    assert (found["method"], found["path"], found["status"]) == ("POST", "/v1/classify", 200)
    assert found["client"] == "127.0.0.1"
    assert found["ms"] > 0


def test_a_path_forges_no_line_of_the_log(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.serve.routes.infer._asked_thing", None)
    status, found = served.json("GET", "/v2/models/a%0aforged%1b[2J")

    (record,) = [record for record in caplog.records if "a bug" in record.message]
    assert status == 500, found
    assert record.message == r"a bug: GET '/v2/models/a\nforged\x1b[2J'"


def test_a_bug_is_a_plain_answer_and_a_line_in_the_log(
    vector_head: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(vector_head) as served:
        monkeypatch.setattr(served.service.engine, "answer", None)
        status, found = served.json("POST", "/v1/classify", ASKED)

    assert (status, found["error"]["code"]) == (500, "bug")
    assert "TypeError" not in str(found)
    assert "TypeError" in caplog.text
