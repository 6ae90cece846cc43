"""What ``featx train`` promises of a head, beside what rows that it never saw get.

A head is trained on a few hundred random rows with everything chosen by itself, and scored on all
other rows; many draws tell how much the choice of the kind and of the penalty flatters.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import rows
from bench.support.heads_plan import Plan
from bench.support.heads_problems import Problem, real
from bench.support.memoryset import MemorySet
from featx.evaluate.evaluate import evaluate_head
from featx.train.recipe import Recipe
from featx.train.train import train

SEED = 20261123
SIZES = (50, 100, 400)


@dataclass(frozen=True, slots=True)
class Draw:
    promised: dict[str, Any]
    found: dict[str, Any]

    @property
    def is_inside(self) -> bool:
        low, high = self.promised["interval"]
        return bool(low <= self.found["accuracy"] <= high)


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return rows for each real problem and number of training rows."""
    found = []
    for problem in real(plan):
        if problem.is_made():
            found += [of_size(problem, size, plan.splits) for size in SIZES]
        else:
            found.append(rows.not_run(f"promises, {problem.name}", problem.command))
    return found


def of_size(problem: Problem, size: int, draws: int) -> dict[str, Any]:
    read = problem.read()
    X, y = np.concatenate([read.X, read.X_test]), np.concatenate([read.y, read.y_test])
    names = np.array([f"class {code}" for code in y], dtype=object)
    made = [one(X, names, size, seed) for seed in range(draws)]
    gaps = [draw.promised["accuracy"] - draw.found["accuracy"] for draw in made]
    inside = np.mean([draw.is_inside for draw in made])
    kinds = sorted(draw.promised["chosen"]["head"] for draw in made)
    error = np.std(gaps, ddof=1) / np.sqrt(len(gaps))
    name = problem.name.partition(",")[0]
    return rows.row(
        f"accuracy promised less found, {name}, {size} rows",
        round(float(np.mean(gaps)), 4),
        note=(
            f"mean of {draws} draws, standard error {error:.4f}; {inside:.0%} of the 95 % intervals"
            f" hold what was found; sets of 90 % cover {mean(made, 'found', 'set_coverage'):.3f}"
            f" (promised {mean(made, 'promised', 'set_coverage'):.3f}); calibration error"
            f" {mean(made, 'found', 'calibration_error'):.3f}"
            f" (promised {mean(made, 'promised', 'calibration_error'):.3f}); chosen:"
            f" {', '.join(f'{kind} {kinds.count(kind)}' for kind in dict.fromkeys(kinds))}"
        ),
    )


def mean(made: list[Draw], side: str, name: str) -> float:
    return float(np.mean([getattr(draw, side)[name] for draw in made]))


def one(X: NDArray[np.float32], y: NDArray[np.object_], size: int, seed: int) -> Draw:
    order = np.random.default_rng([SEED, size, seed]).permutation(len(X))
    known, fresh = order[:size], order[size:]
    head = train(MemorySet(X[known], y[known]), Recipe(seed=seed))
    return Draw(head.header["metrics"], evaluate_head(head, MemorySet(X[fresh], y[fresh])))
