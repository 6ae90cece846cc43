"""Heads: their speed beside scikit-learn's at equal exactness, and whether they can be trusted.

Every fit runs in a fresh process, both sides with the same float32 rows, folds, penalties and
threads; they take turns, and figures are medians of the rounds.  Problems are embeddings of real
texts and images (``python -m bench.support.embeddings`` fetches and embeds them once, in about
five minutes) and vectors drawn by ``support/generator.py``.
"""

import sys
from typing import Any

from bench.support import (
    embeddings,
    heads_calibration,
    heads_conformal,
    heads_path,
    heads_promises,
    heads_ridge,
    heads_single,
    rows,
)
from bench.support.heads_plan import FULL, QUICK
from bench.support.packages import Unavailable

PARTS = {
    "path": heads_path.measure,
    "single": heads_single.measure,
    "ridge": heads_ridge.measure,
    "calibration": heads_calibration.measure,
    "conformal": heads_conformal.measure,
    "promises": heads_promises.measure,
}
COMMAND = "python -m bench.heads"


def main() -> None:
    parser = rows.parser(__doc__, "small problems, one round; real ones only if they are made")
    parser.add_argument("--only", choices=PARTS, help="one part")
    args = parser.parse_args()

    if not args.quick:
        try:
            embeddings.make()
        except Unavailable as error:  # their rows say what is to be run
            print(error, file=sys.stderr)
    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for name, measure in PARTS.items():
        if args.only in {None, name}:
            found += measure(QUICK if args.quick else FULL)
        else:
            found.append(rows.not_run(name, f"{COMMAND} --only {name}"))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
