"""The rows that every station writes, and the facts of the machine that go into their notes."""

import argparse
import json
import os
import statistics
import sys
import tomllib
from math import sqrt
from pathlib import Path
from typing import Any

from bench.support.places import TARGETS

BUSY_SHARE = 4  # a load above a quarter of the cores is somebody else's work


def targets(section: str) -> dict[str, Any]:
    """Return one table of ``bench/targets.toml``."""
    return tomllib.loads(TARGETS.read_text(encoding="utf-8"))[section]


def machine() -> str:
    """Say whether the machine is quiet; to be asked before the work begins."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    busy = "busy" if load > cores / BUSY_SHARE else "quiet"
    python = ".".join(map(str, sys.version_info[:3]))
    return f"{busy} machine, load {load:.1f} on {cores} cores, Python {python}"


def row(name: str, value: float | None, **facts: object) -> dict[str, Any]:
    """Return one row; `facts` fill the rest."""
    empty = {"unit": "", "peer": None, "peer_value": None, "ratio": None, "target": None}
    return {"name": name, "value": value, **empty, "ok": None, "threads": 1, "note": "", **facts}


def not_run(name: str, command: str, **facts: object) -> dict[str, Any]:
    """Return the row of something that this run left out; its note is how to run it."""
    return row(name, None, note=f"not run; run: {command}", **facts)


def without_target(row: dict[str, Any], command: str) -> dict[str, Any]:
    """Return the row of a small problem: the targets are about the full sizes."""
    if row["value"] is None or row["target"] is None:
        return row
    return {**row, "ok": None, "note": f"target for the full sizes; run: {command}; {row['note']}"}


def standard_error(values: list[float]) -> float:
    """Return that of the mean; NaN of one value."""
    return statistics.stdev(values) / sqrt(len(values)) if len(values) > 1 else float("nan")


def at_least(value: float, least: float) -> dict[str, Any]:
    return {"target": f">= {least:g}", "ok": bool(value >= least)}


def at_most(value: float, most: float) -> dict[str, Any]:
    return {"target": f"<= {most:g}", "ok": bool(value <= most)}


def parser(description: str, quick: str) -> argparse.ArgumentParser:
    """Return the options that every station has."""
    made = argparse.ArgumentParser(description=description.partition("\n")[0])
    made.add_argument("--quick", action="store_true", help=quick)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the rows here")
    return made


def finish(rows: list[dict[str, Any]], out: Path | None) -> None:
    """Print the rows, and write them if asked to."""
    marks = {None: "", True: "held", False: "NOT HELD"}
    for each in rows:
        peer = f", {each['peer']} {each['peer_value']}" if each["peer"] else ""
        ratio = f", ratio {each['ratio']}" if each["ratio"] is not None else ""
        wanted = f" (target {each['target']})" if each["target"] else ""
        value = "not run" if each["value"] is None else f"{each['value']} {each['unit']}"
        print(f"{each['name']}: {value}{peer}{ratio}{wanted} {marks[each['ok']]}".rstrip())
    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
