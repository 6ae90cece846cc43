"""Samples that wait to be encoded, and the batches that are cut from them."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf

from featx.types import Sample

LEAST_FILL = 0.8
"""A part is padded to at most 1 / 0.8 of its own cost; below that a smaller batch is cheaper."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a batch may be.

    Attributes
    ----------
    budget : int
        Most cost of a batch, once each of its parts is padded to the costliest.
    parts : int
        Most parts.  A sample over either limit gets a batch of its own.
    """

    budget: int
    parts: int

    def halved(self) -> "Limits":
        """Return half of both, at least 1."""
        return Limits(max(1, self.budget // 2), max(1, self.parts // 2))


class Window:
    """Samples that wait, sorted by cost; the one that came first is never left behind.

    Examples
    --------
    >>> import numpy as np
    >>> window = Window()
    >>> for position, cost in enumerate([2, 9, 3, 8]):
    ...     window.add(position, Sample(inputs={"x": np.zeros((1, cost))}, cost=cost))
    >>> [window.take(Limits(budget=18, parts=4)) for _ in range(2)]
    [[0], [3, 1]]
    >>> len(window)
    1
    """

    def __init__(self) -> None:
        self._order: list[tuple[int, int]] = []
        self._samples: dict[int, Sample] = {}
        self._arrivals: list[int] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, position: int, sample: Sample) -> None:
        """Let the sample at `position` of the source wait."""
        insort(self._order, (sample.cost, position))
        heappush(self._arrivals, position)
        self._samples[position] = sample

    def samples(self) -> list[Sample]:
        """Return what waits, in the order it came."""
        return [self._samples[position] for position in sorted(self._samples)]

    def take(self, limits: Limits) -> list[int]:
        """Return the positions of the next batch: the oldest sample and those most like it."""
        while self._arrivals[0] not in self._samples:
            heappop(self._arrivals)
        oldest = self._arrivals[0]
        at = bisect_left(self._order, (self._samples[oldest].cost, oldest))
        first, last = self._grow(at, limits)
        taken = [position for _, position in self._order[first:last]]
        del self._order[first:last]
        for position in taken:
            del self._samples[position]
        return taken

    def _grow(self, at: int, limits: Limits) -> tuple[int, int]:
        """Return the slice of the order around `at` that fills a batch."""
        first, last, parts = at, at + 1, self._parts(at)
        while True:
            low, high = self._order[first][0], self._order[last - 1][0]
            below = low - self._order[first - 1][0] if first else inf
            above = self._order[last][0] - high if last < len(self._order) else inf
            if min(below, above) == inf:
                return first, last
            first_, last_ = (first, last + 1) if above <= below else (first - 1, last)
            parts += self._parts(last if above <= below else first_)
            low, high = self._order[first_][0], self._order[last_ - 1][0]
            if low < LEAST_FILL * high or parts > limits.parts or parts * high > limits.budget:
                return first, last
            first, last = first_, last_

    def _parts(self, at: int) -> int:
        return self._samples[self._order[at][1]].parts


def padded_cost(samples: Sequence[Sample]) -> int:
    """Return the cost of a batch, padding included."""
    return max(sample.cost for sample in samples) * sum(sample.parts for sample in samples)
