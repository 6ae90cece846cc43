"""The engine: a train step beside torch's, and an epoch with values at the cut kept or not."""

import json
import shutil
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from bench.support import drive, rows
from bench.support.finetune_problem import CACHE, Problem, make
from bench.support.places import MODELS, RUNS, WORKERS, python
from bench.support.rounds import Runs, in_turns, median

TORCH = "fastapi"
"""The environment of `bench.peers` that holds torch and transformers."""

SETTINGS = [
    {"attention": attention, "adamw": adamw}
    for attention in ("sdpa", "eager")
    for adamw in ({"fused": True}, {"foreach": True}, {})
]
COMPARED_STEPS = 60
MOST_APART = 1e-5

Found = dict[str, Any]
Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes
    ----------
    texts : int
    steps : int
        Of a timed run; at least `COMPARED_STEPS` for the comparison of parameters.
    rounds : int
    threads : tuple of int
    """

    texts: int
    steps: int
    rounds: int
    threads: tuple[int, ...]


FULL = Plan(texts=2000, steps=60, rounds=5, threads=(1, 2))
QUICK = Plan(texts=200, steps=12, rounds=1, threads=(1,))


def measure(plan: Plan) -> list[Found]:
    """Return all rows."""
    found = [kept_once(plan)]
    for threads in plan.threads:
        found += steps(plan, threads)
        found.append(epochs(plan, threads))
    return found


def steps(plan: Plan, threads: int) -> list[Found]:
    """Return rows of the time of a step, and of what both sides come to."""
    folder = make(Problem(plan.texts, max(plan.threads)))
    setting, swept = best(folder, threads)
    works = {
        "featx": stepped("finetune_steps.py", "featx", folder, plan.steps, threads),
        "torch": stepped("finetune_torch.py", TORCH, folder, plan.steps, threads, setting),
    }
    runs = in_turns(works, plan.rounds)
    ratio = by_round(runs, "featx", "torch")
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    ours, theirs = (1000 * median(runs[name]) / plan.steps for name in works)
    cpu = [1000 * median(runs[name], "encode_cpu_s") / plan.steps for name in works]
    name = f"train step of one block of MiniLM, {threads} thread{'s' if threads > 1 else ''}"
    timed = rows.row(
        name,
        round(ours, 1),
        unit="ms",
        peer=f"torch {described(setting)}",
        peer_value=round(theirs, 1),
        ratio=round(ratio, 3),
        threads=threads,
        note=f"32 texts of {min(facts['lengths'])} to {max(facts['lengths'])} tokens; CPU ms"
        f" {cpu[0]:.1f} and {cpu[1]:.1f}; tried {swept}",
        **rows.at_most(
            by_round(runs, "featx", "torch"), rows.targets("finetune")["step_vs_torch_max"]
        ),
    )
    return [timed, same(runs, folder, plan.steps, threads)]


def same(runs: Runs, folder: Path, steps: int, threads: int) -> Found:
    """Return the row of how far apart the parameters of both sides are in the end."""
    ours, theirs = (runs[name][0]["parameters"] for name in ("featx", "torch"))
    starts = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(folder / "tail.onnx").graph.initializer
    }
    moved = max(np.abs(ours[name] - starts[name]).max() for name in ours if name in starts)
    apart = farthest(ours, theirs)
    losses = np.abs(np.subtract(runs["featx"][0]["losses"], runs["torch"][0]["losses"])).max()
    enough = rows.at_most(apart, MOST_APART) if steps >= COMPARED_STEPS else {}
    return rows.row(
        f"parameters apart from torch's after {steps} steps",
        float(f"{apart:.2g}"),
        unit="at most",
        threads=threads,
        note=f"they moved by up to {moved:.2g}; losses differ by {losses:.1g} at most; {len(ours)}"
        " tensors",
        **enough,
    )


def farthest(ours: Arrays, theirs: Arrays) -> float:
    """Return the largest distance of ours to the nearest of theirs of its shape, or transposed."""
    others = [other for array in theirs.values() for other in (array, array.T)]
    return max(
        min(float(np.abs(array - o).max()) for o in others if o.shape == array.shape)
        for array in ours.values()
    )


def epochs(plan: Plan, threads: int) -> Found:
    """Return the row of an epoch with kept values beside one with full forward passes."""
    make(Problem(plan.texts, max(plan.threads)))
    works = {mode: epoch(plan.texts, mode, threads) for mode in ("cached", "full")}
    runs = in_turns(works, plan.rounds)
    cpu = [median(runs[mode], "encode_cpu_s") for mode in works]
    ratio = by_round(runs, "cached", "full")
    return rows.row(
        f"epoch of {plan.texts:,} texts, one block, {threads} thread{'s' if threads > 1 else ''}",
        round(median(runs["cached"]), 2),
        unit="s",
        peer="full forward passes",
        peer_value=round(median(runs["full"]), 2),
        ratio=round(ratio, 3),
        threads=threads,
        note=f"values at the cut in float16; {runs['full'][0]['steps']} steps, the same batches;"
        f" tokens at hand; CPU s {cpu[0]:.1f} and {cpu[1]:.1f}",
        **rows.at_most(ratio, rows.targets("finetune")["epoch_vs_full_forward_max"]),
    )


def kept_once(plan: Plan) -> Found:
    """Return the row of how long it takes to compute and keep all values at the cut."""
    shutil.rmtree(CACHE, ignore_errors=True)
    command = [python("featx"), str(WORKERS / "finetune_epoch.py"), str(plan.texts), "keep"]
    threads = max(plan.threads)
    found = drive.run([*command, "--threads", str(threads)], threads=threads)
    return rows.row(
        f"computing and keeping the values of {plan.texts:,} texts at the cut, once",
        round(found["encode_s"], 2),
        unit="s",
        threads=threads,
        note=f"{found['size_bytes'] / 1e6:.0f} MB; CPU s {found['encode_cpu_s']:.1f}",
    )


def stepped(
    script: str,
    environment: str,
    folder: Path,
    steps: int,
    threads: int,
    setting: dict[str, Any] | None = None,
) -> Callable[[], Found]:
    """Return a run of one side, which also returns its parameters."""
    RUNS.mkdir(parents=True, exist_ok=True)
    out = RUNS / f"finetune-{environment}.npz"
    command = [python(environment), str(WORKERS / script), str(folder), str(out)]
    if setting is not None:
        command += [str(MODELS / "minilm"), "--setting", json.dumps(setting)]
    command += ["--threads", str(threads), "--steps", str(steps)]

    def work() -> Found:
        found = drive.run(command, threads=threads)
        with np.load(out) as file:
            return {**found, "parameters": {name: file[name] for name in file}}

    return work


def epoch(texts: int, mode: str, threads: int) -> Callable[[], Found]:
    command = [python("featx"), str(WORKERS / "finetune_epoch.py"), str(texts), mode]
    return lambda: drive.run([*command, "--threads", str(threads)], threads=threads)


def best(folder: Path, threads: int) -> tuple[dict[str, Any], str]:
    """Return torch's fastest setting, and steps a second of all that were tried."""
    command = [python(TORCH), str(WORKERS / "finetune_torch.py"), str(folder), str(RUNS / "x.npz")]
    command += [str(MODELS / "minilm"), "--threads", str(threads), "--sweep", json.dumps(SETTINGS)]
    rates = drive.run(command, threads=threads)["rates"]
    tried = ", ".join(
        f"{described(setting)} {rate:.1f}/s" for setting, rate in zip(SETTINGS, rates, strict=True)
    )
    return SETTINGS[int(np.argmax(rates))], tried


def described(setting: dict[str, Any]) -> str:
    adamw = "".join(f" {name}" for name in setting["adamw"]) or " plain"
    return f"{setting['attention']},{adamw} AdamW"


def by_round(runs: Runs, ours: str, other: str) -> float:
    """Return the median over the rounds of our time over the other's."""
    pairs = zip(runs[ours], runs[other], strict=True)
    return float(statistics.median(a["encode_s"] / b["encode_s"] for a, b in pairs))
