"""Where the benches keep what they make: all of it below ``.bench/``, which git ignores."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".bench"
ENVIRONMENTS = HOME / "environments"
MODELS = HOME / "models"
CORPORA = HOME / "corpora"
RUNS = HOME / "runs"
WORKERS = ROOT / "bench" / "workers"
RESULTS = ROOT / "bench" / "results"
TARGETS = ROOT / "bench" / "targets.toml"


def python(environment: str) -> str:
    """Return the interpreter of a peer's environment; ours for ``"featx"``."""
    if environment == "featx":
        return sys.executable
    folder = ENVIRONMENTS / environment
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
