"""Ray clusters of several nodes on this machine, and drivers that are started and killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from featx.backbone.backbone import Backbone, identity
from featx.data.store import EmbeddingSet
from featx.types import Vectors
from scaling import Scaled

ITEMS, DIM, SIZE = 2000, 16, 64
TOKEN = "6f1c5d2e9b7a4830a1d4c7e8f2b59063"
LONGEST_S = 500


def environment() -> dict[str, str]:
    """Return what drivers and nodes of one cluster have to share."""
    return {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}


NODES = """
import json, sys
from ray.cluster_utils import Cluster
cluster, nodes = Cluster(shutdown_at_exit=False), []
for line in sys.stdin:
    word, number = line.split()
    if word == "add":
        memory = 200_000_000
        nodes.append(cluster.add_node(
            num_cpus=int(number), object_store_memory=memory, include_dashboard=False
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
    """Nodes of `ray.cluster_utils`, in a process of their own.

    Attributes
    ----------
    raylets : list of int
        The process of each node that starts its workers.
    """

    process: "subprocess.Popen[str]"
    address: str = ""
    raylets: list[int] = field(default_factory=list)

    def add(self, cpus: int = 1) -> int:
        """Start a node, and return its number."""
        self.address, raylet = self._ask(f"add {cpus}")
        self.raylets.append(raylet)
        return len(self.raylets) - 1

    def kill(self, number: int) -> None:
        """End a node with all that runs on it, at once."""
        for pid in [self.raylets[number], *workers_of(self.raylets[number])]:
            os.kill(pid, signal.SIGKILL)
        self._ask(f"remove {number}")

    @property
    def workers(self) -> list[int]:
        """Processes of the actors, on all nodes."""
        return [pid for raylet in self.raylets for pid in workers_of(raylet)]

    def _ask(self, line: str) -> Any:  # noqa: ANN401
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:  # Ray prints lines of its own
            if answer.startswith(("[", "null")):
                return json.loads(answer)
        message = "the cluster's process has ended"
        raise AssertionError(message)


@contextmanager
def cluster(*cpus: int) -> Iterator[Cluster]:
    """Start a cluster with a node for each number of CPUs, and stop it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", NODES],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment(),
    ) as process:
        made = Cluster(process)
        for count in cpus:
            made.add(count)
        yield made
        # The end of its input is what stops it.


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


@dataclass
class Job:
    """One ``featx embed --engine ray`` that is run again and again."""

    scaled: Scaled
    X: Vectors
    address: str

    @classmethod
    def make(cls, folder: Path, address: str) -> "Job":
        X = np.random.default_rng(0).standard_normal((ITEMS, DIM), dtype=np.float32)
        scaled = Scaled(folder / "x.npz", Backbone(identity(DIM)), folder / "x.emb")
        scaled.save(X, [f"i{number}" for number in range(ITEMS)])
        scaled.begin(SIZE)
        return cls(scaled, X, address)

    def start(self, *more: str, token: str = TOKEN) -> "subprocess.Popen[str]":
        arguments = ["embed", str(self.scaled.path), "-m", "identity", "-o", str(self.scaled.out)]
        engine = ["--engine", "ray", "--address", self.address, "--json", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "featx", *arguments, *engine],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment() | {"RAY_AUTH_TOKEN": token},
        )

    def wait_for_units(self, process: "subprocess.Popen[str]", count: int) -> int:
        """Return how many units the manifest names, once they are so many, or the run has ended."""
        end_s = time.monotonic() + LONGEST_S
        while True:
            done = len(json.loads((self.scaled.out / "manifest.json").read_bytes())["segments"])
            if done >= count or process.poll() is not None:
                return done
            assert time.monotonic() < end_s, "no unit was committed"
            time.sleep(0.01)

    def finish(self, process: "subprocess.Popen[str] | None" = None) -> dict[str, Any]:
        """Run to the end, and check that each row is there once, as it should be."""
        out, err = (process or self.start()).communicate(timeout=LONGEST_S)
        assert err == "", err
        emb = EmbeddingSet.open(self.scaled.out)
        assert emb.ids == [f"i{number}" for number in range(ITEMS)]
        np.testing.assert_array_equal(np.asarray(emb.X), self.X)
        assert emb.finished
        named = {f"{entry['name']}.npy" for entry in emb.manifest["segments"]}
        assert self.scaled.written.keys() >= named
        found: dict[str, Any] = json.loads(out)
        return found
