"""Frozen and tuned side by side, on rows that neither was fitted to."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.interval import wilson_interval
from featx.evaluate.metrics import log_loss
from featx.evaluate.paired import Paired
from featx.heads.calibration import fit_temperature, softmax


@dataclass(frozen=True, slots=True)
class Scored:
    """What a candidate says of rows with a known class.

    Attributes
    ----------
    logits : ndarray, shape (N, C)
    y : ndarray of int64, shape (N,)
    """

    logits: NDArray[Any]
    y: NDArray[np.int64]

    @property
    def hits(self) -> NDArray[np.bool_]:
        """Whether the likeliest class is the true one, (N,)."""
        return np.asarray(self.logits.argmax(axis=1) == self.y)

    @property
    def accuracy(self) -> float:
        """Share of hits."""
        return float(self.hits.mean())

    @property
    def log_loss(self) -> float:
        """Mean log loss at the temperature that suits these rows best."""
        wide = self.logits.astype(np.float64)
        return abs(log_loss(softmax(wide / fit_temperature(self.logits, self.y)), self.y))

    @property
    def raw_log_loss(self) -> float:
        """Mean log loss of the logits as they are."""
        return abs(log_loss(softmax(self.logits.astype(np.float64)), self.y))

    def facts(self) -> dict[str, Any]:
        """Return accuracy with its interval, and the log loss, as JSON values."""
        interval = wilson_interval(int(self.hits.sum()), len(self.y))
        return {
            "accuracy": self.accuracy,
            "interval": list(interval),
            "log_loss": self.log_loss,
            "n": len(self.y),
        }


@dataclass(frozen=True, slots=True)
class Gain(Paired):
    """By how much a tuned candidate is better than a frozen one on the same rows."""

    @classmethod
    def between(cls, frozen: Scored, tuned: Scored) -> Self:
        """Compare row by row."""
        return cls.of(frozen.hits, tuned.hits)

    def sentence(self) -> str:
        """Return what the difference is worth, in words."""
        low, high = (100 * end for end in self.interval)
        points = f"{100 * self.difference:+.1f} points [{low:+.1f}, {high:+.1f}]"
        if self.difference <= 0:
            return f"fine-tuning did not help: {points} on {self.n:,} rows"
        if low <= 0:
            return f"{points} on {self.n:,} rows: the gain may be chance"
        return f"{points} on {self.n:,} rows: more than chance would give"
