"""What ``bench/knn.py`` measures, and how much of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run.

    Attributes
    ----------
    threads : tuple of int
        Of both sides; each is measured.
    rounds : int
        Turns of every tool.
    rows, million : int
        Vectors of the galleries that are compared, and of the large one.
    batches : tuple of int
        Queries of the small batches.
    adds : int
        Items added one by one.
    growth : tuple of int
        Sizes of the galleries whose cost is plotted.
    """

    threads: tuple[int, ...]
    rounds: int
    rows: int
    million: int
    batches: tuple[int, ...]
    adds: int
    growth: tuple[int, ...]


FULL = Plan(
    threads=(1, 2),
    rounds=3,
    rows=100_000,
    million=1_000_000,
    batches=(32, 64, 128, 200, 333),
    adds=10_000,
    growth=(10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000),
)
QUICK = Plan(
    threads=(2,),
    rounds=1,
    rows=20_000,
    million=50_000,
    batches=(32, 333),
    adds=500,
    growth=(),
)
