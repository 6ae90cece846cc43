"""A server in a process of its own on one core, and clients of wrk on the other."""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.support import drive
from bench.support.packages import Unavailable
from bench.support.places import ROOT, RUNS, WORKERS

Found = dict[str, Any]

SERVER_CORE, CLIENT_CORE = 0, 1
START_S = 180.0
PACE_S = 0.01


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs.

    Attributes
    ----------
    url : str
    pid : int
    ready_s : float
        From its start to the first answer of its health page.
    """

    url: str
    pid: int
    ready_s: float

    def memory_mib(self) -> float:
        """Return the resident memory of the process and its children."""
        pids = [self.pid, *_children(self.pid)]
        return sum(_status_kib(pid, "VmRSS") for pid in pids) / 1024

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process and its children so far."""
        return sum(_cpu_s(pid) for pid in [self.pid, *_children(self.pid)])


def require_tools() -> None:
    """Raise where the clients cannot be run.

    Raises
    ------
    Unavailable
    """
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not installed; on Debian: apt install wrk util-linux")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def running(command: list[str], health: str, *, threads: int = 1) -> Iterator[Server]:
    """Start a server on one core and end it afterwards.

    Parameters
    ----------
    command : list of str
        In it ``{port}`` stands for the port.
    health : str
        Path that answers 200 once the server is ready.
    threads : int
        OMP_NUM_THREADS.
    """
    port = free_port()
    pinned = ["taskset", "-c", str(SERVER_CORE), *(each.format(port=port) for each in command)]
    url = f"http://127.0.0.1:{port}"
    RUNS.mkdir(parents=True, exist_ok=True)
    started_s = time.perf_counter()
    with (RUNS / "server.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            pinned, env=drive.variables(threads), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait(url + health, process)
            yield Server(url, process.pid, time.perf_counter() - started_s)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(url: str, process: "subprocess.Popen[bytes]") -> None:
    ends_s = time.monotonic() + START_S
    while time.monotonic() < ends_s:
        if process.poll() is not None:
            log = (RUNS / "server.log").read_text(encoding="utf-8")
            sys.exit(f"the server ended with {process.returncode}: {log[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(PACE_S)
    sys.exit(f"{url}: not ready within {START_S:.0f} s")


def load(server: Server, path: str, bodies: Path, *, clients: int, seconds: float) -> Found:
    """Post the lines of a file by `clients` connections; return rates and times.

    ``per_s`` counts answers of status 2xx; ``cpu_us`` is the server's CPU time for each of them.
    """
    command = ["taskset", "-c", str(CLIENT_CORE), "wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s"]
    command += ["--timeout", "30s", "-s", str(WORKERS / "post.lua"), server.url + path]
    before_s = server.cpu_s()
    done = subprocess.run(
        [*command, "--", str(bodies)], check=True, capture_output=True, text=True, cwd=ROOT
    )
    cpu_s = server.cpu_s() - before_s
    found: Found = json.loads(done.stdout.strip().splitlines()[-1])
    answered = found["requests"] - found["refused"]
    per_s = answered / found["seconds"]
    cpu_us = 1e6 * cpu_s / max(1, answered)
    return {**found, "per_s": per_s, "cpu_us": cpu_us, "encode_s": 1 / max(per_s, 1e-9)}


def post(server: Server, path: str, body: object) -> Any:  # noqa: ANN401  (what JSON can say)
    """Return the JSON answer to one request."""
    request = urllib.request.Request(
        server.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def write_bodies(name: str, bodies: list[Any]) -> Path:
    """Return a file with a body of JSON a line."""
    path = RUNS / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(body) + "\n" for body in bodies), encoding="utf-8")
    return path


def middle(runs: list[Found], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text().split()
        for child in map(int, children):
            found += [child, *_children(child)]
    return found


def _status_kib(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    return 0


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
