"""What is measured of a fitted head, of whichever library."""

import re
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from threadpoolctl import threadpool_info

BLOCK = 4096
EVERY_S = 0.01
PRODUCT_S = 0.4  # how long each bare product is repeated
MIB = 1024  # KiB


def objective(made: BaseEstimator, X: NDArray[np.float32], y: NDArray[np.int64], C: float) -> float:
    """Return mean log loss + ``|W|^2 / (2 C n)``, in float64: what both sides minimise."""
    coef, intercept = made.coef_.astype(np.float64), made.intercept_.astype(np.float64)
    total = 0.0
    for start in range(0, len(X), BLOCK):
        logits = X[start : start + BLOCK].astype(np.float64) @ coef.T + intercept
        own = logits[np.arange(len(logits)), y[start : start + BLOCK]]
        highest = logits.max(axis=1)
        sums = np.exp(logits - highest[:, None]).sum(axis=1)
        total += float((np.log(sums) + highest - own).sum())
    return total / len(X) + float(np.square(coef).sum()) / (2 * C * len(X))


def described_path(Cs: NDArray[Any], scores: NDArray[Any]) -> list[dict[str, float]]:
    """Return mean and standard error over the folds of scores (folds, Cs), for each C."""
    scores = scores.reshape(len(scores), -1)
    errors = scores.std(axis=0, ddof=1) / np.sqrt(len(scores))
    return [
        {"C": float(C), "mean": float(mean), "standard_error": float(error)}
        for C, mean, error in zip(Cs, scores.mean(axis=0), errors, strict=True)
    ]


def blas() -> dict[str, Any]:
    """Return the number of BLAS threads and the kernels in use."""
    found = [each for each in threadpool_info() if each["user_api"] == "blas"]
    return {
        "threads": max(each["num_threads"] for each in found),
        "kernel": found[0].get("architecture", "unknown"),
    }


def bound_s(
    made: BaseEstimator, X: NDArray[np.float32], classes: int, setting: dict[str, Any]
) -> float:
    """Return the seconds of the matrix products alone, in float32 and at the sizes of the fit.

    A path of logistic regressions: as many multiplications as its passes had, at the speed of one
    pass for all folds.  Ridge: the Gram matrix, the rotated rows, and the predictions for every
    penalty at once.
    """
    n, dim = X.shape
    if hasattr(made, "n_products_"):
        models = 1 if made.cv is None else len(made.cv)
        columns = models * classes
        pass_s = product_s(n, dim, columns) + product_s(dim, n, columns)
        return float(made.n_products_ / (2 * n * dim * columns) * pass_s)
    columns = classes * len(setting["alphas"])
    return product_s(dim, n, dim) + product_s(n, dim, dim) + product_s(n, dim, columns)


def product_s(rows: int, inner: int, columns: int) -> float:
    """Return the median seconds of a product (rows, inner) @ (inner, columns)."""
    rng, times = np.random.default_rng(0), []
    A = rng.standard_normal((rows, inner), dtype=np.float32)
    B = rng.standard_normal((inner, columns), dtype=np.float32)
    out = np.empty((rows, columns), dtype=np.float32)
    until_s = time.perf_counter() + PRODUCT_S
    while len(times) < 3 or time.perf_counter() < until_s:
        started_s = time.perf_counter()
        np.matmul(A, B, out=out)
        times.append(time.perf_counter() - started_s)
    return float(np.median(times))


def leave_one_out_difference(
    made: BaseEstimator, X: NDArray[np.float32], y: NDArray[np.int64], chosen: NDArray[np.int64]
) -> float:
    """Return the largest difference of held-out logits to those of refits without each row."""
    rows = np.column_stack([X.astype(np.float64), np.ones(len(X))])
    targets = np.where(y[:, None] == made.classes_, 1.0, -1.0)
    penalty = np.diag(np.append(np.full(X.shape[1], float(made.alpha_)), 0.0))
    largest = 0.0
    for row in chosen:
        A, B = np.delete(rows, row, axis=0), np.delete(targets, row, axis=0)
        refitted = rows[row] @ np.linalg.solve(A.T @ A + penalty, A.T @ B)
        largest = max(largest, float(np.abs(refitted - made.held_out_logits_[row]).max()))
    return largest


class PeakMemory:
    """Watches the anonymous memory of this process, which a memory map is no part of."""

    def __init__(self) -> None:
        self.peak_mib = self.before_mib = anonymous_mib()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_S):
            self.peak_mib = max(self.peak_mib, anonymous_mib())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()


def anonymous_mib() -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / MIB if found else 0.0
