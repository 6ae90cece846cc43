"""How many items a second backbones embed, each on the same items."""

from collections.abc import Callable, Sequence

from featx.transfer.compare.contestant import Contestant
from featx.types import Content

FEW, MOST_TIMED = 16, 256
TIMED_S = 1.0
"""So many seconds' work of the slowest tells how fast all are: `FEW` items to `MOST_TIMED`."""

_ROUNDS = 2


def items_per_s(
    contestants: Sequence[Contestant], contents: Callable[[], Sequence[Content]]
) -> list[float]:
    """Return how many items a second each backbone embeds on this machine.

    Where the cache held nothing it is known from the comparison itself.  Else some items are
    encoded for this alone, in turns, and the faster turn counts: a full cache makes no backbone
    fast.

    Parameters
    ----------
    contestants : sequence of Contestant
    contents : callable
        Gives typical contents; called where they are needed.
    """
    if all(each.computed >= FEW for each in contestants):
        return [each.computed / each.computed_s for each in contestants]
    typical = contents()
    few = typical[:FEW]
    for each in contestants:
        each.encode_s(few[:1])  # which opens the graph
    slowest_s = max(each.encode_s(few) for each in contestants)
    size = min(max(int(len(few) * TIMED_S / slowest_s), FEW), MOST_TIMED)
    timed = typical[:size]
    turns = [[each.encode_s(timed) for each in contestants] for _ in range(_ROUNDS)]
    return [len(timed) / min(seconds) for seconds in zip(*turns, strict=True)]
