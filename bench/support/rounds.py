"""Runs of several tools in turns, so that all meet the same machine: A B C, A B C, ..."""

import json
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import drive
from bench.support.drive import Tool
from bench.support.places import RUNS

Runs = dict[str, list[dict[str, Any]]]
"""Name → what each round found."""

LEAST_COSINE = 0.9999
"""Between the vectors of two tools that hold the same weights and see the same input."""


def in_turns(works: dict[str, Callable[[], dict[str, Any]]], rounds: int) -> Runs:
    """Do each work once a round."""
    found: Runs = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            found[name].append(work())
            seconds = found[name][-1]["encode_s"]
            print(f"  round {number + 1}: {name}: {seconds:.2f} s", file=sys.stderr, flush=True)
    return found


def median(runs: list[dict[str, Any]], key: str = "encode_s") -> float:
    return float(statistics.median(run[key] for run in runs))


def place(name: str) -> Path:
    """Return where a tool of this name writes to; what is there is deleted."""
    RUNS.mkdir(parents=True, exist_ok=True)
    path = RUNS / "".join(c if c.isalnum() else "-" for c in name)
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    return path


def encode_with(tool: Tool, corpus: Path, threads: int) -> Callable[[], dict[str, Any]]:
    """Return a run of a tool; it also returns its vectors, scaled to unit length, as `X`."""

    def work() -> dict[str, Any]:
        out = place(tool.name)
        found = drive.run(tool.command(corpus, out, threads), threads=threads)
        return {**found, "X": unit_vectors(out)}

    return work


def unit_vectors(out: Path) -> NDArray[np.float32]:
    if out.is_dir():
        import featx

        X = np.asarray(featx.open(out).X[:], dtype=np.float32)
    else:
        X = np.load(out).astype(np.float32)
    scaled: NDArray[np.float32] = X / np.linalg.norm(X, axis=1, keepdims=True)
    return scaled


def cosines(A: NDArray[np.float32], B: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows, both of unit length."""
    found: NDArray[np.float64] = np.einsum("nd,nd->n", A, B, dtype=np.float64)
    return found


def require_same_vectors(runs: Runs, ours: str, peers: list[str]) -> float:
    """Return the least cosine between our vectors and the peers'; exit if they differ.

    A speed is only worth comparing between tools that compute the same thing.
    """
    least = 1.0
    for name in peers:
        found = float(cosines(runs[ours][0]["X"], runs[name][0]["X"]).min())
        if not found >= LEAST_COSINE:
            sys.exit(f"{name}: its vectors are not ours: cosine {found:.6f} < {LEAST_COSINE}")
        least = min(least, found)
    return least


def best_setting(
    tool: Tool, corpus: Path, settings: list[dict[str, Any]], first: int, threads: int
) -> tuple[dict[str, Any], list[float]]:
    """Return the fastest setting on the first items, and items a second for each."""
    extra = ["--sweep", json.dumps(settings), "--first", str(first)]
    command = tool.command(corpus, place(tool.name), threads)
    rates = drive.run([*command, *extra], threads=threads)["rates"]
    return settings[int(np.argmax(rates))], rates


def with_setting(tool: Tool, setting: dict[str, Any]) -> Tool:
    """Return the tool at this setting, named after it."""
    words = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in setting.items())
    arguments = (*tool.arguments, "--setting", json.dumps(setting))
    return Tool(f"{tool.name}, {words}", tool.environment, tool.script, tool.model, arguments)
