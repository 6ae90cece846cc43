"""Run every ``bench/<station>.py`` and rewrite ``docs/benchmarks.md`` from their rows."""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE.parent / "docs" / "benchmarks.md"
NOT_STATIONS = {"__init__", "corpora", "peers", "run"}
HEADER = ("what", "value", "peer", "ratio", "target", "held", "threads", "note")
INTRODUCTION = """\
# Benchmarks

Written by `make bench` (`python -m bench.run`) from the rows in `bench/results/`; targets are in
`bench/targets.toml`. *held* is "not run" where a row was not measured, and empty where it has no
target or was measured on a smaller corpus; its note is then the command.
`python -m bench.peers` makes the other tools' environments first.
A note that says "busy machine" means that other programs ran at the same time: such figures are
upper bounds of time and lower bounds of speed. Targets without a row here were not measured yet.
"""


def stations() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if path.stem not in NOT_STATIONS)


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = [line(HEADER), line(["---"] * len(HEADER))]
    for row in rows:
        peer = "" if row["peer"] is None else f"{row['peer']}: {row['peer_value']}"
        held = {None: "", True: "yes", False: "**no**"}[row["ok"]]
        held = "not run" if row["value"] is None else held
        value = "" if row["value"] is None else f"{row['value']} {row['unit']}"
        cells = [row["name"], value, peer, row["ratio"], row["target"], held, row["threads"]]
        lines.append(line([*cells, row["note"]]))
    return lines


def line(cells: Iterable[object]) -> str:
    texts = ["" if cell is None else str(cell).replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(texts)} |"


def write_page() -> None:
    parts = [INTRODUCTION]
    for station in stations():
        result = RESULTS / f"{station}.json"
        if result.is_file():
            rows = json.loads(result.read_text(encoding="utf-8"))
            parts.append("\n".join([f"## {station}", "", *table(rows)]) + "\n")
    PAGE.write_text("\n".join(parts), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="at most five minutes a station")
    arguments = parser.parse_args()

    failed = []
    for station in stations():
        print(f"== {station}", flush=True)
        command = [sys.executable, "-m", f"bench.{station}"]
        command += ["--json", str(RESULTS / f"{station}.json")]
        command += ["--quick"] if arguments.quick else []
        if subprocess.run(command, check=False, cwd=HERE.parent).returncode:
            failed.append(station)
    write_page()
    if failed:
        sys.exit(f"failed, their rows are of an earlier run or missing: {', '.join(failed)}")


if __name__ == "__main__":
    main()
