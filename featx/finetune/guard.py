"""Whether training goes astray: a loss that grows, or is no number."""

import math
from collections import deque

DIVERGED = 3.0
"""Times the loss at the start, from which training is given up."""

FIRST_STEPS = 3
"""Steps whose losses are those of the start: the learning rate is still near 0."""

SMOOTHED = 10
"""Steps that are averaged before a loss counts as too large: one hard batch is no divergence."""


class Guard:
    """Watches the losses of one training run.

    Parameters
    ----------
    start : float
        Mean loss at the start, of rows that the head was not solved for.  Training rows may begin
        far below it, and rise without harm.
    """

    def __init__(self, start: float) -> None:
        self._start = start
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=SMOOTHED)

    def problem(self, loss: float) -> str:
        """Take the loss of a step; return why training is to stop, or nothing.

        Examples
        --------
        >>> guard = Guard(start=0.5)
        >>> guard.problem(0.4), guard.problem(float("nan"))
        ('', 'the loss is not a number')
        """
        if not math.isfinite(loss):
            return "the loss is not a number"
        if len(self._first) < FIRST_STEPS:
            self._first.append(loss)
        start = max(self._start, sum(self._first) / len(self._first))
        self._last.append(loss)
        mean = sum(self._last) / len(self._last)
        if len(self._last) == SMOOTHED and mean > DIVERGED * start:
            return f"the loss grew to {mean:.3g}, more than {DIVERGED:g} times that at the start"
        return ""
