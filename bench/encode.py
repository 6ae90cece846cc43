"""Encoding speed from a file to saved vectors, against the peers and the machine's own bound.

Each tool runs in a process of its own, on the same cores, with the same weights; its vectors are
compared with ours before its time counts.  The targets are about the time from the loaded model to
the saved vectors; rows of the whole process count imports and loading too.  The tools take turns,
and figures are medians of the rounds.  The peers' environments: ``python -m bench.peers``.
"""

import sys
from dataclasses import replace
from typing import Any

from bench import peers
from bench.support import drive, image_rows, rows, text_rows
from bench.support.plan import FULL, QUICK

PARTS = {"texts": text_rows.measure, "images": image_rows.measure}
COMMAND = "python -m bench.peers && python -m bench.encode"


def main() -> None:
    parser = rows.parser(__doc__, f"{QUICK.texts} texts, {QUICK.images} images")
    parser.add_argument("--only", choices=PARTS, help="one half")
    parser.add_argument("--rounds", type=int, help="turns of every tool")
    args = parser.parse_args()

    if missing := peers.missing():
        sys.exit(f"peers are missing: {', '.join(missing)}; run: python -m bench.peers")
    plan = QUICK if args.quick else FULL
    plan = replace(plan, rounds=args.rounds or plan.rounds)
    drive.pin(plan.threads)
    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for name, measure in PARTS.items():
        if args.only in {None, name}:
            found += measure(plan)
        else:
            found.append(rows.not_run(name, f"{COMMAND} --only {name}"))
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
