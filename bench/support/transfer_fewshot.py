"""Few labels: a head on frozen embeddings beside SetFit, which tunes the same backbone.

All get the same texts, weights and threads; the other texts of a problem judge.  One seed gives
one draw of each size, and differences are paired by it.  Our heads are of the last layer alone, and
of two layers side by side.
"""

import statistics
import sys
from collections.abc import Sequence
from math import sqrt
from typing import Any

from scipy.stats import t as student

from bench import peers
from bench.support import drive, fewshot_problems, rows, tools
from bench.support.fewshot_problems import PROBLEMS, SIZES, Problem
from bench.support.packages import Unavailable
from bench.support.places import MODELS, WORKERS, python

PEER, ENVIRONMENT = "SetFit 1.2.0", "setfit"
MODELS_TRIED = {tools.TEXT: "few labels", tools.LAYERS: "few labels, two layers"}
"""Backbone → what its rows are called."""
THREADS, TESTS = 2, 500
QUICK_SIZES, QUICK_TESTS = (1, 4), 100
COMMAND = "python -m bench.transfer --only fewshot"

Run = dict[str, Any]
Pairs = list[tuple[Run, Run]]
"""Ours and the peer's run of one draw each."""


def measure(*, seeds: int, is_quick: bool) -> list[dict[str, Any]]:
    """Return rows: accuracy and seconds of both, for each problem, for each size, and over all."""
    problems = PROBLEMS[:1] if is_quick else PROBLEMS
    sizes, tests = (QUICK_SIZES, QUICK_TESTS) if is_quick else (SIZES, TESTS)
    peers.make(ENVIRONMENT)
    try:
        found = {each.key: _run(each, sizes, seeds, tests) for each in problems}
    except Unavailable as error:
        return [rows.not_run("few labels beside SetFit", f"{COMMAND} ({error})")]
    return [
        row
        for model, label in MODELS_TRIED.items()
        for row in _rows(label, {key: pairs[model] for key, pairs in found.items()}, sizes)
    ]


def _run(problem: Problem, sizes: Sequence[int], seeds: int, tests: int) -> dict[str, Pairs]:
    """Return pairs for each backbone of ours."""
    path = fewshot_problems.write(problem, tuple(sizes), seeds, tests)
    ours = str(WORKERS / "fewshot_featx.py")
    theirs = str(WORKERS / "fewshot_setfit.py")
    works = {
        **{name: [python("featx"), ours, str(path), name] for name in MODELS_TRIED},
        PEER: [python(ENVIRONMENT), theirs, str(path), str(MODELS / "minilm")],
    }
    runs = {}
    for name, command in works.items():
        found = drive.run([*command, "--threads", str(THREADS)], threads=THREADS)
        runs[name] = found["runs"]
        print(f"  {problem.name}: {name}: {found['whole_s']:.0f} s", file=sys.stderr, flush=True)
    peer = runs.pop(PEER)
    return {name: list(zip(own, peer, strict=True)) for name, own in runs.items()}


def _rows(label: str, found: dict[str, Pairs], sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return the rows of one backbone."""
    everything = [pair for pairs in found.values() for pair in pairs]
    of_problems = [
        _of_size(f"{label}, {each.name}, {_labels(size)}", _of(found[each.key], size))
        for each in PROBLEMS
        if each.key in found
        for size in sizes
    ]
    return [*_over_all(label, everything, sizes), *of_problems]


def _of(pairs: Pairs, size: int) -> Pairs:
    return [pair for pair in pairs if pair[0]["size"] == size]


def _labels(size: int) -> str:
    return f"{size} label{'s' if size > 1 else ''} a class"


def _over_all(label: str, pairs: Pairs, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Return rows over all problems: of each size, of all, and of seconds."""
    held = rows.targets("few_labels")
    of_sizes = [
        _of_size(f"{label}, all problems, {_labels(size)}", _of(pairs, size)) for size in sizes
    ]
    least = min(statistics.fmean(_points(_of(pairs, size))) for size in sizes)
    mean = statistics.fmean(_points(pairs))
    ours, theirs = (sum(pair[side]["train_s"] for pair in pairs) for side in (0, 1))
    head_s = sum(pair[0]["head_s"] for pair in pairs)
    return [
        *of_sizes,
        rows.row(
            f"{label}: points above SetFit at the size where it is least",
            round(least, 2),
            unit="points",
            **rows.at_least(least, -held["points_below_setfit_max"]),
        ),
        rows.row(
            f"{label}: points above SetFit, mean of all sizes",
            round(mean, 2),
            unit="points",
            note=f"{_interval(_points(pairs))}; {len(pairs)} draws",
            **rows.at_least(mean, 0.0),
        ),
        rows.row(
            f"{label}: seconds of training, embedding included, sum of all draws",
            round(ours, 2),
            unit="s",
            peer=PEER,
            peer_value=round(theirs, 1),
            ratio=round(theirs / ours, 1),
            threads=THREADS,
            note=f"the embedding left out {head_s:.2f} s; ratio at each size: "
            + ", ".join(f"{size}: {_ratio(_of(pairs, size)):.0f}" for size in sizes),
            **rows.at_least(theirs / ours, held["vs_setfit_speed_min"]),
        ),
    ]


def _of_size(name: str, pairs: Pairs) -> dict[str, Any]:
    """Return the row of the accuracy of both sides at one size."""
    ours, theirs = (statistics.mean(pair[side]["accuracy"] for pair in pairs) for side in (0, 1))
    heads = sorted(pair[0]["head"] for pair in pairs)
    seconds = [statistics.median(pair[side]["train_s"] for pair in pairs) for side in (0, 1)]
    return rows.row(
        f"{name}: accuracy",
        round(ours, 4),
        peer=PEER,
        peer_value=round(theirs, 4),
        threads=THREADS,
        note=(
            f"paired difference {_interval(_points(pairs))}; {len(pairs)} draws;"
            f" {', '.join(f'{kind} {heads.count(kind)}' for kind in dict.fromkeys(heads))};"
            f" median seconds {seconds[0]:.2f} and {seconds[1]:.1f}"
        ),
    )


def _points(pairs: Pairs) -> list[float]:
    return [100 * (ours["accuracy"] - theirs["accuracy"]) for ours, theirs in pairs]


def _ratio(pairs: Pairs) -> float:
    return sum(pair[1]["train_s"] for pair in pairs) / sum(pair[0]["train_s"] for pair in pairs)


def _interval(points: list[float]) -> str:
    """Return the mean difference with its 95 % interval (Student's t)."""
    n = len(points)
    half = student.ppf(0.975, n - 1) * statistics.stdev(points) / sqrt(n) if n > 1 else float("nan")
    return f"{statistics.fmean(points):+.2f} ± {half:.2f} points (95 %)"
