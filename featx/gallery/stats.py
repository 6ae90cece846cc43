"""Figures of a gallery."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from featx.gallery.base import Base
from featx.gallery.snapshot import Snapshot


def describe(path: Path, snapshot: Snapshot, fold_error: str | None) -> dict[str, Any]:
    """Return the figures of `Gallery.stats`."""
    facts, base = snapshot.base.facts, snapshot.base
    metrics, counts = facts["metrics"], snapshot.label_counts
    return {
        "items": len(snapshot),
        "removed": len(base) + snapshot.recent.count - len(snapshot),
        "blanked": (facts["removed"] or {"blanked": 0})["blanked"],
        "pending": snapshot.pending,
        "changes": int(facts["changes"]) + snapshot.pending,
        "parts": len(facts["parts"]),
        "standalone": all(part["vectors"] is not None for part in facts["parts"]),
        "generation": base.generation,
        "model": facts["model"],
        "dim": base.stack.dim,
        "metric": snapshot.metric,
        "kind": facts["index"]["kind"],
        "settings": facts["index"]["settings"],
        "recall": metrics["recall"],
        "latency_ms": metrics["latency_ms"],
        "accuracy": metrics["accuracy"],
        "k": facts["k"],
        "temperature": facts["temperature"],
        "classes": counts,
        "labelled": sum(counts.values()),
        "disk_bytes": _size_bytes(path),
        "index_bytes": _index_bytes(base),
        "fold_error": fold_error,
    }


def _index_bytes(base: Base) -> int:
    """Return what the index took when it was built, in proportion to the rows since."""
    rows = int(base.facts["index"]["rows"])
    return round(base.facts["metrics"]["size_bytes"] * len(base) / rows) if rows else 0


def _size_bytes(path: Path) -> int:
    total = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):  # a fold may just delete it
            total += file.stat().st_size
    return total
