"""How a backbone runs: where, with how many threads, in which precision."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from featx.backbone.window import Limits
from featx.types import Device
from featx.zoo.manifest import Precision

LIMITS = {
    "text": Limits(budget=512, parts=64),
    "image": Limits(budget=8, parts=8),
    "audio": Limits(budget=32, parts=32),
    "array": Limits(budget=1024, parts=1024),
}
"""Modality → what a batch holds on a CPU; a text's cost is its tokens, all others cost 1."""

OTHER_LIMITS = Limits(budget=1 << 20, parts=32)

GPU_FACTOR = 32
"""How many times as much a batch holds on a GPU, until its memory says otherwise."""

GPU_WORKERS = 2
"""Batches at the same time on a GPU: while one is computed, the next is copied."""

MOST_WORKERS = 8
"""Batches that are encoded at the same time on a CPU; more threads than that share them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a backbone runs.

    Attributes
    ----------
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:<n>"``.
    threads : int or None
        CPU threads; None for one a core.
    workers : int
        Batches that are encoded at the same time on a CPU; they share the threads.
    precision : {"fp32", "fp16", "int8"} or None
        None for the manifest's own.
    deterministic : bool
        Encode each item by itself, so that its vector has the same bits in any company.
    budget : int or None
        Most cost of a batch: tokens for texts, items for others; None for the default.
    cache : Path or None
        Folder in which graphs are kept that are made for a precision or device.
    """

    device: Device = "auto"
    threads: int | None = None
    workers: int = 1
    precision: Precision | None = None
    deterministic: bool = False
    budget: int | None = None
    cache: Path | None = None

    @property
    def all_threads(self) -> int:
        """CPU threads in all."""
        return self.threads or cores()

    @property
    def threads_each(self) -> int:
        """CPU threads of one batch."""
        return max(1, self.all_threads // self.workers)

    def in_bulk(self) -> "Settings":
        """Return settings for many items: one thread a batch, many batches at once.

        On two cores this encodes texts as fast as one batch with two threads, short ones up to
        a fifth faster, and leaves no thread waiting where loaders use the cores too.
        """
        each = -(-self.all_threads // MOST_WORKERS)
        return replace(self, workers=self.all_threads // each)


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limits(modality: str, settings: Settings, *, on_gpu: bool) -> Limits:
    """Return what a batch may hold."""
    usual = LIMITS.get(modality, OTHER_LIMITS)
    factor = GPU_FACTOR if on_gpu else 1
    if settings.budget is None:
        return Limits(usual.budget * factor, usual.parts * factor)
    parts = usual.parts * factor if modality == "text" else settings.budget
    return Limits(settings.budget, parts)
