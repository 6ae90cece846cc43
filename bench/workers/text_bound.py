"""The least that a graph's texts can cost: one bare session, batches of one length, nothing else.

For lengths spread over the corpus, items a second are measured for several batch sizes, with one
run on all threads and with as many runs of one thread side by side.  Lengths between are read off
the line between their neighbours.  The bound is the sum over the corpus of the best.
"""

import argparse
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import clock
import numpy as np
import onnxruntime

BUDGETS = (256, 512, 1024, 2048, 4096)
LARGEST_BATCH = 128
Setting = tuple[int, bool]  # batch size, and whether runs of one thread go side by side


class Bound:
    """Two sessions of one graph, and how fast they are."""

    def __init__(self, graph: Path, threads: int, seconds: float) -> None:
        self.threads = threads
        self.seconds = seconds
        self.sessions = {False: self._open(graph, threads), True: self._open(graph, 1)}

    def _open(self, graph: Path, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])

    def seconds_per_text(self, length: int, setting: Setting) -> float:
        """Return seconds a text, everything that the machine can do at once being done."""
        batch, is_side_by_side = setting
        ids = np.random.default_rng(0).integers(1000, 20000, (batch, length))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        session = self.sessions[is_side_by_side]
        runners = self.threads if is_side_by_side else 1
        session.run(None, feeds)
        with ThreadPoolExecutor(runners) as pool:
            started_s = time.perf_counter()
            until_s = started_s + self.seconds
            runs = sum(pool.map(lambda _: _run_until(session, feeds, until_s), range(runners)))
            return (time.perf_counter() - started_s) / (runs * batch)

    def best(self, length: int) -> tuple[float, Setting]:
        """Return the least seconds a text, and the setting that reached it."""
        sizes = sorted({max(1, min(LARGEST_BATCH, budget // length)) for budget in BUDGETS})
        settings = [(size, side) for size in sizes for side in (False, True)]
        return min((self.seconds_per_text(length, setting), setting) for setting in settings)


def _run_until(
    session: onnxruntime.InferenceSession, feeds: dict[str, np.ndarray], until_s: float
) -> int:
    runs = 0
    while True:
        session.run(None, feeds)
        runs += 1
        if time.perf_counter() >= until_s:
            return runs


def total(lengths: np.ndarray, known: dict[int, float]) -> float:
    """Return the seconds of all texts."""
    return float(np.interp(lengths, sorted(known), [known[n] for n in sorted(known)]).sum())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("graph", type=Path)
    parser.add_argument("lengths", type=Path, help="npy: tokens of each text, after truncation")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--points", type=int, default=14)
    parser.add_argument("--seconds", type=float, default=0.35)
    parser.add_argument("--settings", type=json.loads, help="length: [batch size, side by side]")
    args = parser.parse_args()

    lengths = np.load(args.lengths)
    spread = np.quantile(lengths, np.linspace(0, 1, args.points), method="nearest")
    bound = Bound(args.graph, args.threads, args.seconds)
    found = {}
    for length in sorted({int(n) for n in spread}):
        if args.settings:
            size, side = args.settings[str(length)]
            found[length] = bound.seconds_per_text(length, (size, side)), (size, side)
        else:
            found[length] = bound.best(length)
    seconds = {n: s for n, (s, _) in found.items()}
    clock.say(
        {
            "encode_s": total(lengths, seconds),
            "settings": {n: setting for n, (_, setting) in found.items()},
            "per_text_ms": {n: round(1000 * s, 3) for n, s in seconds.items()},
        }
    )


if __name__ == "__main__":
    main()
