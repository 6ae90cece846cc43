"""How the cost of one query, and of building, grows with the gallery; drawn as ``docs/knn.svg``."""

import json
import subprocess

from bench.support import rows
from bench.support.knn_plan import Plan
from bench.support.knn_problems import real
from bench.support.knn_runs import Found, Tool
from bench.support.places import ROOT, RUNS, WORKERS, python

TOOLS = [
    Tool("auto", "featx", {"kind": "auto"}, is_kept=True),
    Tool("exact", "featx", {"kind": "exact"}),
]
PICTURE = ROOT / "docs" / "knn.svg"
BATCH = 100
THREADS = 1


def measure(plan: Plan) -> list[Found]:
    points: dict[str, list[Found]] = {tool.name: [] for tool in TOOLS}
    for size in plan.growth:
        for tool in TOOLS:
            asked = ("--batches", json.dumps([BATCH]), "--singles", "50")
            built = tool.build(real(size), *asked)
            found = tool.run(real(size), THREADS, *asked)
            points[tool.name].append({**found, "rows": size, "build_s": built["build_s"]})
    if plan.growth:
        draw(points)
    return [row(name, each) for name, found in points.items() for each in found]


def row(name: str, found: Found) -> Found:
    return rows.row(
        f"texts repeated with noise, {name} at n={found['rows']:,}, single queries",
        float(f"{found['p50_ms']:.3g}"),
        unit="ms",
        threads=THREADS,
        note=f"{found['kind']}; recall@10 {found['recall']:.4f}; {found['qps'][str(BATCH)]:.0f} "
        f"queries/s in batches of {BATCH}; built in {found['build_s']:.1f} s on two threads",
    )


def draw(points: dict[str, list[Found]]) -> None:
    """Draw the picture of the docs with matplotlib, in its own environment."""
    place = RUNS / "knn" / "growth.json"
    place.write_text(json.dumps(points))
    script = str(WORKERS / "knn_plot.py")
    subprocess.run([python("plots"), script, str(place), str(PICTURE)], check=True)
