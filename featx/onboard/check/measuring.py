"""How large a new backbone is, and how fast it is here."""

import time
from collections.abc import Sequence
from typing import Any

from featx.backbone.backbone import Backbone
from featx.backbone.runtime import runtime_version
from featx.onboard.check.trials import cut
from featx.types import Sample

TOKENS = 64
"""Of the texts that are timed, if they may be so long."""

BATCH = 8

ENOUGH_S = 0.2
"""Batches are repeated for so long; the fastest counts, since other programs only slow it down."""

UNITS = {"image": "images", "audio": "sounds", "array": "arrays"}


def measure(backbone: Backbone, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return size and speed on this machine's CPU, for `Manifest.measured`.

    Items per second are those of a batch of 8: texts of at most 64 tokens, others as they are.
    """
    manifest, timed = backbone.manifest, list(samples)
    unit = UNITS.get(manifest.modality, "items")
    if manifest.modality == "text":
        longest = max(samples, key=lambda sample: sample.cost)
        short = cut(longest, min(TOKENS, longest.inputs["token_ids"].shape[1]))
        padded = backbone.modality.collate([short])["token_ids"].shape[1]
        timed, unit = [short], f"texts_of_{padded}_tokens"
    batch = [timed[i % len(timed)] for i in range(BATCH)]
    return {
        "threads": backbone.settings.all_threads,
        "runtime": f"onnxruntime {runtime_version()}",
        f"{unit}_per_s": float(f"{BATCH / _fastest(backbone, batch):.3g}"),
        "files_bytes": sum(entry.size_bytes for entry in manifest.files.values()),
    }


def _fastest(backbone: Backbone, batch: Sequence[Sample]) -> float:
    """Return the seconds that a batch takes."""
    fastest, spent = float("inf"), 0.0
    while spent < ENOUGH_S:
        start = time.perf_counter()
        backbone.encode_samples(batch)
        took = time.perf_counter() - start
        fastest, spent = min(fastest, took), spent + took
    return max(fastest, 1e-9)
