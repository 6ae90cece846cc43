"""Where the time of an embedding run went."""

from dataclasses import asdict, dataclass
from typing import Any

BUSY = 0.9
"""Share of their time that threads work from which they count as the bottleneck."""

WASTE = 0.15
"""Share of padding from which it is worth a word."""


@dataclass(slots=True)
class Timings:
    """Where the time of a run went, in seconds.

    Attributes
    ----------
    wall_s : float
        From the first item to the last.
    wait_decode_s : float
        An encoder had nothing to do, since no sample was ready.
    wait_device_s : float
        All encoders were busy, and the scheduler waited for them.
    wait_source_s : float
        Items were listed, and looked up in the set and the cache.
    wait_write_s : float
        The caller worked on what it was given: it committed vectors.
    load_s, encode_s : float
        Work of the loaders and of the encoders, summed over threads.
    loaders, encoders : int
        Threads.
    cost, padded_cost : int
        Of all batches, without and with padding.
    batches : int
    device : str
        Where the encoders run.
    """

    wall_s: float = 0.0
    wait_decode_s: float = 0.0
    wait_device_s: float = 0.0
    wait_source_s: float = 0.0
    wait_write_s: float = 0.0
    load_s: float = 0.0
    encode_s: float = 0.0
    loaders: int = 0
    encoders: int = 0
    cost: int = 0
    padded_cost: int = 0
    batches: int = 0
    device: str = ""

    @property
    def padding_share(self) -> float:
        """Share of the encoded cost that was padding, 0 to 1."""
        return 1 - self.cost / self.padded_cost if self.padded_cost else 0.0

    def facts(self) -> dict[str, Any]:
        """Return all of it as JSON values, seconds to the millisecond."""
        facts = asdict(self) | {"padding_share": self.padding_share}
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in facts.items()}

    def report(self) -> list[str]:
        """Return lines for people: where the time went, and what to change."""
        wall_s = max(self.wall_s, 1e-9)
        encoding = self.encode_s / (wall_s * max(self.encoders, 1))
        loading = self.load_s / (wall_s * max(self.loaders, 1))
        return [
            f"{self.wall_s:.1f} s: wait-source {self.wait_source_s / wall_s:.0%}, "
            f"wait-decode {self.wait_decode_s / wall_s:.0%}, "
            f"wait-device {self.wait_device_s / wall_s:.0%}, "
            f"wait-write {self.wait_write_s / wall_s:.0%}",
            f"encoding: {self.encoders} threads on {self.device or 'cpu'} busy {encoding:.0%} of "
            f"the time, {self.batches:,} batches, {self.padding_share:.1%} padding",
            f"loading: {self.loaders} threads busy {loading:.0%} of the time",
            f"advice: {self._advice(encoding, loading, self.wait_write_s / wall_s)}",
        ]

    def _advice(self, encoding: float, loading: float, writing: float) -> str:
        wait = {
            "source": self.wait_source_s,
            "decode": self.wait_decode_s,
            "device": self.wait_device_s,
        }
        limits = [
            (not self.batches, "nothing was encoded"),
            (writing > 1 - BUSY, "writing is the limit: a faster disk for the set and the cache"),
            (
                max(wait, key=lambda stage: wait[stage]) == "source",
                "listing is the limit: tars and tables that are not compressed are faster",
            ),
            (self.padding_share > WASTE, "much is padding: try a smaller --batch-size"),
            (
                encoding >= BUSY or wait["decode"] < wait["device"],
                "the model is the limit: a GPU, a smaller one, or for texts --precision int8",
            ),
            (loading >= BUSY, "decoding is the limit: --preprocess fast for JPEGs, or --loaders"),
        ]
        advice = (text for is_so, text in limits if is_so)
        idle = "too few items, or too large a --batch-size, to keep all threads busy"
        busy = "reading is the limit: a faster disk, or more --loaders"
        return next(advice, idle if loading < 1 - BUSY else busy)
