"""Beyond one machine: Ray on two cores, kills, object stores, PostgreSQL, merged statistics.

All servers run on this machine, are real ones, and are stopped at the end.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from bench.support import rows

COMMAND = "python -m bench.scale"
PARTS = {
    "ray": "bench.support.scale_ray",
    "kills": "bench.support.scale_kills",
    "s3": "bench.support.scale_s3",
    "pgvector": "bench.support.scale_pgvector",
    "statistics": "bench.support.scale_statistics",
}
"""Each has `measure(is_quick)`, and `NEEDS`: packages that are not in the default install."""


def main() -> None:
    parser = rows.parser(__doc__, "small sizes, one kill of each kind")
    parser.add_argument("--only", choices=PARTS, help="one part")
    args = parser.parse_args()

    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for part, module in PARTS.items():
        command = f"{COMMAND} --only {part}"
        if args.only in {None, part}:
            found += _measured(module, command, is_quick=args.quick)
        else:
            found.append(rows.not_run(part, command))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


def _measured(module: str, command: str, *, is_quick: bool) -> list[dict[str, Any]]:
    part = import_module(module)
    absent = [name for name in part.NEEDS if find_spec(name) is None]
    if absent:
        return [
            rows.not_run(module.rpartition("_")[2], f"pip install {' '.join(absent)}; {command}")
        ]
    measured: list[dict[str, Any]] = part.measure(is_quick=is_quick)
    return measured


if __name__ == "__main__":
    main()
