"""Anonymous memory while embedding: it should not grow with the number of rows.

Arrays of 64 numbers are embedded as they are, so that a million rows take a minute and not hours;
all that lies around a model is the same, but for the cache, which arrays do not need.  What counts
is the peak RssAnon of the process, read every few milliseconds.
"""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.support import drive, rows
from bench.support.places import CORPORA, ROOT, RUNS

SMALL, LARGE, QUICK_LARGE = 10_000, 1_000_000, 100_000
DIM, SEED = 64, 20261123
THREADS = 2
EVERY_S = 0.005
MIB = 1024  # KiB, which is what the kernel counts in


def arrays(count: int) -> Path:
    """Return an ``.npy`` file of `count` different rows."""
    path = CORPORA / f"arrays-{count}.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.random.default_rng(SEED).standard_normal((count, DIM), dtype=np.float32))
    return path


def peak(count: int) -> tuple[float, float]:
    """Return the peak in MiB, and the seconds."""
    place = RUNS / "memory-bench"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    arguments = drive.embed_arguments(arrays(count), "identity", place / "x.emb", None, THREADS)
    started_s, highest = time.perf_counter(), 0
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=drive.variables(THREADS),
        stdout=subprocess.DEVNULL,
    )
    while process.poll() is None:
        highest = max(highest, anonymous_kib(process.pid))
        time.sleep(EVERY_S)
    if process.returncode:
        sys.exit(f"featx embed of {count:,} rows ended with {process.returncode}")
    shutil.rmtree(place)
    return highest / MIB, time.perf_counter() - started_s


def anonymous_kib(pid: int) -> int:
    try:
        found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    except OSError:  # it has just ended
        return 0
    return int(found[1]) if found else 0


def measure(large: int) -> dict[str, Any]:
    small_mib, _ = peak(SMALL)
    large_mib, seconds = peak(large)
    ratio = large_mib / small_mib
    return rows.row(
        f"peak memory at {large:,} rows of {DIM} numbers",
        round(large_mib, 1),
        unit="MiB",
        peer=f"{SMALL:,} rows",
        peer_value=round(small_mib, 1),
        ratio=round(ratio, 3),
        threads=THREADS,
        note=f"{seconds:.0f} s",
        **rows.at_most(ratio, 1 + rows.targets("memory")["drift_max"]),
    )


def main() -> None:
    parser = rows.parser(__doc__, f"{QUICK_LARGE:,} rows, not {LARGE:,}")
    args = parser.parse_args()

    machine = rows.machine()
    large = QUICK_LARGE if args.quick else LARGE
    found = measure(large)
    if args.quick:
        full = f"target for {LARGE:,} rows; run: python -m bench.memory"
        found |= {"ok": None, "note": f"{full}; {found['note']}"}
    rows.finish([found | {"note": f"{machine}; {found['note']}"}], args.json)


if __name__ == "__main__":
    main()
