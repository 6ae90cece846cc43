"""kNN: searches beside scikit-learn, hnswlib, usearch and faissknn, and galleries on disk.

Every tool runs in a process of its own over the same float32 rows and queries; they take turns, and
figures are medians of the rounds.  Galleries are embeddings of real texts repeated with noise to
size (``python -m bench.support.embeddings`` makes them once), and a hard synthetic set.
"""

import sys
from typing import Any

from bench import peers
from bench.support import (
    embeddings,
    knn_batches,
    knn_classify,
    knn_galleries,
    knn_growth,
    knn_search,
    rows,
)
from bench.support.knn_plan import FULL, QUICK
from bench.support.packages import Unavailable

PARTS = {
    "search": knn_search.measure,
    "batches": knn_batches.measure,
    "classify": knn_classify.measure,
    "adds": knn_galleries.adds,
    "million": knn_galleries.million,
    "growth": knn_growth.measure,
}
NEEDED = ("neighbours", "faissknn", "plots")
COMMAND = "python -m bench.knn"


def main() -> None:
    parser = rows.parser(__doc__, "small galleries, one round")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, or several")
    args = parser.parse_args()

    try:
        embeddings.make()
    except Unavailable as error:
        sys.exit(str(error))
    for name in NEEDED:
        peers.make(name)
    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for name, measure in PARTS.items():
        if not args.only or name in args.only:
            print(f"- {name}", file=sys.stderr, flush=True)
            found += measure(QUICK if args.quick else FULL)
        else:
            found.append(rows.not_run(name, f"{COMMAND} --only {name}"))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
