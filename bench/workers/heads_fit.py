"""Fit one head to a problem's arrays, in a fresh process, and print what it took and found.

``heads_fit.py FOLDER TOOL``; the folder is one of `bench.support.heads_problems`.  Both sides get
the same float32 rows, folds and penalties, and as many BLAS threads as OMP_NUM_THREADS says.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import clock
import heads_measures as measures
import joblib
import numpy as np
from joblib.externals.loky import get_reusable_executor
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV
from threadpoolctl import threadpool_limits

from featx import LinearProbe, RidgeProbe

SAME_AS_BEFORE = {"l1_ratios": (0,), "use_legacy_attributes": False}
"""What keeps LogisticRegressionCV from warning that its defaults will change."""

REFERENCE = {"tol": 1e-8, "max_iter": 10_000}
LEFT_OUT = 25
Setting = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arrays:
    """A problem; `X` is a memory map if it was asked for."""

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]
    folds: NDArray[np.int64]

    @classmethod
    def read(cls, folder: Path, *, mapped: bool) -> "Arrays":
        mode = "r" if mapped else None
        names = ("y", "X_test", "y_test", "folds")
        return cls(
            np.load(folder / "X.npy", mmap_mode=mode),
            *(np.load(folder / f"{n}.npy") for n in names),
        )

    @property
    def splits(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        numbers = range(self.folds.max() + 1)
        return [(np.flatnonzero(self.folds != k), np.flatnonzero(self.folds == k)) for k in numbers]


def probe_path(problem: Arrays, setting: Setting) -> BaseEstimator:
    return LinearProbe(cv=problem.splits, **setting)


def logistic_path(problem: Arrays, setting: Setting) -> BaseEstimator:
    return LogisticRegressionCV(cv=problem.splits, **SAME_AS_BEFORE, **setting)


def probe_single(_: Arrays, setting: Setting) -> BaseEstimator:
    return LinearProbe(cv=None, **setting)


def logistic_single(_: Arrays, setting: Setting) -> BaseEstimator:
    return LogisticRegression(**setting)


def reference(problem: Arrays, setting: Setting) -> BaseEstimator:
    """Return a fit in float64 to a tight tolerance, begun at weights that are near it."""
    made = LogisticRegression(C=setting["C"], warm_start=True, **REFERENCE)
    with np.load(setting["start"]) as near:
        made.coef_, made.intercept_ = near["coef"].astype(float), near["intercept"].astype(float)
    made.classes_ = np.unique(problem.y)
    return made


def ridge_path(_: Arrays, setting: Setting) -> BaseEstimator:
    return RidgeProbe(**setting)


def ridge_cv(_: Arrays, setting: Setting) -> BaseEstimator:
    return RidgeClassifierCV(**setting)


TOOLS: dict[str, Callable[[Arrays, Setting], BaseEstimator]] = {
    "probe-path": probe_path,
    "probe-single": probe_single,
    "logistic-path": logistic_path,
    "logistic-single": logistic_single,
    "reference": reference,
    "ridge-path": ridge_path,
    "ridge-cv": ridge_cv,
}


def fit(made: BaseEstimator, problem: Arrays, backend: str) -> dict[str, float]:
    """Fit and return seconds; a peer's processes are ended within the time of their work."""
    X = problem.X.astype(np.float64) if getattr(made, "warm_start", False) else problem.X
    started_s, cpu_before_s = time.perf_counter(), clock.cpu_s()
    # joblib gives a process one BLAS thread, but leaves threads as they are.
    shared = threadpool_limits(1 if backend == "threading" else None, user_api="blas")
    with joblib.parallel_config(backend), shared:
        made.fit(X, problem.y)
    fit_s = time.perf_counter() - started_s
    if backend == "loky" and (getattr(made, "n_jobs", None) or 1) > 1:
        get_reusable_executor().shutdown(wait=True)  # only then is their CPU time known
    return {"fit_s": fit_s, "fit_cpu_s": clock.cpu_s() - cpu_before_s}


def warm_up() -> None:
    """Have both libraries load what they load at their first fit."""
    X = np.random.default_rng(0).standard_normal((64, 4), dtype=np.float32)
    y = (X[:, 0] > 0).astype(np.int64)
    for made in (LinearProbe(C=1.0), RidgeProbe(), LogisticRegression(), RidgeClassifierCV()):
        made.fit(X, y)


def describe(made: BaseEstimator, problem: Arrays) -> dict[str, Any]:
    """Return what was found, measured by the same functions for every tool."""
    found: dict[str, Any] = {
        "test_accuracy": float(np.mean(made.predict(problem.X_test) == problem.y_test))
    }
    C = getattr(made, "C_", getattr(made, "C", None))
    if C is not None:
        found["C"] = float(C)
        found["objective"] = measures.objective(made, problem.X, problem.y, float(C))
    if hasattr(made, "alpha_"):
        found["alpha"] = float(made.alpha_)
    if isinstance(made, LogisticRegressionCV):
        found["path"] = measures.described_path(made.Cs_, made.scores_)
        found["iterations"] = [int(made.n_iter_.min()), int(made.n_iter_.max())]
    if isinstance(made, LinearProbe):
        found["iterations"] = made.n_iter_
        found["path"] = made.path_
        found["products"] = made.n_products_
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--setting", type=json.loads, default={})
    parser.add_argument("--backend", choices=["loky", "threading"], default="loky")
    parser.add_argument("--weights", type=Path, help="save coef and intercept here")
    parser.add_argument("--mapped", action="store_true", help="X stays in its file")
    parser.add_argument("--bound", action="store_true", help="time bare matrix products too")
    parser.add_argument("--leave-one-out", action="store_true", help="compare with refits")
    args = parser.parse_args()

    # Where a peer stops early, its objective says so.
    warnings.simplefilter("ignore", ConvergenceWarning)
    problem = Arrays.read(args.folder, mapped=args.mapped)
    made = TOOLS[args.tool](problem, args.setting)
    warm_up()
    with measures.PeakMemory() as memory:
        found = fit(made, problem, args.backend)
    found |= {"peak_mib": memory.peak_mib, "before_mib": memory.before_mib}
    found |= describe(made, problem) | measures.blas()
    if args.bound:
        found["bound_s"] = measures.bound_s(made, problem.X, len(made.classes_), args.setting)
    if args.leave_one_out:
        chosen = np.random.default_rng(0).permutation(len(problem.X))[:LEFT_OUT]
        found["loo_difference"] = measures.leave_one_out_difference(
            made, problem.X, problem.y, chosen
        )
    if args.weights:
        np.savez(args.weights, coef=made.coef_, intercept=made.intercept_)
    clock.say(found)


if __name__ == "__main__":
    main()
