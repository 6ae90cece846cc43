"""Conformal sets: whether they hold the true class as often as they say, over random splits.

Quantiles come from the logits that each training row got while it was left out, as ``featx train``
takes them; and, strictly, from rows that serve nothing else.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import rows
from bench.support.embeddings import Labelled
from bench.support.heads_plan import Plan, Size
from bench.support.heads_problems import Problem, drawn, real
from featx import RidgeProbe
from featx.heads.calibration import softmax
from featx.heads.conformal import Method, fit_conformal, row_jitter

SEED = 20261123
COVERAGE = 0.9
STRICT_ROWS = 500
MOST_CLASSES = 10  # with more, 500 rows are too few for a quantile of each class
METHODS: tuple[Method, ...] = ("lac", "aps", "class")


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows with what a head that was not fitted to them makes of them."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    probabilities: NDArray[np.float64]


Draws = Iterator[tuple[Judged, Judged]]
"""Pairs of rows that the quantiles come from, and rows whose sets are counted."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one split's sets are like; a class that no row has is NaN."""

    coverage: float
    by_class: NDArray[np.float64]
    size: float
    empty: float


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of all problems with few classes."""
    found = []
    for problem in [*real(plan), *map(drawn, few_classes(plan))]:
        if problem.is_made():
            found += of_problem(problem, plan)
        else:
            found.append(rows.not_run(f"conformal sets, {problem.name}", problem.command))
    return found


def few_classes(plan: Plan) -> list[Size]:
    return [size for size in plan.paths if size.classes <= MOST_CLASSES]


def of_problem(problem: Problem, plan: Plan) -> list[dict[str, Any]]:
    read = problem.read()
    X, y = np.concatenate([read.X, read.X_test]), np.concatenate([read.y, read.y_test])
    ways: dict[str, Callable[..., Draws]] = {
        f"{plan.conformal:,} rows left out in turn": left_out,
        f"{STRICT_ROWS} rows of their own": split_off,
    }
    found = []
    for way, draws in ways.items():
        counted: dict[Method, list[Counted]] = {method: [] for method in METHODS}
        for known, fresh in draws(Labelled(X, y, X[:0], y[:0]), plan):
            for method in METHODS:
                counted[method].append(count(method, known, fresh))
        found += [to_row(m, counted[m], f"{problem.name}, {way}") for m in METHODS]
    return found


def left_out(whole: Labelled, plan: Plan) -> Draws:
    """Yield a head's own training rows by their held-out logits, and all others."""
    for number in range(plan.splits):
        order = np.random.default_rng([SEED, number]).permutation(len(whole.y))
        train, rest = order[: plan.conformal], order[plan.conformal :]
        head = RidgeProbe().fit(whole.X[train], whole.y[train])
        likely = softmax(head.held_out_logits_.astype(np.float64) / head.temperature_)
        yield Judged(whole.X[train], whole.y[train], likely), judged(head, whole, rest)


def split_off(whole: Labelled, plan: Plan) -> Draws:
    """Yield `STRICT_ROWS` rows that one head was not fitted to, and all others of that kind."""
    head = RidgeProbe().fit(whole.X[: plan.conformal], whole.y[: plan.conformal])
    rest = np.arange(plan.conformal, len(whole.y))
    for number in range(plan.splits):
        order = np.random.default_rng([SEED, number]).permutation(rest)
        parts = order[:STRICT_ROWS], order[STRICT_ROWS:]
        known, fresh = (judged(head, whole, part) for part in parts)
        yield known, fresh


def judged(head: RidgeProbe, whole: Labelled, chosen: NDArray[np.int64]) -> Judged:
    X = whole.X[chosen]
    return Judged(X, whole.y[chosen], head.predict_proba(X).astype(np.float64))


def count(method: Method, known: Judged, fresh: Judged) -> Counted:
    made = fit_conformal(
        known.probabilities,
        known.y,
        method=method,
        coverage=COVERAGE,
        jitter=row_jitter(known.X),
    )
    sets = made.sets(fresh.probabilities, row_jitter(fresh.X))
    is_held = sets[np.arange(len(fresh.y)), fresh.y]
    classes = range(sets.shape[1])
    sizes = sets.sum(axis=1)
    return Counted(
        coverage=float(is_held.mean()),
        by_class=np.array([is_held[fresh.y == code].mean() for code in classes]),
        size=float(sizes.mean()),
        empty=float((sizes == 0).mean()),
    )


def to_row(method: Method, counted: list[Counted], name: str) -> dict[str, Any]:
    """Return the row of the mean coverage: of all rows, or of the classes where each has its own.

    The worst of the classes stands in the note with its standard error over the splits: of rare
    classes a few dozen rows give the quantile, and the least of ten means is low by chance too.
    """
    target, nominal, error = rows.targets("heads"), 100 * COVERAGE, np.sqrt(len(counted))
    by_class = 100 * np.array([each.by_class for each in counted])
    worst = int(by_class.mean(axis=0).argmin())
    size, empty = (float(np.mean([getattr(c, k) for c in counted])) for k in ("size", "empty"))
    if method == "class":
        name, value = f"{name}: coverage, mean of the classes", float(by_class.mean())
        limit = rows.at_least(value, nominal - target["class_coverage_points_below_max"])
    else:
        name, value = f"{name}: coverage", 100 * float(np.mean([c.coverage for c in counted]))
        most = target["coverage_points_off_max"]
        limit = {"target": f"{nominal:g} +- {most:g}", "ok": abs(value - nominal) <= most}
    note = (
        f"ridge, mean of {len(counted)} splits; {size:.2f} classes a set, {empty:.1%} empty;"
        f" worst class {by_class[:, worst].mean():.1f} %,"
        f" standard error {by_class[:, worst].std(ddof=1) / error:.1f}"
    )
    return rows.row(
        f"conformal sets, {method}, {name}", round(value, 2), unit="%", note=note, **limit
    )
