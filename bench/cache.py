"""Embedding again what is known: an unchanged folder, and a second set filled from the cache.

The first run embeds every file; the re-run should only look at their time stamps; a second set of
the same folder should only read the cache.  Files that are opened and graphs that are loaded are
counted inside the process, and the first also from outside where strace is there.
"""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import featx
from bench import corpora
from bench.support import drive, rows
from bench.support.places import RUNS, WORKERS

MODEL = "minilm-l6"
THREADS, REPEATS = 2, 3
FULL_COMMAND = "python -m bench.cache"


def measure(count: int, *, again: bool) -> dict[str, Any]:
    """Return seconds and counts of the first run, the re-runs and the second set."""
    folder, place = corpora.files(count), RUNS / "cache-bench"
    cache, first_set, second_set = place / "cache", place / "first.emb", place / "second.emb"
    record = place / "first.json"
    if again and record.is_file():
        shutil.rmtree(second_set, ignore_errors=True)
        first = json.loads(record.read_text(encoding="utf-8"))
    else:
        shutil.rmtree(place, ignore_errors=True)
        first = embed(folder, first_set, cache, embedded=count)
        record.write_text(json.dumps(first), encoding="utf-8")
    repeats = [embed(folder, first_set, cache, embedded=0) for _ in range(REPEATS)]
    second = embed(folder, second_set, cache, embedded=0)
    require_equal(first_set, second_set)
    watched = watch(folder, first_set, cache)
    return {
        "first_s": first["whole_s"],
        "again_s": statistics.median(run["whole_s"] for run in repeats),
        "second_s": second["whole_s"],
        "opened": max(watched["opened"], traced_opens(folder, first_set, cache)),
        "sessions": watch(folder, place / "third.emb", cache)["sessions"],
    }


def embed(folder: Path, out: Path, cache: Path, *, embedded: int) -> dict[str, Any]:
    """Run ``featx embed``, and exit if it embedded more or fewer items than it should."""
    found = drive.embed(folder, MODEL, out, threads=THREADS, cache=cache)
    print(f"  {out.name}: {found['whole_s']:.2f} s", file=sys.stderr, flush=True)
    if found["embedded"] != embedded or found["errors"]:
        sys.exit(f"{out}: expected {embedded} embedded and no errors; found {found}")
    return found


def require_equal(first: Path, second: Path) -> None:
    a, b = featx.open(first), featx.open(second)
    if not np.array_equal(a.X[:], b.X[:]):
        sys.exit(f"{second}: its vectors are not those of {first}")


def watch(folder: Path, out: Path, cache: Path) -> dict[str, Any]:
    """Return how many files of the folder were opened, and how many graphs were loaded."""
    arguments = drive.embed_arguments(folder, MODEL, out, cache, THREADS)[1:]
    command = [sys.executable, str(WORKERS / "watched_embed.py"), str(folder), *arguments]
    return drive.run(command, threads=THREADS)


def traced_opens(folder: Path, out: Path, cache: Path) -> int:
    """Return the same as the kernel saw it; 0 where strace cannot be used."""
    trace = RUNS / "opens.txt"
    tracer = ["strace", "-f", "-qq", "-y", "-e", "trace=open,openat", "-o", str(trace)]
    arguments = drive.embed_arguments(folder, MODEL, out, cache, THREADS)
    if shutil.which(tracer[0]) is None:
        return 0
    try:
        drive.run([*tracer, sys.executable, "-m", *arguments], threads=THREADS)
    except subprocess.CalledProcessError:
        return 0
    lines = trace.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum(str(folder) in line and "O_DIRECTORY" not in line for line in lines)


def to_rows(found: dict[str, Any], count: int, *, is_full: bool) -> list[dict[str, Any]]:
    target, files = rows.targets("warm"), f"{count:,} files"
    first_s, again_s, second_s = (round(found[k], 2) for k in ("first_s", "again_s", "second_s"))
    ratio = found["first_s"] / found["again_s"]
    first = {"peer": "first run", "peer_value": first_s, "ratio": round(ratio, 1)}
    made = [
        rows.row(
            f"re-run over {files}",
            again_s,
            unit="s",
            **rows.at_most(again_s, target["seconds_max"]),
        ),
        rows.row(f"first run over re-run, {files}", again_s, unit="s", **first)
        | rows.at_least(ratio, target["speedup_min"]),
    ]
    if not is_full:  # the targets are about the full number of files
        made = [
            {**row, "ok": None, "note": f"target for {corpora.FILES:,} files; run: {FULL_COMMAND}"}
            for row in made
        ]
    counts = [
        ("files opened by a re-run", "opened", "files_opened_max", "files"),
        ("graphs loaded for a second set", "sessions", "model_runs_max", "graphs"),
    ]
    made += [
        rows.row(
            f"{name}, {files}", found[key], unit=unit, **rows.at_most(found[key], target[most])
        )
        for name, key, most, unit in counts
    ]
    second = rows.row(f"second set from the cache, {files}", second_s, unit="s")
    ratio = found["first_s"] / found["second_s"]
    second |= {"peer": "first run", "peer_value": first_s, "ratio": round(ratio, 1)}
    return [*made, second]


def main() -> None:
    parser = rows.parser(__doc__, f"{corpora.QUICK_FILES:,} files, not {corpora.FILES:,}")
    parser.add_argument("--again", action="store_true", help="keep the first run of last time")
    args = parser.parse_args()

    drive.pin(THREADS)
    machine = rows.machine()
    count = corpora.QUICK_FILES if args.quick else corpora.FILES
    note = f"{machine}; texts of 100 to 300 bytes in {corpora.FOLDERS} folders, {MODEL}"
    made = to_rows(measure(count, again=args.again), count, is_full=not args.quick)
    for row in made:
        row["note"] = "; ".join(part for part in (note, row["note"]) if part)
        row["threads"] = THREADS
    rows.finish(made, args.json)


if __name__ == "__main__":
    main()
