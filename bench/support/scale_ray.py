"""Through Ray on two cores, beside two plain processes with a shard each, after start-up."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.support import drive, rows, scale_toy
from bench.support.places import RUNS, WORKERS
from bench.support.scale_cluster import Cluster, cluster
from featx.data.store import EmbeddingSet

NEEDS = ("ray",)
WORKERS_COUNT = 2
ITEMS, QUICK_ITEMS = 36_000, 3_000
ROUNDS, QUICK_ROUNDS = 3, 1
PLAIN = "two plain processes"
COMMAND = "python -m bench.scale --only ray"

Run = dict[str, float]


def measure(*, is_quick: bool) -> list[dict[str, Any]]:
    """Return rows: wall time and work of encoding, for a real model and for a toy one."""
    count, rounds = (QUICK_ITEMS, QUICK_ROUNDS) if is_quick else (ITEMS, ROUNDS)
    works = {
        "MiniLM, short texts": (scale_toy.short_texts(count), "minilm-l6"),
        "toy model": (scale_toy.arrays(count), str(scale_toy.model())),
    }
    found = []
    with cluster(WORKERS_COUNT) as made:
        for name, (source, model) in works.items():
            pairs = [_pair(source, model, made) for _ in range(rounds)]
            found += _rows(name, count, pairs)
    return found


def _pair(source: Path, model: str, made: Cluster) -> tuple[Run, Run]:
    """Run both, one after the other, and compare what they made."""
    plain, ray = _plain(source, model), _ray(source, model, made)
    ids = [item for path in _outs() for item in EmbeddingSet.open(path).ids]
    if EmbeddingSet.open(_home() / "ray.emb").ids != ids:
        message = "the sets differ"
        raise RuntimeError(message)
    print(f"  {source.name}: plain {plain}, ray {ray}", file=sys.stderr, flush=True)
    return plain, ray


def _home() -> Path:
    return RUNS / "scale"


def _outs() -> list[Path]:
    return [_home() / f"plain-{number}.emb" for number in range(WORKERS_COUNT)]


def _plain(source: Path, model: str) -> Run:
    """Run a shard in each of two processes at once; the slower one counts."""
    processes = []
    for number, out in enumerate(_outs()):
        shutil.rmtree(out, ignore_errors=True)
        command = drive.embed_arguments(source, model, out, None, 1)
        shard = ["--shard", f"{number + 1}/{WORKERS_COUNT}", "--stats"]
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", *command, *shard],
                stdout=subprocess.PIPE,
                text=True,
                env=drive.variables(1),
            )
        )
    stats = [json.loads(process.communicate()[0])["stats"] for process in processes]
    return {
        "wall_s": max(each["wall_s"] for each in stats),
        "encode_s": sum(each["encode_s"] for each in stats),
    }


def _ray(source: Path, model: str, made: Cluster) -> Run:
    command = [
        sys.executable, str(WORKERS / "scale_ray.py"), str(source), model,
        str(_home() / "ray.emb"), "--address", made.address, "--workers", str(WORKERS_COUNT),
    ]  # fmt: skip
    done = subprocess.run(
        command, check=True, env=made.environment, stdout=subprocess.PIPE, text=True
    )
    found: Run = json.loads(done.stdout.splitlines()[-1])
    return found


def _rows(name: str, count: int, pairs: list[tuple[Run, Run]]) -> list[dict[str, Any]]:
    held = rows.targets("scale")
    plain, ray = ([pair[side] for pair in pairs] for side in (0, 1))
    walls = [statistics.median(run["wall_s"] for run in runs) for runs in (ray, plain)]
    works = [statistics.median(run["encode_s"] for run in runs) for runs in (ray, plain)]
    startup_s = statistics.median(run["startup_s"] for run in ray)
    ratio = statistics.median(r["wall_s"] / p["wall_s"] for p, r in pairs)
    excess = statistics.median(r["encode_s"] / p["encode_s"] for p, r in pairs) - 1
    note = f"{count:,} items, {WORKERS_COUNT} workers of one thread, {len(pairs)} rounds"
    return [
        rows.row(
            f"ray, {name}: wall time after start-up, over that of {PLAIN}",
            round(ratio, 3),
            unit="x",
            peer=PLAIN,
            peer_value=f"{walls[1]:.1f} s",
            note=f"{note}; ray {walls[0]:.1f} s, and {startup_s:.1f} s of start-up before",
            **rows.at_most(ratio, held["ray_vs_processes_max"]),
        ),
        rows.row(
            f"ray, {name}: seconds of encoding, over those of {PLAIN}",
            round(100 * excess, 2),
            unit="% more",
            peer=PLAIN,
            peer_value=f"{works[1]:.1f} s",
            note=f"{note}; {works[0]:.1f} s, sums of both workers",
            **rows.at_most(excess, held["ray_encode_overhead_max"]),
        ),
    ]
