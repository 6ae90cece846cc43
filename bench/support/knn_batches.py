"""Small batches, as a server collects them: exact search beside faiss's IndexFlatIP as it comes."""

import json

from bench.support import rows
from bench.support.knn_plan import Plan
from bench.support.knn_problems import real
from bench.support.knn_runs import Found, Tool, qps
from bench.support.rounds import in_turns

OURS = Tool("featx exact", "featx", {"kind": "exact"})
PEER = Tool("faiss IndexFlatIP", "stock-faiss")


def measure(plan: Plan) -> list[Found]:
    problem, least = real(plan.rows), rows.targets("knn")["micro_batch_min"]
    asked = ("--batches", json.dumps(list(plan.batches)), "--singles", "50")
    found = []
    for threads in plan.threads:
        works = {tool.name: tool.turn(problem, threads, *asked) for tool in (OURS, PEER)}
        runs = in_turns(works, plan.rounds)
        for size in plan.batches:
            mine, theirs = qps(runs[OURS.name], size), qps(runs[PEER.name], size)
            found.append(
                rows.row(
                    f"{problem.name}, exact, batches of {size}",
                    round(mine),
                    unit="queries/s",
                    peer=PEER.name,
                    peer_value=round(theirs),
                    ratio=round(mine / theirs, 2),
                    threads=threads,
                    **rows.at_least(mine / theirs, least),
                )
            )
    return found
