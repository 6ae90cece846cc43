"""Serving: what a request costs, beside the model alone, infinity-emb, and FastAPI over torch.

A server runs on one core and wrk on the other; servers take turns, and figures are medians of the
rounds.
"""

import sys
from collections.abc import Callable
from typing import Any

from bench import peers
from bench.support import rows, serve_rows
from bench.support.packages import Unavailable
from bench.support.serve_load import require_tools

PARTS: dict[str, Callable[["serve_rows.Plan"], list[dict[str, Any]]]] = {
    "echo": serve_rows.echo,
    "vectors": serve_rows.vectors,
    "texts": serve_rows.texts,
    "peers": serve_rows.peers,
    "start": serve_rows.start,
    "overload": serve_rows.overload,
}
NEEDED = ("infinity", "fastapi")
COMMAND = "python -m bench.serve"


def main() -> None:
    parser = rows.parser(__doc__, "one round, seconds instead of a minute")
    parser.add_argument("--only", choices=PARTS, action="append", help="one part, or several")
    args = parser.parse_args()

    chosen = args.only or list(PARTS)
    try:
        require_tools()
    except Unavailable as error:
        sys.exit(str(error))
    if "peers" in chosen:
        for name in NEEDED:
            peers.make(name)
    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for name, measure in PARTS.items():
        if name in chosen:
            print(f"- {name}", file=sys.stderr, flush=True)
            found += measure(serve_rows.QUICK if args.quick else serve_rows.FULL)
        else:
            found.append(rows.not_run(name, f"{COMMAND} --only {name}"))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
