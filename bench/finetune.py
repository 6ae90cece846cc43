"""Fine-tuning: what a step and an epoch take, and what it is worth on real items.

The engine trains the last block of MiniLM beside torch: the same batches of real texts, head,
optimiser and threads, in processes of their own that take turns.  The cases tune whole models with
several seeds.  (``python -m bench.peers fastapi`` makes the environment that torch lives in.)
"""

from typing import Any

from bench import peers
from bench.support import finetune_cases, finetune_engine, rows

COMMAND = "python -m bench.finetune"
PARTS = ("engine", "cases")
SEEDS = 5


def measure(part: str, *, is_quick: bool) -> list[dict[str, Any]]:
    """Return the rows of one part."""
    if part == "cases":
        return finetune_cases.measure(seeds=SEEDS, is_quick=is_quick)
    peers.make(finetune_engine.TORCH)
    return finetune_engine.measure(finetune_engine.QUICK if is_quick else finetune_engine.FULL)


def main() -> None:
    parser = rows.parser(__doc__, "few items, one round")
    parser.add_argument("--only", choices=PARTS, help="one part")
    args = parser.parse_args()

    machine = rows.machine()
    found: list[dict[str, Any]] = []
    for part in PARTS:
        if args.only in {None, part}:
            found += measure(part, is_quick=args.quick)
        else:
            found.append(rows.not_run(part, f"{COMMAND} --only {part}"))
    if args.quick:
        found = [rows.without_target(row, COMMAND) for row in found]
    rows.finish([{**row, "note": f"{machine}; {row['note']}"} for row in found], args.json)


if __name__ == "__main__":
    main()
