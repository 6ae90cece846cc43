"""The ridge path: ten penalties judged by exact leave-one-out, and the best one's model."""

from typing import Any

import numpy as np

from bench.support import rows
from bench.support.heads_plan import Plan
from bench.support.heads_problems import Problem, drawn, real
from bench.support.heads_runs import Found, Tool, accurate, over_bound, timed
from bench.support.rounds import in_turns

ALPHAS = np.logspace(-3, 3, 10).tolist()
OURS = Tool("RidgeProbe", "ridge-path", {"alphas": ALPHAS}, ("--bound",))
PEER = Tool("RidgeClassifierCV", "ridge-cv", {"alphas": ALPHAS})


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of all problems."""
    found = []
    for problem in [*real(plan), *map(drawn, plan.ridges)]:
        if problem.is_made():
            found += of_problem(problem, plan)
        else:
            found.append(rows.not_run(f"ridge path, {problem.name}", problem.command))
    return found


def of_problem(problem: Problem, plan: Plan) -> list[Found]:
    target, name, found = rows.targets("heads"), f"ridge path, {problem.name}", []
    for threads in plan.threads:
        works = {tool.name: tool.turn(problem, threads) for tool in (OURS, PEER)}
        runs = in_turns(works, plan.rounds)
        found += [
            timed(runs, name, OURS, PEER, target["ridge_vs_ridgeclassifiercv_min"]),
            over_bound(runs, f"{name}: over its matrix products", OURS),
        ]
    ours, theirs = runs[OURS.name][0], runs[PEER.name][0]
    # The peer chooses by squared error, ours by accuracy first.
    alphas = f"alpha {ours['alpha']:.3g}, peer {theirs['alpha']:.3g}"
    exact = OURS.told("--leave-one-out").fit(problem, max(plan.threads))["loo_difference"]
    return [
        *found,
        accurate(f"{name}: test accuracy", ours, theirs, PEER.name) | {"note": alphas},
        rows.row(
            f"{name}: held-out logits against refits without the row",
            float(f"{exact:.1e}"),
            unit="largest difference",
            threads=ours["threads"],
            note="of 25 rows; refits in float64, rows in float32; targets are 1 and -1",
            **rows.at_most(exact, target["loo_vs_refits_max"]),
        ),
    ]
