"""One logistic regression: beside scikit-learn's, and one that is large."""

from typing import Any

import numpy as np

from bench.support import rows
from bench.support.heads_plan import Plan
from bench.support.heads_problems import drawn
from bench.support.heads_runs import Found, Optimum, Tool, accurate, as_exact, over_bound, timed
from bench.support.rounds import in_turns

C = float(np.logspace(-4, 4, 10)[5])
OURS = Tool("LinearProbe", "probe-single", {"C": C}, ("--bound",))
FOLDS = Tool("LinearProbe with held-out logits", "probe-path", {"C": C})
PEER = Tool("LogisticRegression", "logistic-single", {"C": C, "max_iter": 1000})
AS_IT_COMES = Tool("LogisticRegression as it comes", "logistic-single", {"C": C})


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of the fit beside a peer's, then those of the large one."""
    problem, most = drawn(plan.single), max(plan.threads)
    optimum = Optimum(problem, most)
    first = OURS.told(*optimum.saved).fit(problem, most)
    peer, _, tried = as_exact(PEER, first, optimum, plan.tolerances)
    least = rows.targets("heads")["single_vs_logisticregression_min"]
    name, found = f"one fit, {problem.name}", []
    for threads in plan.threads:
        tools = (OURS, FOLDS, peer, AS_IT_COMES)
        works = {tool.name: tool.turn(problem, threads) for tool in tools}
        runs = in_turns(works, plan.rounds)
        found += [
            timed(runs, f"{name}: the peer as exact as ours", OURS, peer, least),
            timed(runs, f"{name} and one a fold: the peer's one", FOLDS, peer),
            timed(runs, f"{name}: the peer as it comes", OURS, AS_IT_COMES),
            over_bound(runs, f"{name}: over its matrix products", OURS),
        ]
    found[0]["note"] += f"; C {C:.4g}; {tried}"
    ours, theirs = runs[OURS.name][0], runs[peer.name][0]
    found.append(accurate(f"{name}: test accuracy", ours, theirs, peer.name))
    return found + large(plan)


def large(plan: Plan) -> list[Found]:
    """Return time and memory of a fit whose rows stay in their file."""
    problem, threads = drawn(plan.large), max(plan.threads)
    found = OURS.told("--mapped").fit(problem, threads)
    name, rows_mib = f"one fit, {problem.name}", problem.read().X.nbytes / 2**20
    facts = f"{found['iterations']} steps, test accuracy {100 * found['test_accuracy']:.1f} %"
    grown = found["peak_mib"] - found["before_mib"]
    return [
        rows.row(
            f"{name}, from a memory map",
            round(found["fit_s"], 1),
            unit="s",
            peer="float32 matrix products alone, same run",
            peer_value=round(found["bound_s"], 1),
            ratio=round(found["fit_s"] / found["bound_s"], 2),
            threads=threads,
            note=f"CPU s {found['fit_cpu_s']:.1f}; C {C:.4g}; {facts}",
        ),
        rows.row(
            f"{name}: memory taken by it at its peak",
            round(grown, 1),
            unit="MiB",
            peer="the rows themselves, in their file",
            peer_value=round(rows_mib, 1),
            ratio=round(grown / rows_mib, 2),
            threads=threads,
        ),
    ]
