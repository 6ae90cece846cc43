"""Frozen and tuned side by side, on rows that neither was fitted to."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.interval import wilson_interval
from featx.evaluate.metrics import log_loss
from featx.heads.calibration import fit_temperature, softmax

# Standard normal quantile of 97.5 %.
_Z95 = 1.959963984540054


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
class Gain:
    """By how much the second of two candidates is better on the same rows.

    Attributes
    ----------
    n : int
        Rows.
    wins, losses : int
        Rows that only the second, or only the first, gets right.
    """

    n: int
    wins: int
    losses: int

    @classmethod
    def between(cls, frozen: Scored, tuned: Scored) -> "Gain":
        """Compare row by row."""
        wins = int((tuned.hits & ~frozen.hits).sum())
        losses = int((frozen.hits & ~tuned.hits).sum())
        return cls(len(frozen.y), wins, losses)

    @property
    def difference(self) -> float:
        """Accuracy gained."""
        return (self.wins - self.losses) / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the difference, of matched pairs (Agresti and Min 2005).

        Half a row is added to each kind of pair, which keeps the coverage where pairs that differ
        are few.

        Examples
        --------
        >>> [round(end, 3) for end in Gain(100, wins=9, losses=3).interval]
        [-0.01, 0.127]
        """
        n, apart, moved = self.n + 2, self.wins + self.losses + 1, self.wins - self.losses
        half = _Z95 * math.sqrt(apart - moved**2 / n) / n
        low, high = moved / n - half, moved / n + half
        return max(-1.0, min(low, self.difference)), min(1.0, max(high, self.difference))

    def facts(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "accuracy": self.difference,
            "interval": list(self.interval),
            "n": self.n,
            "wins": self.wins,
            "losses": self.losses,
        }

    def sentence(self) -> str:
        """Return what the difference is worth, in words."""
        low, high = (100 * end for end in self.interval)
        points = f"{100 * self.difference:+.1f} points [{low:+.1f}, {high:+.1f}]"
        if self.difference <= 0:
            return f"fine-tuning did not help: {points} on {self.n:,} rows"
        if low <= 0:
            return f"{points} on {self.n:,} rows: the gain may be chance"
        return f"{points} on {self.n:,} rows: more than chance would give"
