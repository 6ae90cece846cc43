"""Reading the batches of a fine-tuning problem; imports nothing of ours, as `clock` does not."""

import json
from pathlib import Path
from typing import Any

import numpy as np

Batch = dict[str, np.ndarray]


def read(folder: Path) -> tuple[dict[str, Any], list[Batch]]:
    """Return the facts of a problem and its batches: values, mask, targets and weights."""
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    batches = []
    for number in range(facts["batches"]):
        with np.load(folder / f"batch-{number:02}.npz") as file:
            batches.append({name: file[name] for name in file})
    return facts, batches
