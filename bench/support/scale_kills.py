"""kill -9 of a worker, a node and the driver at random moments: each row once, and the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows, scale_toy
from bench.support.places import RUNS
from bench.support.scale_cluster import Cluster, cluster
from featx.data.store import EmbeddingSet
from featx.scale.cutting import unit_size

NEEDS = ("ray",)
ITEMS, QUICK_ITEMS = 24_000, 6_000
RUNS_EACH, QUICK_RUNS = 10, 1
LEAST_COSINE = 1 - 1e-6
POLL_S = 0.02
LATEST = 0.8
"""Share of the units that are done at most when something is killed; at least none is."""

KINDS = ("worker", "node", "driver")
COMMAND = "python -m bench.scale --only kills"


def measure(*, is_quick: bool) -> list[dict[str, Any]]:
    """Return a row for each kind: in how many runs each row is there once, with its vector."""
    count, times = (QUICK_ITEMS, QUICK_RUNS) if is_quick else (ITEMS, RUNS_EACH)
    source, model = scale_toy.arrays(count), str(scale_toy.model())
    local, out = RUNS / "scale" / "local.emb", RUNS / "scale" / "killed.emb"
    shutil.rmtree(local, ignore_errors=True)
    drive.embed(source, model, local, threads=1)
    rng = np.random.default_rng(0)
    found = []
    with cluster(1, 1) as made:
        for kind in KINDS:
            results = []
            for _ in range(times):
                shutil.rmtree(out, ignore_errors=True)
                units = LATEST * rng.random() * count / unit_size(count)
                moment = _killed(kind, source, model, out, made=made, units=units)
                results.append(_is_whole(out, local))
                print(f"  {kind} at {moment}: {results[-1]}", file=sys.stderr, flush=True)
            found.append(_row(kind, count, results))
    return found


def _killed(kind: str, source: Path, model: str, out: Path, *, made: Cluster, units: float) -> str:
    """Embed, kill when so many units are done, and end; say when that was."""
    node = made.add(1) if kind == "node" else None
    process = _start(source, model, out, made)
    done = _wait(process, out, units)
    if kind == "driver":
        process.kill()
    elif node is not None:
        made.kill(node)
    elif made.workers:
        os.kill(made.workers[-1], signal.SIGKILL)
    process.communicate()
    if kind == "driver" or process.returncode:
        again = _start(source, model, out, made)
        again.communicate()
    ended = "run again" if kind == "driver" or process.returncode else "went on"
    return f"{done} units, {ended}"


def _start(source: Path, model: str, out: Path, made: Cluster) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", *drive.embed_arguments(source, model, out, None, 1)]
    engine = ["--engine", "ray", "--address", made.address, "--workers", "3"]
    return subprocess.Popen(
        [*command, *engine], env=made.environment, stdout=subprocess.DEVNULL, stderr=sys.stderr
    )


def _wait(process: "subprocess.Popen[bytes]", out: Path, units: float) -> int:
    """Return how many units are done, once they are so many, or the run has ended."""
    while process.poll() is None:
        manifest = _manifest(out)
        done = len(manifest.get("segments", []))
        if manifest and done >= units:
            return done
        time.sleep(POLL_S)
    return len(_manifest(out).get("segments", []))


def _manifest(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / "manifest.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _is_whole(out: Path, local: Path) -> bool:
    """Return whether a set has the rows of the local one, in its order, with equal vectors."""
    made, wanted = EmbeddingSet.open(out), EmbeddingSet.open(local)
    if made.ids != wanted.ids or not made.finished:
        return False
    cosines = np.einsum("nd,nd->n", np.asarray(made.X), np.asarray(wanted.X))
    return bool(cosines.min() >= LEAST_COSINE)


def _row(kind: str, count: int, results: list[bool]) -> dict[str, Any]:
    return rows.row(
        f"ray, kill -9 of a {kind}: runs with every row once and its vector",
        sum(results),
        unit=f"of {len(results)}",
        note=f"{count:,} items of a toy model, two nodes, random moments",
        **rows.at_least(sum(results), len(results)),
    )
