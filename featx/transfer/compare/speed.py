"""How many items a second backbones embed, each on the same items."""

from collections.abc import Callable, Sequence

from featx.transfer.compare.contestant import Contestant
from featx.types import Content

FEW, MOST_TIMED = 16, 256
TIMED_S = 1.0
"""So many seconds' work of the slowest tells how fast all are: `FEW` items to `MOST_TIMED`."""

TURN = 0.25
"""Of the time that is left a turn is planned to take so much; there are three."""


def items_per_s(
    contestants: Sequence[Contestant],
    contents: Callable[[], Sequence[Content]],
    *,
    left_s: Callable[[], float] = lambda: float("inf"),
) -> list[float]:
    """Return how many items a second each backbone embeds on this machine.

    Some items are encoded for this alone, whatever the cache holds, in turns: one, which opens the
    graphs, then a few, then twice about a second's work of the slowest.  The faster of the last
    two counts, so that the first backbone does not pay for reading files that the next ones find
    in memory.

    Parameters
    ----------
    contestants : sequence of Contestant
    contents : callable
        Gives typical contents; called if there is time.
    left_s : callable, optional
        Tells the seconds that are left.  Turns are planned by it.  Where none are left no further
        backbone is asked, and all speeds are 0.
    """
    unknown = [0.0] * len(contestants)
    if left_s() == 0:
        return unknown
    typical = contents()

    def turn(size: int) -> list[float]:
        """Return the seconds that each takes; none if time is over."""
        seconds = []
        for each in contestants:
            if left_s() == 0:
                return []
            seconds.append(each.encode_s(typical[:size]))
        return seconds

    size = 1
    for _ in range(2):
        seconds = turn(size)
        if not seconds:
            return unknown
        size = _planned(size, seconds, left_s())
    both = [turn(size), turn(size)]
    if not all(both):
        return unknown
    n = min(size, len(typical))
    return [n / min(seconds) for seconds in zip(*both, strict=True)]


def _planned(size: int, seconds: Sequence[float], left_s: float) -> int:
    """Return how many items the next turn has, where one of `size` took so many seconds."""
    wanted = min(max(FEW, size * TIMED_S / max(seconds)), MOST_TIMED)
    return max(1, int(min(wanted, TURN * left_s * size / sum(seconds))))
