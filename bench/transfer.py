"""Transfer: choosing a backbone, few labels, a shifted domain, wrong labels; with losses shown too.

Rows are means of five seeds with their standard error.  ``python -m bench.peers setfit skada
cleanlab`` makes the environments of the tools that are compared; real items are fetched and
embedded once.
"""

from importlib import import_module
from typing import Any

from bench.support import rows

COMMAND = "python -m bench.transfer"
PARTS = {
    "choice": "bench.support.transfer_choice",
    "layers": "bench.support.transfer_layers",
    "active": "bench.support.transfer_active",
    "fewshot": "bench.support.transfer_fewshot",
    "adapt": "bench.support.transfer_adapt",
    "labels": "bench.support.transfer_labels",
}
SEEDS, QUICK_SEEDS = 5, 2


def main() -> None:
    parser = rows.parser(__doc__, "small problems, two seeds; real ones only if they are made")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="of each row")
    args = parser.parse_args()

    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for part, module in PARTS.items():
        if args.only in {None, part}:
            seeds = QUICK_SEEDS if args.quick else args.seeds
            found += import_module(module).measure(seeds=seeds, is_quick=args.quick)
        else:
            found.append(rows.not_run(part, f"{COMMAND} --only {part}"))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
