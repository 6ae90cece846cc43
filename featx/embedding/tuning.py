"""``--batch-size auto``: the best batch for a machine and model, measured once and remembered."""

import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from featx.backbone.backbone import Backbone
from featx.backbone.runtime import runtime_version
from featx.backbone.window import Limits, Window
from featx.data.files import write_json
from featx.errors import StoreError
from featx.types import Sample

NAME = "tuned.json"

LEAST_ITEMS = 5000
"""Fewer items are not worth the seconds that the measurement takes."""

LEAST_SAMPLES, MOST_SAMPLES = 32, 96
ROUNDS = 2
FACTORS = (0.5, 1.0, 2.0, 4.0)

LEAST_GAIN = 0.03
"""A budget must beat the default by this share of the time: less is noise."""


class Tuner:
    """Finds the best limits of a backbone's batches.

    Parameters
    ----------
    folder : Path or None
        The user-wide cache, which remembers; None measures once for this object.
    items : int
        Of the source.
    """

    def __init__(self, folder: Path | None, items: int) -> None:
        self._place = None if folder is None else folder / NAME
        self._items = items
        self._found: dict[str, float] = {}

    def limits(self, backbone: Backbone, samples: Sequence[Sample]) -> Limits | None:
        """Return the best limits, recalled or measured; None where the default is to be used.

        Parameters
        ----------
        backbone : Backbone
        samples : sequence of Sample
            Typical ones; at most 96 are encoded in batches of several sizes.
        """
        if not _is_free(backbone):
            return None
        factor = self._found.get(_key(backbone)) or _read(self._place).get(_key(backbone))
        if factor is None:
            if self._items < LEAST_ITEMS or len(samples) < LEAST_SAMPLES:
                return None
            factor = _measured(backbone, samples[:MOST_SAMPLES])
            if factor is None:
                return None
            self._remember(backbone, factor)
        return _scaled(backbone.limits, factor)

    def _remember(self, backbone: Backbone, factor: float) -> None:
        self._found[_key(backbone)] = factor
        if self._place is None:
            return
        try:
            self._place.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._place, _read(self._place) | {_key(backbone): factor})
        except (OSError, StoreError):
            return


def _measured(backbone: Backbone, samples: Sequence[Sample]) -> float | None:
    """Return by which factor of the default batches are encoded fastest; None if that fails."""
    _ = backbone.session  # opened here, not in two threads
    times = dict.fromkeys(FACTORS, float("inf"))
    with ThreadPoolExecutor(backbone.workers) as pool:
        for _ in range(ROUNDS):
            for factor in FACTORS:
                seconds = _timed(backbone, samples, _scaled(backbone.limits, factor), pool)
                times[factor] = min(times[factor], seconds)
    if times[1.0] == float("inf"):
        return None
    best = min(times, key=lambda factor: times[factor])
    return best if times[best] < (1 - LEAST_GAIN) * times[1.0] else 1.0


def _is_free(backbone: Backbone) -> bool:
    """Return whether the size of a batch may be chosen."""
    is_set = backbone.settings.budget is not None or backbone.settings.deterministic
    return not is_set and backbone.limits.parts > 1 and "graph" in backbone.manifest.files


def _scaled(limits: Limits, factor: float) -> Limits:
    return Limits(max(1, int(limits.budget * factor)), max(1, int(limits.parts * factor)))


def _timed(
    backbone: Backbone, samples: Sequence[Sample], limits: Limits, pool: ThreadPoolExecutor
) -> float:
    """Return the seconds that encoding takes; infinite if it fails or leaves a worker idle."""
    window = Window()
    for position, sample in enumerate(samples):
        window.add(position, sample)
    batches = []
    while window:
        batches.append([samples[position] for position in window.take(limits)])
    if len(batches) < 2 * backbone.workers:
        return float("inf")
    started_s = time.perf_counter()
    try:
        list(pool.map(backbone.encode_batch, batches))
    except Exception:  # noqa: BLE001  (the pipeline will find the item at fault)
        return float("inf")
    return time.perf_counter() - started_s


def _key(backbone: Backbone) -> str:
    graph, settings = backbone.manifest.files["graph"], backbone.settings
    threads = f"{backbone.workers}x{settings.threads_each}"
    facts = [graph.sha256[:16], backbone.precision, backbone.device, threads, runtime_version()]
    return " ".join(facts)


def _read(place: Path | None) -> dict[str, float]:
    if place is None:
        return {}
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
