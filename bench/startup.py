"""CPU time of ``featx --help``: what a user waits for before anything else.

Each figure is user plus system CPU time of a fresh process, interpreter included, so it does not
count waiting for a core; caches that other programs empty still make it larger on a busy machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TARGETS = Path(__file__).with_name("targets.toml")
RUNS, QUICK_RUNS = 15, 5
HEAVY = ("numpy", "onnxruntime", "pyarrow", "sklearn", "faiss")


def cpu_ms(arguments: list[str]) -> float:
    """Return the CPU milliseconds of one fresh Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, *arguments],
        check=True,
        cwd=ROOT,
        env=variables(),
        stdout=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def variables() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def heavy_imports() -> list[str]:
    """Return which heavy packages ``featx --help`` imports."""
    code = (
        "import sys, featx.cli\n"
        "try:\n    featx.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=variables(),
    )
    return done.stdout.splitlines()[-1].split()[1:]


def machine() -> str:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = "busy" if load > cores / 4 else "quiet"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{busy} machine, load {load:.1f} on {cores} cores, Python {python}"


def measure(runs: int) -> list[dict[str, Any]]:
    target = tomllib.loads(TARGETS.read_text(encoding="utf-8"))["startup"]["cpu_ms_max"]
    note = machine()
    ours, peers = [], []
    cpu_ms(["-m", "featx", "--help"])
    for _ in range(runs):  # in turns, so that both meet the same load
        ours.append(cpu_ms(["-m", "featx", "--help"]))
        peers.append(cpu_ms(["-c", "pass"]))
    rows = []
    for name, pick in (("minimum", min), ("median", statistics.median)):
        value, peer = float(pick(ours)), float(pick(peers))
        rows.append(
            row(
                f"featx --help, {name} of {runs}",
                round(value, 1),
                unit="CPU ms",
                peer="python -c pass",
                peer_value=round(peer, 1),
                ratio=round(value / peer, 2),
                target=f"<= {target}",
                ok=value <= target,
                note=note,
            )
        )
    found = heavy_imports()
    rows.append(
        row(
            "heavy packages imported by featx --help",
            len(found),
            unit="packages",
            target="0",
            ok=not found,
            note=", ".join(found) or f"none of {', '.join(HEAVY)}",
        )
    )
    return rows


def row(name: str, value: float, **facts: object) -> dict[str, Any]:
    empty = {"unit": "", "peer": None, "peer_value": None, "ratio": None, "target": None}
    return {"name": name, "value": value, **empty, "ok": None, "threads": 1, "note": "", **facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs, not {RUNS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    arguments = parser.parse_args()

    rows = measure(QUICK_RUNS if arguments.quick else RUNS)
    for each in rows:
        print(f"{each['name']}: {each['value']} {each['unit']} (target {each['target']})")
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
