"""Workers of Ray, which are killed with their nodes and drivers; each row is there once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from featx.data.store import EmbeddingSet
from rayclusters import ITEMS, Cluster, Job, cluster, environment

pytest.importorskip("ray", reason="ray is not installed: pip install 'featx[ray]'")
pytestmark = [pytest.mark.ray, pytest.mark.timeout(600), pytest.mark.filterwarnings("default")]

LEAST_COSINE = 1 - 1e-6
UNITS_BEFORE = 4
"""Of the 30 units or so, which are done before something is killed."""


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[Cluster]:
    with cluster(1, 1) as made:
        yield made


def test_two_nodes_make_the_rows_of_a_local_run(two_nodes: Cluster, tmp_path: Path) -> None:
    texts = [f"text {number} is about {'cats and ' * (number % 5)}dogs" for number in range(300)]
    source = tmp_path / "t.parquet"
    pq.write_table(pa.table({"text": texts, "label": ["a", "b", None] * 100}), source)
    command = [sys.executable, "-m", "featx", "embed", str(source), "-m", "minilm-l6"]
    for out, more in {
        "ray.emb": ["--engine", "ray", "--address", two_nodes.address],
        "local.emb": ["--threads", "1"],
    }.items():
        subprocess.run(
            [*command, "--no-cache", "-o", str(tmp_path / out), *more],
            env=environment(),
            check=True,
            capture_output=True,
        )

    ray, local = (EmbeddingSet.open(tmp_path / name) for name in ("ray.emb", "local.emb"))
    assert ray.items.equals(local.items)
    cosines = np.sum(np.asarray(ray.X) * np.asarray(local.X), axis=1)
    assert cosines.min() >= LEAST_COSINE


def test_a_worker_that_is_killed_is_replaced(two_nodes: Cluster, tmp_path: Path) -> None:
    job = Job.make(tmp_path, two_nodes.address)
    process = job.start()
    job.wait_for_units(process, UNITS_BEFORE)
    os.kill(two_nodes.workers[0], signal.SIGKILL)

    found = job.finish(process)

    assert (found["items"], found["embedded"], found["errors"]) == (ITEMS, ITEMS, 0)


def test_a_node_that_is_killed_is_done_without(two_nodes: Cluster, tmp_path: Path) -> None:
    job = Job.make(tmp_path, two_nodes.address)
    node = two_nodes.add(1)
    process = job.start("--workers", "3")
    job.wait_for_units(process, UNITS_BEFORE)
    two_nodes.kill(node)

    found = job.finish(process)

    assert (found["items"], found["embedded"]) == (ITEMS, ITEMS)


def test_a_driver_that_is_killed_is_run_again_on_more_nodes(
    two_nodes: Cluster, tmp_path: Path
) -> None:
    job = Job.make(tmp_path, two_nodes.address)
    process = job.start("--workers", "1")
    done = job.wait_for_units(process, UNITS_BEFORE)
    process.kill()
    process.communicate()

    node = two_nodes.add(1)
    found = job.finish()
    two_nodes.kill(node)

    assert found["cached"] + found["embedded"] == ITEMS
    assert found["cached"] >= 32 * done  # units have half the usual size at least
    assert job.finish()["embedded"] == 0


def test_a_worker_that_no_node_holds_is_refused(two_nodes: Cluster, tmp_path: Path) -> None:
    job = Job.make(tmp_path, two_nodes.address)

    process = job.start("--threads", "8")
    out, err = process.communicate()

    assert (process.returncode, out) == (1, "")
    assert err == (
        "error: a worker takes 8 CPUs and 0 GPUs, and no node of the cluster has that; nodes: 1 "
        "CPU and 0 GPUs; ask for less with --threads or --gpus-per-worker, or add a larger node\n"
    )


HOLDER = """
import sys, ray
ray.init(sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=1)
class Holder:
    def is_there(self):
        return True
held = Holder.remote()
ray.get(held.is_there.remote())
print("held", flush=True)
sys.stdin.read()
"""


def test_what_is_waited_for_is_said(tmp_path: Path) -> None:
    with cluster(1) as made:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, made.address],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )
        assert holder.stdout is not None
        assert any(line == b"held\n" for line in holder.stdout)
        job = Job.make(tmp_path, made.address)
        process = job.start()
        assert process.stderr is not None
        said = process.stderr.readline()
        holder.communicate()  # the end of its input is what ends it
        found = job.finish(process)

    assert said == (
        "ray: waiting for 1 CPU on one node: 1 of 1 CPUs of the cluster are in use; Ctrl-C ends "
        "it\n"
    )
    assert found["embedded"] == ITEMS


def ray_start(*arguments: str) -> None:
    subprocess.run(
        [str(Path(sys.executable).with_name("ray")), "start", *arguments, "--num-cpus=1",
         "--object-store-memory=200000000", "--disable-usage-stats"],
        env=environment(),
        check=True,
        capture_output=True,
    )  # fmt: skip


def test_a_cluster_of_ray_start_asks_for_its_token(tmp_path: Path) -> None:
    address = "127.0.0.1:26379"  # Ray's workers take the ports from 10000 to 19999
    with TemporaryDirectory(prefix="ray-") as folder:  # a socket's path has 107 bytes at most
        try:
            ray_start("--head", "--port=26379", "--include-dashboard=false", f"--temp-dir={folder}")
            ray_start(f"--address={address}")
            job = Job.make(tmp_path, address)
            refused = job.start(token="another" * 5)
            _, err = refused.communicate()
            found = job.finish()
        finally:
            stop(folder)

    assert refused.returncode == 1
    assert err.startswith(f"error: ray: {address} answers, and could not be joined: ")
    assert err.endswith(
        "; is the token of RAY_AUTH_TOKEN, or else of ~/.ray/auth_token, that of the cluster?\n"
    )
    assert found["embedded"] == ITEMS


def stop(folder: str) -> None:
    """End the processes whose session lies in a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if folder.encode() in line and process.name != str(os.getpid()):
            os.kill(int(process.name), signal.SIGKILL)


def test_json_of_a_run_is_that_of_a_plain_one(two_nodes: Cluster, tmp_path: Path) -> None:
    job = Job.make(tmp_path, two_nodes.address)

    out, _ = job.start("--limit", "50").communicate()

    found = json.loads(out)
    assert found.keys() == {
        "items", "embedded", "cached", "errors", "truncated", "removed", "seconds", "out",
    }  # fmt: skip
