"""Runs of ``workers/knn_search.py`` in turns, and rows made of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows
from bench.support.knn_problems import Problem
from bench.support.places import RUNS, WORKERS, python

Found = dict[str, Any]
BUILD_THREADS = 2


@dataclass(frozen=True, slots=True)
class Tool:
    """One way to search.

    Attributes
    ----------
    name : str
        For the rows.
    key : str
        Of the worker's table.
    setting : dict
    environment : str
        A key of `bench.peers.PEERS`, or ``"featx"``.
    is_kept : bool
        Whether its index is built once and read again.
    """

    name: str
    key: str
    setting: dict[str, Any] = field(default_factory=dict)
    environment: str = "featx"
    is_kept: bool = False

    def index(self, problem: Problem) -> Path:
        words = "-".join(f"{value}" for value in self.setting.values())
        return RUNS / "knn" / f"{problem.folder().name}-{self.key}-{words}.index"

    def run(self, problem: Problem, threads: int, *options: str) -> Found:
        """Search, with the index that was built before, if it was."""
        script = WORKERS / "knn_search.py"
        command = [python(self.environment), str(script), str(problem.folder()), self.key]
        command += ["--setting", json.dumps(self.setting), *options]
        if self.is_kept:
            command += ["--index", str(self.index(problem))]
        found = drive.run(command, threads=threads)
        return {**found, "encode_s": 1e-3 * found["p50_ms"]}

    def build(self, problem: Problem, *options: str) -> Found:
        """Build the index anew and keep it; the run searches with it too."""
        place = self.index(problem)
        for each in place.parent.glob(f"{place.stem}.*"):
            each.unlink()
        return self.run(problem, BUILD_THREADS, *options)

    def built(self, problem: Problem, *options: str) -> Found:
        """Return what `build` found, now or in an earlier run."""
        record = self.index(problem).with_suffix(".built")
        if not record.is_file():
            found = self.build(problem, *options)
            record.write_text(json.dumps(found))
        return dict(json.loads(record.read_text()))

    def turn(self, problem: Problem, threads: int, *options: str) -> Callable[[], Found]:
        """Return a run for `rounds.in_turns`."""
        return lambda: self.run(problem, threads, *options)


def qps(runs: list[Found], size: int = 1000) -> float:
    """Return the median queries a second of batches of this size."""
    return float(np.median([run["qps"][str(size)] for run in runs]))


def middle(runs: list[Found], key: str) -> float:
    return float(np.median([run[key] for run in runs]))


def compared(
    name: str, ours: list[Found], peers: dict[str, list[Found]], least: float, *, what: str
) -> list[Found]:
    """Return a row for each peer: queries a second, or the median of single queries."""
    return [_compared(f"{name}, {what}", ours, peer, runs, least) for peer, runs in peers.items()]


def _compared(name: str, ours: list[Found], peer: str, theirs: list[Found], least: float) -> Found:
    if "single" in name:
        mine, other, unit = middle(ours, "p50_ms"), middle(theirs, "p50_ms"), "ms"
        ratio = other / mine
        note = f"p99 {middle(ours, 'p99_ms'):.2f} ms, peer {middle(theirs, 'p99_ms'):.2f} ms"
    else:
        mine, other, unit = qps(ours), qps(theirs), "queries/s"
        ratio = mine / other
        cpu = middle(ours, "batch_cpu_ms"), middle(theirs, "batch_cpu_ms")
        note = f"CPU ms a query {cpu[0]:.3f}, peer {cpu[1]:.3f}"
    recalls = f"recall@10 {middle(ours, 'recall'):.4f}, peer {middle(theirs, 'recall'):.4f}"
    return rows.row(
        name,
        _rounded(mine),
        unit=unit,
        peer=peer,
        peer_value=_rounded(other),
        ratio=round(ratio, 2),
        threads=ours[0]["threads"],
        note=f"{recalls}; {note}; {ours[0]['kind']}",
        **rows.at_least(ratio, least),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
