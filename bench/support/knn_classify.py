"""Labels of a batch: KNNClassifier beside faissknn and scikit-learn, the same vote."""

from collections.abc import Callable

from bench.support import drive, rows
from bench.support.knn_plan import Plan
from bench.support.knn_problems import Problem, real
from bench.support.knn_runs import Found, middle
from bench.support.places import WORKERS, python
from bench.support.rounds import in_turns

OURS = {"KNNClassifier exact": "featx-exact", "KNNClassifier auto": "featx-auto"}
PEERS = {"faissknn 0.4.2": ("faissknn", "faissknn"), "scikit-learn": ("scikit-learn", "featx")}


def measure(plan: Plan) -> list[Found]:
    problem, found = real(plan.rows), []
    for threads in plan.threads:
        works = {name: turn(problem, key, "featx", threads) for name, key in OURS.items()}
        works |= {name: turn(problem, *tool, threads) for name, tool in PEERS.items()}
        runs = in_turns(works, plan.rounds)
        found += [row(problem, runs, ours, peer) for ours in OURS for peer in PEERS]
    return found


def turn(problem: Problem, key: str, environment: str, threads: int) -> Callable[[], Found]:
    command = [python(environment), str(WORKERS / "knn_classify.py"), str(problem.folder()), key]
    return lambda: drive.run(command, threads=threads)


def row(problem: Problem, runs: dict[str, list[Found]], ours: str, peer: str) -> Found:
    mine, theirs = (middle(runs[name], "per_s") for name in (ours, peer))
    accuracy = [runs[name][0]["accuracy"] for name in (ours, peer)]
    fits = [middle(runs[name], "fit_s") for name in (ours, peer)]
    return rows.row(
        f"{problem.name}, {ours}, 1,000 labels",
        round(mine),
        unit="labels/s",
        peer=peer,
        peer_value=round(theirs),
        ratio=round(mine / theirs, 2),
        threads=runs[ours][0]["threads"],
        note=f"accuracy {accuracy[0]:.3f}, peer {accuracy[1]:.3f}; fit {fits[0]:.2f} s, "
        f"peer {fits[1]:.2f} s",
    )
