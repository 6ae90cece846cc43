"""Galleries on disk: a million vectors searched by memory map, and durable adds."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows
from bench.support.knn_plan import Plan
from bench.support.knn_problems import DIM, SOURCES, Problem, real
from bench.support.knn_runs import BUILD_THREADS, Found, Tool, middle
from bench.support.places import WORKERS, python
from bench.support.rounds import in_turns
from featx.data.rows import Row
from featx.data.writer import SetWriter

FLAT = Tool("faiss exact over the memory map", "mapped-flat")
SEGMENT_ROWS = 50_000_000


def million(plan: Plan) -> list[Found]:
    found = []
    for source in SOURCES.values():
        found += of_problem(source(plan.million), plan)
    return found


def of_problem(problem: Problem, plan: Plan) -> list[Found]:
    gallery, built = build(problem)
    found = [
        rows.row(
            f"{problem.name}, featx index",
            round(built["whole_s"], 1),
            unit="s",
            threads=BUILD_THREADS,
            note=f"{built['kind']}, tuned to a recall of {built['recall']:.4f}; "
            f"CPU s {built['whole_cpu_s']:.0f}; {size_mib(gallery)} MiB on disk",
        )
    ]
    command = [python("featx"), str(WORKERS / "knn_gallery.py"), "search", str(gallery)]
    command.append(str(problem.folder()))

    def search(threads: int) -> Found:
        result = drive.run(command, threads=threads)
        return {**result, "encode_s": 1e-3 * result["p50_ms"]}

    for threads in plan.threads:
        asked = ("--singles", "30", "--batches", "[]")
        flat = FLAT.turn(problem, threads, *asked)
        works = {"featx": lambda threads=threads: search(threads), FLAT.name: flat}
        runs = in_turns(works, plan.rounds)
        found += searched(problem, runs["featx"], runs[FLAT.name])
    return found


def searched(problem: Problem, ours: list[Found], flat: list[Found]) -> list[Found]:
    target, threads = rows.targets("knn"), ours[0]["threads"]
    mine, exact = middle(ours, "p50_ms"), middle(flat, "p50_ms")
    cold, recall = middle(ours, "cold_p50_ms"), middle(ours, "recall")
    memory, opened = middle(ours, "anonymous_mib"), middle(ours, "open_ms")
    return [
        rows.row(
            f"{problem.name}, gallery, single queries, warm",
            round(mine, 3),
            unit="ms",
            peer=FLAT.name,
            peer_value=round(exact, 1),
            ratio=round(exact / mine, 1),
            threads=threads,
            note=f"p99 {middle(ours, 'p99_ms'):.2f} ms",
            **rows.at_least(exact / mine, target["million_vs_exact_flat_min"]),
        ),
        rows.row(
            f"{problem.name}, gallery, single queries, cold",
            round(cold, 2),
            unit="ms",
            threads=threads,
            note="median of the first 100 queries, no page of vectors or index in memory; the "
            f"first one {middle(ours, 'first_ms'):.0f} ms; the same queries again "
            f"{middle(ours, 'again_p50_ms'):.2f} ms; opening took {opened:.0f} ms cold, "
            f"{middle(ours, 'first_open_ms'):.0f} ms warm",
        ),
        rows.row(
            f"{problem.name}, gallery, recall@10",
            round(recall, 4),
            threads=threads,
            **rows.at_least(recall, target["recall_min"]),
        ),
        rows.row(
            f"{problem.name}, gallery, anonymous memory of the searching process",
            round(memory, 1),
            unit="MiB",
            threads=threads,
            **rows.at_most(memory * 1.048576, target["million_rss_anon_mb_max"]),
        ),
    ]


def adds(plan: Plan) -> list[Found]:
    problem, target = real(plan.rows), rows.targets("knn")
    gallery, _ = build(problem)
    runs = []
    for _ in range(plan.rounds):
        copy = gallery.with_name("copy.knn")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(gallery, copy)
        command = [python("featx"), str(WORKERS / "knn_gallery.py"), "add", str(copy)]
        command += [str(problem.folder()), "--count", str(plan.adds)]
        runs.append(drive.run(command, threads=max(plan.threads)))
    rate, ratio = middle(runs, "adds_per_s"), p99_ratio(runs)
    fast = middle(runs, "adds_per_s_while_searching")
    return [
        rows.row(
            f"{plan.adds:,} durable adds one by one to a gallery of {plan.rows:,} x {DIM}",
            round(rate),
            unit="adds/s",
            threads=runs[0]["threads"],
            note=f"each on the disk before the next; {fast:.0f}/s while another thread searches",
            **rows.at_least(rate, target["durable_adds_per_s_min"]),
        ),
        rows.row(
            "p99 of single queries while items are added, over searches alone",
            round(ratio, 2),
            threads=runs[0]["threads"],
            note=", ".join(
                f"{name} p50 {middle(runs, f'{name}_p50_ms'):.2f} "
                f"p99 {middle(runs, f'{name}_p99_ms'):.2f} ms"
                for name in ("alone", "during", "after")
            ),
            **rows.at_most(ratio, target["adding_p99_max"]),
        ),
    ]


def p99_ratio(runs: list[Found]) -> float:
    return middle(runs, "during_p99_ms") / middle(runs, "alone_p99_ms")


def build(problem: Problem) -> tuple[Path, dict[str, Any]]:
    """Return a gallery over the problem, made anew by ``featx index``, and what that printed."""
    target = as_set(problem)
    gallery = target.with_suffix(".knn")
    shutil.rmtree(gallery, ignore_errors=True)
    command = [sys.executable, "-m", "featx", "index", str(target), "-o", str(gallery), "--json"]
    return gallery, drive.run(command, threads=BUILD_THREADS)


def as_set(problem: Problem) -> Path:
    """Return the problem's gallery as an embedding set, written once."""
    folder = problem.folder()
    out = folder / "items.emb"
    if (out / "manifest.json").is_file():
        return out
    X, y = np.load(folder / "X.npy", mmap_mode="r"), np.load(folder / "y.npy")
    model = {"name": "identity", "modality": "array", "dim": X.shape[1], "normalize": True}
    model |= {"fingerprint": "0" * 64, "space": "0" * 64}
    with SetWriter(out, model=model, segment_rows=SEGMENT_ROWS) as writer:
        for start in range(0, len(X), 10_000):
            stop = min(start + 10_000, len(X))
            numbers = range(start, stop)
            facts = [Row(id=f"item-{i}", digest="00", label=f"class {y[i]}") for i in numbers]
            writer.append(facts, np.array(X[start:stop]))
        writer.seal()
    return out


def size_mib(gallery: Path) -> int:
    return round(sum(file.stat().st_size for file in gallery.iterdir()) / 2**20)
