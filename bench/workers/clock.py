"""What the workers share: reading a corpus, timing, and the one line that a worker prints.

Workers run as plain scripts in the peers' environments, so this file imports nothing of ours.
"""

import json
import os
import resource
import time
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import numpy as np

PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)


def cpu_s() -> float:
    """Return the CPU seconds of this process and of its children that have ended."""
    usages = [resource.getrusage(who) for who in PROCESSES]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def corpus_items(path: Path) -> list[str]:
    """Return the texts of a JSONL file, or the paths of a folder's images."""
    if path.is_dir():
        return [str(image) for image in sorted(path.iterdir())]
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines()]


def encode(run: Callable[[], np.ndarray], out: Path) -> dict[str, Any]:
    """Time one run from reading the corpus to the saved array."""
    started_s, cpu_before_s = time.perf_counter(), cpu_s()
    X = run()
    with out.open("wb") as file:
        np.save(file, X)
        file.flush()
        os.fsync(file.fileno())
    ended_s = time.perf_counter()
    forkserver._forkserver._stop()  # waits for it, so that its children's CPU time is known
    return {
        "items": len(X),
        "encode_s": ended_s - started_s,
        "encode_cpu_s": cpu_s() - cpu_before_s,
    }


def sweep(settings: list[dict[str, Any]], run: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
    """Return items a second for each setting; `run` says how fast one was."""
    return {"rates": [run(setting) for setting in settings]}


def say(found: dict[str, Any]) -> None:
    """Print the result as the last line of stdout."""
    print(json.dumps(found), flush=True)
