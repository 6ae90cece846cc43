"""Search a gallery with one tool, in a process of its own, and print how fast and how well.

``knn_search.py FOLDER TOOL --index PLACE``; the folder is one of `bench.support.knn_problems`.  An
index that takes long to build is kept at PLACE and read again by the next run.  Only the modules
of the tool are imported: peers live in environments of their own.
"""

import argparse
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import clock
import numpy as np

K = 10
WARM, REPEATS = 20, 3
Setting = dict[str, Any]


class Tool(Protocol):
    """One way to search; `build` or `read` first."""

    def __init__(self, X: np.ndarray, setting: Setting, threads: int) -> None:
        self.X, self.setting, self.threads = X, setting, threads

    def build(self) -> None: ...

    def search(self, Q: np.ndarray) -> np.ndarray:
        """Return the rows of the 10 nearest of each query."""

    def write(self, place: Path) -> None:
        """Keep the index; by default there is nothing to keep."""

    def read(self, place: Path) -> bool:
        """Return whether it was kept."""
        return False

    def efforts(self) -> list[Any]:
        """Return what can be turned to find more, from the least."""
        return [None]

    def turn(self, effort: Any) -> None:  # noqa: ANN401
        """Search with this effort from now on."""


class Featx(Tool):
    def build(self) -> None:
        from featx.index.stack import Stack
        from featx.index.tuning import build_tuned

        stack, recall = Stack.of(self.X), self.setting.get("recall", 0.99)
        self.kind, self.index, self.measured = build_tuned(
            self.setting["kind"], stack, "cosine", recall=recall
        )

    def write(self, place: Path) -> None:
        facts = {"kind": self.kind, "settings": self.index.settings}
        if self.index.has_file:
            self.index.write(place)
        place.with_suffix(".json").write_text(json.dumps(facts))

    def read(self, place: Path) -> bool:
        from featx.index import INDEXES
        from featx.index.stack import Stack
        from featx.registry import resolve

        if not place.with_suffix(".json").is_file():
            return False
        facts = json.loads(place.with_suffix(".json").read_text())
        self.kind = facts["kind"]
        found = resolve("index", INDEXES, self.kind)
        self.index = found.read(place, Stack.of(self.X), "cosine", facts["settings"])
        return True

    def search(self, Q: np.ndarray) -> np.ndarray:
        return self.index.search(Q, K).rows


class StockFaiss(Tool):
    """faiss as it comes: IndexFlatIP and its own thresholds."""

    def build(self) -> None:
        import faiss

        self.index = faiss.IndexFlatIP(self.X.shape[1])
        self.index.add(self.X)

    def search(self, Q: np.ndarray) -> np.ndarray:
        return self.index.search(Q, K)[1]


class MappedFlat(Tool):
    """faiss's exact search over the memory map itself, with BLAS for batches."""

    def build(self) -> None:
        import faiss

        self.faiss = faiss
        faiss.cvar.distance_compute_blas_threshold = 20 * self.X.shape[1]

    def search(self, Q: np.ndarray) -> np.ndarray:
        return self.faiss.knn(Q, self.X, K, metric=self.faiss.METRIC_INNER_PRODUCT)[1]


class ScikitLearn(Tool):
    def build(self) -> None:
        from sklearn.neighbors import NearestNeighbors

        jobs = self.threads if self.setting.get("jobs") else None
        made = NearestNeighbors(
            n_neighbors=K, algorithm="brute", metric=self.setting["metric"], n_jobs=jobs
        )
        self.index = made.fit(np.asarray(self.X))

    def search(self, Q: np.ndarray) -> np.ndarray:
        return self.index.kneighbors(Q, return_distance=False)


class Hnswlib(Tool):
    def build(self) -> None:
        import hnswlib

        self.index = hnswlib.Index(space="ip", dim=self.X.shape[1])
        self.index.init_index(
            max_elements=len(self.X),
            M=self.setting["M"],
            ef_construction=self.setting["construction"],
        )
        self.index.set_num_threads(self.threads)
        self.index.add_items(self.X)

    def write(self, place: Path) -> None:
        self.index.save_index(str(place))

    def read(self, place: Path) -> bool:
        import hnswlib

        if not place.is_file():
            return False
        self.index = hnswlib.Index(space="ip", dim=self.X.shape[1])
        self.index.load_index(str(place))
        self.index.set_num_threads(self.threads)
        return True

    def efforts(self) -> list[int]:
        return [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]

    def turn(self, effort: int) -> None:
        self.index.set_ef(effort)

    def search(self, Q: np.ndarray) -> np.ndarray:
        return self.index.knn_query(Q, k=K)[0].astype(np.int64)


class Usearch(Tool):
    def build(self) -> None:
        from usearch.index import Index

        self.index = Index(
            ndim=self.X.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=self.setting["M"],
            expansion_add=self.setting["construction"],
        )
        self.index.add(np.arange(len(self.X)), self.X, threads=self.threads)

    def write(self, place: Path) -> None:
        self.index.save(str(place))

    def read(self, place: Path) -> bool:
        from usearch.index import Index

        if not place.is_file():
            return False
        self.index = Index.restore(str(place))
        return True

    def efforts(self) -> list[int]:
        return [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048]

    def turn(self, effort: int) -> None:
        self.index.expansion_search = effort

    def search(self, Q: np.ndarray) -> np.ndarray:
        found = self.index.search(Q, K, threads=self.threads).keys
        return np.asarray(found, np.int64).reshape(len(Q), K)


TOOLS: dict[str, type[Tool]] = {
    "featx": Featx,
    "stock-faiss": StockFaiss,
    "mapped-flat": MappedFlat,
    "scikit-learn": ScikitLearn,
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}


def recall(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the true nearest that were found."""
    hits = [len(np.intersect1d(a, b)) for a, b in zip(found, truth, strict=True)]
    return float(np.mean(hits)) / truth.shape[1]


def settle(tool: Tool, Q: np.ndarray, truth: np.ndarray, least: float) -> Any:  # noqa: ANN401
    """Turn the effort up until enough is found, and return it."""
    for effort in tool.efforts():
        tool.turn(effort)
        if recall(tool.search(Q), truth) >= least:
            break
    return effort


def median_s(work: Callable[[], object], repeats: int) -> float:
    """Return the median of several runs, in seconds."""
    taken = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return float(np.median(taken))


def single_ms(tool: Tool, Q: np.ndarray) -> list[float]:
    """Return the milliseconds of each query, one after the other."""
    taken = []
    for q in Q:
        started_s = time.perf_counter()
        tool.search(q[None])
        taken.append(1e3 * (time.perf_counter() - started_s))
    return taken


def anonymous_mib() -> float:
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def made(tool: Tool, place: Path | None) -> dict[str, float]:
    """Read or build the index, and return what building took."""
    started_s, started_cpu_s = time.perf_counter(), clock.cpu_s()
    if place is not None and tool.read(place):
        return {"open_s": time.perf_counter() - started_s}
    tool.build()
    taken = {
        "build_s": time.perf_counter() - started_s,
        "build_cpu_s": clock.cpu_s() - started_cpu_s,
    }
    if place is not None:
        place.parent.mkdir(parents=True, exist_ok=True)
        tool.write(place)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("--setting", type=json.loads, default={})
    parser.add_argument("--index", type=Path)
    parser.add_argument("--least", type=float, default=0.99)
    parser.add_argument("--effort", type=json.loads, help="settled before; else it is looked for")
    parser.add_argument("--singles", type=int, default=200)
    parser.add_argument("--batches", type=json.loads, default=[1000])
    args = parser.parse_args()

    threads = int(os.environ["OMP_NUM_THREADS"])
    X = np.load(args.folder / "X.npy", mmap_mode="r").view(np.ndarray)
    Q, truth = np.load(args.folder / "Q.npy"), np.load(args.folder / "truth.npy")
    tool = TOOLS[args.tool](X, args.setting, threads)
    found: dict[str, Any] = {**made(tool, args.index), "threads": threads}
    found["effort"] = args.effort or settle(tool, Q, truth, args.least)
    tool.turn(found["effort"])
    found["recall"] = recall(tool.search(Q), truth)
    found["qps"] = {
        size: size / median_s(lambda size=size: tool.search(Q[:size]), REPEATS)
        for size in args.batches
    }
    before_s = clock.cpu_s()
    tool.search(Q)
    found["batch_cpu_ms"] = 1e3 * (clock.cpu_s() - before_s) / len(Q)
    single_ms(tool, Q[:WARM])
    taken = single_ms(tool, Q[WARM : WARM + args.singles])
    found["p50_ms"], found["p99_ms"] = np.percentile(taken, [50, 99]).tolist()
    found["anonymous_mib"] = anonymous_mib()
    found["kind"] = getattr(tool, "kind", args.tool)
    clock.say(found)


if __name__ == "__main__":
    main()
