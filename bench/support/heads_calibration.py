"""Calibration: whether probabilities are true, on rows that a head was not fitted to."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import rows
from bench.support.embeddings import Labelled
from bench.support.heads_plan import Plan
from bench.support.heads_problems import Problem, drawn, real
from featx import LinearProbe, RidgeProbe
from featx.evaluate.calibrated import calibration_band
from featx.evaluate.metrics import calibration_error

SEED = 20261123
LARGE_TEST, SMALL_TEST = 3_000, 200
HEADS: dict[str, Callable[[], Any]] = {"ridge": RidgeProbe, "logreg": LinearProbe}

Probabilities = NDArray[np.float64]
Codes = NDArray[np.int64]


def measure(plan: Plan) -> list[dict[str, Any]]:
    """Return the rows of all problems."""
    found = []
    for problem in [*real(plan), *map(drawn, plan.paths)]:
        if problem.is_made():
            whole = problem.read()
            found += of_problem(problem, whole, plan.splits)
        else:
            found.append(rows.not_run(f"calibration, {problem.name}", problem.command))
    return found


def of_problem(problem: Problem, whole: Labelled, splits: int) -> list[dict[str, Any]]:
    """Return the error of each head on all test rows, and on few."""
    found = []
    for kind, make in HEADS.items():
        head = make().fit(whole.X, whole.y)
        probabilities = head.predict_proba(whole.X_test).astype(np.float64)
        name = f"{kind}, {problem.name}"
        found.append(all_rows(name, probabilities, whole.y_test))
        found.append(few_rows(name, probabilities, whole.y_test, splits))
    return found


def all_rows(name: str, probabilities: Probabilities, y: Codes) -> dict[str, Any]:
    error, band = calibration_error(probabilities, y), calibration_band(probabilities)
    most = rows.targets("heads")["ece_max"] if len(y) >= LARGE_TEST else band.high
    return rows.row(
        f"calibration error, {name}, {len(y):,} test rows",
        round(error, 4),
        unit="ECE",
        peer="perfectly calibrated, simulated",
        peer_value=round(band.mean, 4),
        note=f"15 bins of equal mass; 95 % of calibrated models are below {band.high:.4f}",
        **rows.at_most(error, round(most, 4)),
    )


def few_rows(name: str, probabilities: Probabilities, y: Codes, splits: int) -> dict[str, Any]:
    """Return the mean over random test sets of `SMALL_TEST` rows, beside the mean of the bands."""
    errors, bands = [], []
    for number in range(splits):
        chosen = np.random.default_rng([SEED, number]).permutation(len(y))[:SMALL_TEST]
        errors.append(calibration_error(probabilities[chosen], y[chosen]))
        bands.append(calibration_band(probabilities[chosen]))
    mean, high = float(np.mean(errors)), float(np.mean([band.high for band in bands]))
    inside = sum(error <= band.high for error, band in zip(errors, bands, strict=True))
    return rows.row(
        f"calibration error, {name}, {SMALL_TEST} test rows",
        round(mean, 4),
        unit="ECE",
        peer="perfectly calibrated, simulated",
        peer_value=round(float(np.mean([band.mean for band in bands])), 4),
        note=f"means over {splits} test sets, {inside} of them inside their 95 % band",
        **rows.at_most(mean, round(high, 4)),
    )
