"""Search a gallery on disk, or add to it, in a process of its own.

``knn_gallery.py search GALLERY FOLDER`` opens the gallery and answers one query after the other,
first with the vectors' pages out of the cache.  ``knn_gallery.py add GALLERY FOLDER`` adds items
one by one, each durable before the next, alone and while another thread searches.
"""

import argparse
import os
import threading
import time
from pathlib import Path
from typing import Any

import clock
import numpy as np
from knn_search import K, anonymous_mib, recall

from featx import Gallery

COLD, WARM = 100, 200


def drop_pages(paths: list[Path]) -> None:
    """Ask the system to forget its copies of these files."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def milliseconds(gallery: Gallery, Q: np.ndarray) -> tuple[list[float], list[list[int]]]:
    """Return how long each query took, and the rows that were found."""
    taken, rows = [], []
    for q in Q:
        started_s = time.perf_counter()
        (found,) = gallery.search(q[None], K)
        taken.append(1e3 * (time.perf_counter() - started_s))
        rows.append([neighbour.row for neighbour in found])
    return taken, rows


def search(args: argparse.Namespace) -> dict[str, Any]:
    Q, truth = np.load(args.folder / "Q.npy"), np.load(args.folder / "truth.npy")
    started_s = time.perf_counter()
    Gallery.open(args.gallery).close()
    drop_pages([*args.folder.glob("*.emb/*.npy"), *args.gallery.glob("*.*")])
    opening_s = time.perf_counter()
    gallery = Gallery.open(args.gallery)
    opened_s = time.perf_counter()
    cold, rows = milliseconds(gallery, Q[:COLD])
    again, _ = milliseconds(gallery, Q[:COLD])
    _, more = milliseconds(gallery, Q[COLD:])
    warm, _ = milliseconds(gallery, Q[:WARM])
    return {
        "first_open_ms": 1e3 * (opening_s - started_s),
        "open_ms": 1e3 * (opened_s - opening_s),
        "first_ms": cold[0],
        "cold_p50_ms": float(np.median(cold)),
        "again_p50_ms": float(np.median(again)),
        "p50_ms": float(np.median(warm)),
        "p99_ms": float(np.percentile(warm, 99)),
        "recall": recall(np.array(rows + more), truth),
        "anonymous_mib": anonymous_mib(),
        "kind": gallery.facts["index"]["kind"],
    }


def add(args: argparse.Namespace) -> dict[str, Any]:
    X, Q = np.load(args.folder / "X.npy", mmap_mode="r"), np.load(args.folder / "Q.npy")
    X = np.array(X[: args.count]) + np.float32(1e-3)
    with Gallery.open(args.gallery, writable=True) as gallery:
        milliseconds(gallery, Q)
        alone, _ = milliseconds(gallery, np.tile(Q, (2, 1)))
        started_s = time.perf_counter()
        add_each(gallery, X, "first")
        alone_s = time.perf_counter() - started_s

        adding = threading.Thread(target=add_each, args=(gallery, X, "second"))
        during: list[float] = []
        started_s = time.perf_counter()
        adding.start()
        while adding.is_alive():
            during += milliseconds(gallery, Q[:50])[0]
        both_s = time.perf_counter() - started_s
        after, _ = milliseconds(gallery, np.tile(Q, (2, 1)))
        count = len(gallery)
    return {
        "items": count,
        "adds_per_s": len(X) / alone_s,
        "adds_per_s_while_searching": len(X) / both_s,
        "searches": len(during),
        **{
            f"{name}_p{share}_ms": float(np.percentile(taken, share))
            for name, taken in {"alone": alone, "during": during, "after": after}.items()
            for share in (50, 99)
        },
    }


def add_each(gallery: Gallery, X: np.ndarray, name: str) -> None:
    for number, x in enumerate(X):
        gallery.add([f"{name}-{number}"], x[None])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=["search", "add"])
    parser.add_argument("gallery", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    args = parser.parse_args()
    found = search(args) if args.work == "search" else add(args)
    clock.say({**found, "threads": int(os.environ["OMP_NUM_THREADS"])})


if __name__ == "__main__":
    main()
