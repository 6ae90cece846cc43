"""A service under mixed use for minutes: nothing fails that should not, and memory stays.

Clients ask for labels, neighbours and vectors, teach and forget, send what is of no use, go before
they are answered, and the gallery is looked at anew, all at the same time.  ``FEATX_SOAK_S`` sets
the seconds.
"""

import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from serving import Served, copy_of, process

SECONDS = float(os.environ.get("FEATX_SOAK_S", "300"))
CLIENTS = 6
WARM_SHARE = 0.25
GROWTH = 0.05
"""Memory may grow by this share after the first quarter: by what was taught, and fragments."""

TEXTS = ("free money now", "see you at noon", "re: the meeting on friday", "cheap pills " * 30)

Act = Callable[[Served, random.Random, str], tuple[int, int]]
"""What a client does once: the status that it got, and the one it should have got."""


def classify(served: Served, rng: random.Random, _: str) -> tuple[int, int]:
    body = {"input": [rng.choice(TEXTS) for _ in range(rng.choice((1, 1, 1, 20)))]}
    return served.json("POST", "/v1/classify", body)[0], 200


def search(served: Served, rng: random.Random, _: str) -> tuple[int, int]:
    return served.json("POST", "/v1/search", {"input": rng.choice(TEXTS), "k": 3})[0], 200


def embed(served: Served, rng: random.Random, _: str) -> tuple[int, int]:
    body = {"input": rng.choice(TEXTS), "model": "minilm-l6", "encoding_format": "base64"}
    return served.json("POST", "/v1/embeddings", body)[0], 200


def teach_and_forget(served: Served, rng: random.Random, who: str) -> tuple[int, int]:
    name = f"{who}-{rng.getrandbits(48)}"
    example = {"id": name, "label": "ham", "input": rng.choice(TEXTS)}
    status, _ = served.json("POST", "/v1/examples", {"examples": [example]})
    if status != 201:
        return status, 201
    return served.json("DELETE", f"/v1/examples?id={name}")[0], 200


def browse(served: Served, _: random.Random, __: str) -> tuple[int, int]:
    return served.json("GET", "/v1/examples?limit=20")[0], 200


def nonsense(served: Served, rng: random.Random, _: str) -> tuple[int, int]:
    body, wanted = rng.choice(((b"{", 400), (b'{"input": []}', 422), (b'{"input": [""]}', 422)))
    found = served.request("POST", "/v1/classify", body, {"content-type": "application/json"})[0]
    return found, wanted


def go_early(served: Served, _: random.Random, __: str) -> tuple[int, int]:
    body = b'{"input": "' + b"a long text " * 40 + b'"}'
    head = f"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(served.address, timeout=30) as connection:
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
    return 0, 0


def look_anew(served: Served, _: random.Random, __: str) -> tuple[int, int]:
    os.kill(served.pid, signal.SIGHUP)
    return served.request("GET", "/health/ready")[0], 200


ACTS: dict[Act, int] = {
    classify: 10,
    search: 6,
    embed: 4,
    teach_and_forget: 4,
    browse: 2,
    nonsense: 2,
    go_early: 2,
    look_anew: 1,
}
"""What clients do, and how often."""


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(pid)


class Clients:
    """Threads that use a service until they are told to stop."""

    def __init__(self, served: Served) -> None:
        self.statuses = Counter[str]()
        self.failures: list[str] = []
        self._served = served
        self._is_over = Event()
        self._threads = [Thread(target=self._use, args=[number]) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _use(self, number: int) -> None:
        rng = random.Random(number)
        while not self._is_over.is_set():
            (act,) = rng.choices(list(ACTS), list(ACTS.values()))
            try:
                found, wanted = act(self._served, rng, f"client-{number}")
            except OSError as error:
                self.failures.append(f"{act.__name__}: {error!r}")
                continue
            self.statuses[f"{act.__name__} {found}"] += 1
            if found != wanted:
                self.failures.append(f"{act.__name__}: {found} instead of {wanted}")

    def stop(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()


@pytest.mark.slow
@pytest.mark.timeout(int(SECONDS) + 120)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory from /proc")
def test_minutes_of_mixed_use_lose_no_request_and_no_memory(
    text_gallery: Path, tmp_path: Path
) -> None:
    with process(copy_of(text_gallery, tmp_path), "--allow-teach") as served:
        before = served.json("GET", "/v1/models")[1]["data"][0]["items"]
        clients = Clients(served)
        time.sleep(WARM_SHARE * SECONDS)
        warm_kib = resident_kib(served.pid)
        time.sleep((1 - WARM_SHARE) * SECONDS)
        end_kib = resident_kib(served.pid)
        clients.stop()
        after = served.json("GET", "/v1/models")[1]["data"][0]["items"]
        _, _, metrics = served.request("GET", "/metrics")

    sys.stdout.write(
        f"{sum(clients.statuses.values()):,} acts in {SECONDS:.0f} s: "
        f"{dict(sorted(clients.statuses.items()))}\n"
        f"resident: {warm_kib >> 10} MiB after a quarter, {end_kib >> 10} MiB at the end\n"
    )
    assert clients.failures[:10] == []
    assert after == before
    assert b"featx_items_waiting 0.0" in metrics
    assert end_kib <= (1 + GROWTH) * warm_kib
