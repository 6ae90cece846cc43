"""A Ray cluster of several nodes on this machine."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.support.places import ROOT

NODES = """
import json, sys
from ray.cluster_utils import Cluster
cluster, nodes = Cluster(shutdown_at_exit=False), []
for line in sys.stdin:
    word, number = line.split()
    if word == "add":
        nodes.append(cluster.add_node(
            num_cpus=int(number), object_store_memory=200_000_000, include_dashboard=False
        ))
        cluster.wait_for_nodes()
        raylet = nodes[-1].all_processes["raylet"][0].process.pid
        print(json.dumps([cluster.address, raylet]), flush=True)
    else:
        cluster.remove_node(nodes[int(number)], allow_graceful=False)
        print("null", flush=True)
cluster.shutdown()
"""


@dataclass
class Cluster:
    """Nodes in a process of their own.

    Attributes
    ----------
    token : str
        Without which Ray answers nobody.
    raylets : list of int
        The process of each node that starts its workers.
    """

    process: "subprocess.Popen[str]"
    token: str
    address: str = ""
    raylets: list[int] = field(default_factory=list)

    def add(self, cpus: int) -> int:
        """Start a node, and return its number."""
        self.address, raylet = self._ask(f"add {cpus}")
        self.raylets.append(raylet)
        return len(self.raylets) - 1

    def kill(self, number: int) -> None:
        """End a node with all its workers, at once."""
        raylet = self.raylets[number]
        for pid in [raylet, *workers_of(raylet)]:
            os.kill(pid, signal.SIGKILL)
        self._ask(f"remove {number}")

    @property
    def workers(self) -> list[int]:
        return [pid for raylet in self.raylets for pid in workers_of(raylet)]

    @property
    def environment(self) -> dict[str, str]:
        return variables(self.token)

    def _ask(self, line: str) -> Any:  # noqa: ANN401  (what the line asks for)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:
            if answer.startswith(("[", "null")):
                return json.loads(answer)
        message = "the cluster's process has ended"
        raise RuntimeError(message)


@contextmanager
def cluster(*cpus: int) -> Iterator[Cluster]:
    """Start a cluster with a node for each number of CPUs, and stop it at the end."""
    token = secrets.token_hex(16)
    with subprocess.Popen(
        [sys.executable, "-c", NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=variables(token),
        cwd=ROOT,
    ) as process:
        made = Cluster(process, token)
        for count in cpus:
            made.add(count)
        yield made


def variables(token: str) -> dict[str, str]:
    """Return the environment that nodes and drivers of one cluster share."""
    return {
        **os.environ,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": token,
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }


def workers_of(raylet: int) -> list[int]:
    """Return the processes of a node's actors."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            continue
        if parent == raylet and b"MapWorker" in name:
            found.append(int(folder.name))
    return found
