"""Fit a kNN classifier and label queries with it, in a process of its own.

``knn_classify.py FOLDER TOOL``; the folder is one of `bench.support.knn_problems`.  All tools take
20 neighbours and their plain majority by cosine, and answer the same batch of queries.
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import clock
import numpy as np

K, REPEATS = 20, 3


def featx(X: np.ndarray, y: np.ndarray, kind: str = "exact") -> Any:  # noqa: ANN401
    from featx import KNNClassifier

    return KNNClassifier(k=K, weights="uniform", index=kind).fit(X, y)


def faissknn(X: np.ndarray, y: np.ndarray) -> Any:  # noqa: ANN401
    from faissknn import FaissKNNClassifier

    return FaissKNNClassifier(n_neighbors=K, metric="cosine").fit(X, y)


def scikit_learn(X: np.ndarray, y: np.ndarray) -> Any:  # noqa: ANN401
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=K, metric="cosine", algorithm="brute").fit(X, y)


TOOLS: dict[str, Callable[[np.ndarray, np.ndarray], Any]] = {
    "featx-exact": featx,
    "featx-auto": lambda X, y: featx(X, y, "auto"),
    "faissknn": faissknn,
    "scikit-learn": scikit_learn,
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("tool", choices=TOOLS)
    args = parser.parse_args()

    X, y = np.load(args.folder / "X.npy"), np.load(args.folder / "y.npy")
    Q, truth = np.load(args.folder / "Q.npy"), np.load(args.folder / "y_test.npy")
    started_s = time.perf_counter()
    made = TOOLS[args.tool](X, y)
    fit_s, taken = time.perf_counter() - started_s, []
    for _ in range(REPEATS):
        started_s = time.perf_counter()
        labels = made.predict(Q)
        taken.append(time.perf_counter() - started_s)
    middle_s = float(np.median(taken))
    clock.say(
        {
            "fit_s": fit_s,
            "encode_s": middle_s,
            "per_s": len(Q) / middle_s,
            "accuracy": float((labels == truth).mean()),
            "threads": int(os.environ["OMP_NUM_THREADS"]),
        }
    )


if __name__ == "__main__":
    main()
