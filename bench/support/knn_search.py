"""100,000 vectors: featx beside scikit-learn, hnswlib and usearch, at recall@10 of .99 or more."""

from bench.support import rows
from bench.support.knn_plan import Plan
from bench.support.knn_problems import SOURCES, Problem
from bench.support.knn_runs import BUILD_THREADS, Found, Tool, compared, middle
from bench.support.rounds import in_turns

OURS = Tool("featx", "featx", {"kind": "auto"}, is_kept=True)
SCIKIT = Tool("scikit-learn brute, euclidean", "scikit-learn", {"metric": "euclidean"})
SCIKIT_COSINE = Tool("scikit-learn brute, cosine", "scikit-learn", {"metric": "cosine"})
GRAPHS = {
    "hnswlib 0.8.0": [(16, 200), (32, 200)],
    "usearch 2.26.6": [(16, 128), (32, 128)],
}
"""Peer → (links a node, effort of construction): its default, and twice the links."""


def measure(plan: Plan) -> list[Found]:
    found = []
    for source in SOURCES.values():
        found += of_problem(source(plan.rows), plan)
    return found


def of_problem(problem: Problem, plan: Plan) -> list[Found]:
    target = rows.targets("knn")
    built = OURS.build(problem)
    best = [best_graph(name, problem) for name in GRAPHS]
    found = [build_row(problem, built), *(graph_build_row(problem, *each) for each in best)]
    tools = [OURS, SCIKIT, SCIKIT_COSINE]
    for threads in plan.threads:
        works = {tool.name: tool.turn(problem, threads, *options(tool)) for tool in tools}
        works |= {
            tool.name: tool.turn(problem, threads, "--effort", str(built["effort"]))
            for tool, built in best
        }
        runs = in_turns(works, plan.rounds)
        ours = runs.pop(OURS.name)
        brute = {name: runs[name] for name in (SCIKIT.name, SCIKIT_COSINE.name)}
        graphs = {name: run for name, run in runs.items() if name not in brute}
        found.append(recall_row(problem, ours))
        for peers, batch, single in (
            (brute, target["batch_qps_min"], target["single_query_p50_min"]),
            (graphs, target["graph_qps_min"], target["graph_qps_min"]),
        ):
            found += compared(problem.name, ours, peers, batch, what="batches of 1,000")
            found += compared(problem.name, ours, peers, single, what="single queries")
    return found


def options(tool: Tool) -> tuple[str, ...]:
    """Return what a run is told: of brute force, fifty queries one by one are enough."""
    return () if tool is OURS else ("--singles", "50")


def best_graph(name: str, problem: Problem) -> tuple[Tool, Found]:
    """Return a peer at the setting, of those tried, that answers most at the asked recall."""
    key = name.split(maxsplit=1)[0]
    tools = [
        Tool(f"{name}, {M} links", key, {"M": M, "construction": effort}, "neighbours", True)
        for M, effort in GRAPHS[name]
    ]
    tried = [(tool, tool.built(problem)) for tool in tools]
    reached = [each for each in tried if each[1]["recall"] >= rows.targets("knn")["recall_min"]]
    return max(reached or tried, key=lambda each: each[1]["qps"]["1000"])


def build_row(problem: Problem, built: Found) -> Found:
    return rows.row(
        f"{problem.name}, build and tune",
        round(built["build_s"], 2),
        unit="s",
        threads=BUILD_THREADS,
        note=f"{built['kind']}; CPU s {built['build_cpu_s']:.1f}",
        **rows.at_most(built["build_s"], rows.targets("knn")["build_s_max"]),
    )


def graph_build_row(problem: Problem, tool: Tool, built: Found) -> Found:
    return rows.row(
        f"{problem.name}, build of {tool.name}",
        round(built["build_s"], 2),
        unit="s",
        threads=BUILD_THREADS,
        note=f"CPU s {built['build_cpu_s']:.1f}, built once and kept; effort {built['effort']} "
        "for the recall",
    )


def recall_row(problem: Problem, ours: list[Found]) -> Found:
    value = middle(ours, "recall")
    return rows.row(
        f"{problem.name}, recall@10 of featx",
        round(value, 4),
        threads=ours[0]["threads"],
        note="1,000 queries that are not in the gallery; tuned on rows of the gallery",
        **rows.at_least(value, rows.targets("knn")["recall_min"]),
    )
