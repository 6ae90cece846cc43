"""Heads from sums of segments: how far they are from those of all rows at once, time and memory.

Classes are normal clouds that overlap; the peer is the same estimator, given all rows in memory.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows
from bench.support.places import RUNS, WORKERS, python
from featx.data.rows import Row
from featx.data.writer import SetWriter

NEEDS = ()
SIZES, QUICK_SIZES = (100_000, 400_000), (60_000, 150_000)
DIM, CLASSES, SEGMENT_ROWS, WRITTEN_ROWS = 384, 10, 40_000, 10_000
KINDS = ("ridge", "lda", "centroid")
THREADS = 2
_NOUN = f"{DIM} numbers, {CLASSES} classes"


def measure(*, is_quick: bool) -> list[dict[str, Any]]:
    """Return how each kind of head compares at the smaller size, and what memory takes at both."""
    folder = RUNS / "scale-statistics"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    few, many = QUICK_SIZES if is_quick else SIZES
    paths = [_write_set(folder / f"{n}.emb", n) for n in (few, many)]
    found = []
    for kind in KINDS:
        found += _compared(paths[0], kind, few)
    found.append(_memory(paths, (few, many)))
    shutil.rmtree(folder)
    return found


def _write_set(path: Path, n: int) -> Path:
    rng = np.random.default_rng(0)
    centres = 0.12 * rng.normal(size=(CLASSES, DIM))
    facts = {"name": "identity", "modality": "array", "dim": DIM, "normalize": False}
    facts |= {"fingerprint": "f" * 64, "space": "5" * 64}
    with SetWriter(path, model=facts, segment_rows=SEGMENT_ROWS) as writer:
        for start in range(0, n, WRITTEN_ROWS):
            ids = range(start, min(n, start + WRITTEN_ROWS))
            codes = rng.integers(CLASSES, size=len(ids))
            X = (rng.normal(size=(len(ids), DIM)) + centres[codes]).astype(np.float32)
            told = zip(ids, codes, strict=True)
            writer.append([Row(id=f"i{i}", digest=f"{i:064x}", label=f"c{c}") for i, c in told], X)
        writer.seal()
    return path


def _trained(path: Path, kind: str, how: str) -> dict[str, Any]:
    command = [python("featx"), str(WORKERS / "scale_statistics.py"), str(path), kind, how]
    return drive.run(command, threads=THREADS)


def _compared(path: Path, kind: str, n: int) -> list[dict[str, Any]]:
    mine, peer = (_trained(path, kind, how) for how in ("streamed", "whole"))
    with (
        np.load(path.with_suffix(f".{kind}.streamed.npz")) as found,
        np.load(path.with_suffix(f".{kind}.whole.npz")) as wanted,
    ):
        off = max(
            float(np.abs(found[name] - wanted[name]).max() / np.abs(wanted[name]).max())
            for name in wanted.files
        )
    targets = rows.targets("scale")
    of = f"{n:,} rows of {_NOUN}"
    note = f"{of}; share of the largest value of each array; peer: fit to all rows"
    if kind == "lda":
        note += "; its shrinkage is chosen by a sample of 50,000 rows"
    seconds = mine["seconds"]
    return [
        rows.row(
            f"statistics {kind}: largest difference",
            off,
            **rows.at_most(off, targets["statistics_difference_max"]),
            threads=THREADS,
            note=note,
        ),
        rows.row(
            f"statistics {kind}: seconds",
            seconds,
            unit="s",
            peer="fit to all rows",
            peer_value=peer["seconds"],
            ratio=seconds / peer["seconds"],
            threads=THREADS,
            note=f"{of}; with calibration, novelty and measures, which the peer's do not have; "
            f"peak {mine['peak_bytes'] / 1e6:.0f} MB beside {peer['peak_bytes'] / 1e6:.0f} MB",
        ),
    ]


def _memory(paths: list[Path], sizes: tuple[int, int]) -> dict[str, Any]:
    few, many = (_trained(path, "ridge", "streamed")["peak_bytes"] for path in paths)
    growth = many / few - 1
    target = rows.targets("scale")["statistics_growth_max"]
    return rows.row(
        "statistics ridge: memory growth",
        growth,
        **rows.at_most(growth, target),
        threads=THREADS,
        note=f"peak RssAnon {few / 1e6:.0f} MB of {sizes[0]:,} rows, {many / 1e6:.0f} MB of "
        f"{sizes[1]:,}; {_NOUN}; a sample of 50,000 rows and the digests are among it",
    )
