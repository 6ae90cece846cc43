"""The C path: ten penalties on five folds, and a fit of the best to all rows.

Both sides get the same folds and penalties and judge them by log loss.  The peer is measured as it
comes, and at the loosest tolerance at which its model is as exact as ours.
"""

from typing import Any

import numpy as np

from bench.support import rows
from bench.support.heads_plan import Plan
from bench.support.heads_problems import Problem, drawn, real
from bench.support.heads_runs import (
    Found,
    Optimum,
    Tool,
    accurate,
    as_exact,
    is_slow,
    over_bound,
    timed,
)
from bench.support.rounds import Runs, in_turns

CS = np.logspace(-4, 4, 10).tolist()  # what LogisticRegressionCV takes when it is not told
OURS = Tool("LinearProbe", "probe-path", {"C": CS}, ("--bound",))
WHOLE = OURS.having("LinearProbe, every C", patience=None)
PEER = Tool(
    "LogisticRegressionCV", "logistic-path", {"Cs": CS, "scoring": "neg_log_loss", "max_iter": 1000}
)
AS_IT_COMES = Tool(
    "LogisticRegressionCV as it comes", "logistic-path", {"Cs": CS, "scoring": "accuracy"}
)


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of all problems."""
    found = []
    for problem in [*real(plan), *map(drawn, plan.paths)]:
        if problem.is_made():
            found += of_problem(problem, plan)
        else:
            found.append(rows.not_run(f"C path, {problem.name}", problem.command))
    return found


def of_problem(problem: Problem, plan: Plan) -> list[Found]:
    threads = min(plan.threads)  # the peer takes minutes, and gains little from more
    optimum = Optimum(problem, threads)
    first = OURS.told(*optimum.saved).fit(problem, threads)
    exact, slowest, tried = as_exact(PEER, first, optimum, plan.tolerances)
    found_once = {
        exact.name: slowest,
        AS_IT_COMES.name: AS_IT_COMES.fit(problem, threads),
    }
    runs = turns(problem, threads, plan.rounds, found_once, (exact, AS_IT_COMES))
    found = speeds(runs, problem, exact)
    found[0]["note"] += f"; {tried}"
    return found + agreement(runs, problem, exact, optimum)


def turns(
    problem: Problem,
    threads: int,
    rounds: int,
    found_once: dict[str, Found],
    peers: tuple[Tool, ...],
) -> Runs:
    """Return runs in turns of ours and of the peers, but for those slow enough to count once."""
    slow = {name: [found] for name, found in found_once.items() if is_slow(found)}
    quick = tuple(peer for peer in peers if peer.name not in slow)
    works = {tool.name: tool.turn(problem, threads) for tool in (OURS, WHOLE, *quick)}
    return in_turns(works, rounds) | slow


def speeds(runs: Runs, problem: Problem, peer: Tool) -> list[Found]:
    key = "logreg_10_classes_min" if problem.classes <= 10 else "logreg_100_classes_min"
    least, name = rows.targets("heads")[key], f"C path, {problem.name}"
    return [
        timed(runs, f"{name}: the peer as exact as ours", OURS, peer, least),
        timed(runs, f"{name}: every C, the peer as exact as ours", WHOLE, peer),
        timed(runs, f"{name}: the peer as it comes", OURS, AS_IT_COMES),
        over_bound(runs, f"{name}: over its matrix products", OURS),
    ]


def agreement(runs: Runs, problem: Problem, peer: Tool, optimum: Optimum) -> list[Found]:
    """Return rows about what both found, from one run each: they are deterministic."""
    ours, theirs, default = (runs[t.name][0] for t in (OURS, peer, AS_IT_COMES))
    name, excesses = f"C path, {problem.name}", [optimum.excess(f) for f in (ours, theirs)]
    return [
        objective(f"{name}: objective above the least", excesses, peer.name, ours),
        chosen(f"{name}: chosen C", ours, (theirs, default), peer.name),
        accurate(f"{name}: test accuracy", ours, theirs, peer.name),
        accurate(f"{name}: test accuracy, the peer as it comes", ours, default, AS_IT_COMES.name)
        | {"note": f"its objective is {optimum.excess(default):.1e} above the least"},
    ]


def objective(name: str, excesses: list[float], peer: str, ours: Found) -> Found:
    """Return the row of our distance to the least objective, as a share of it."""
    mine, theirs = excesses
    return rows.row(
        name,
        float(f"{mine:.1e}"),
        unit="of it",
        peer=peer,
        peer_value=float(f"{theirs:.1e}"),
        threads=ours["threads"],
    )


def chosen(name: str, ours: Found, peers: tuple[Found, Found], peer: str) -> Found:
    """Return the row of by how many standard errors our C does worse than the peer's best.

    `peers` judged the same rows held out by log loss and by accuracy; the log loss counts.
    """
    by_loss, by_hits = (standard_errors(theirs, ours["C"]) for theirs in peers)
    return rows.row(
        name,
        round(by_loss, 2),
        unit="standard errors below the best",
        peer=peer,
        peer_value=0.0,
        threads=ours["threads"],
        note=f"C {ours['C']:.4g}, peer by log loss {peers[0]['C']:.4g}, by accuracy"
        f" {peers[1]['C']:.4g}, where ours is {by_hits:.2f} standard errors below the best",
        **rows.at_most(by_loss, rows.targets("heads")["standard_errors_max"]),
    )


def standard_errors(theirs: Found, C: float) -> float:
    """Return how far the mean at `C` is below that of the chosen one, in the latter's errors."""
    path = {np.log10(step["C"]): step for step in theirs["path"]}
    best, own = (path[min(path, key=lambda x: abs(x - np.log10(c)))] for c in (theirs["C"], C))
    return float((best["mean"] - own["mean"]) / best["standard_error"])
