"""How much is measured."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run of ``bench/encode.py``.

    Attributes
    ----------
    threads, rounds : int
    texts, images : int
        Items of the corpora.
    swept : int
        Items that a peer's settings are tried on.
    points : int
        Lengths at which the bound of texts is measured.
    seconds : float
        How long each of its measurements lasts.
    """

    threads: int
    rounds: int
    texts: int
    images: int
    swept: int
    points: int
    seconds: float


FULL = Plan(threads=2, rounds=3, texts=2000, images=1500, swept=240, points=14, seconds=0.35)
QUICK = Plan(threads=2, rounds=2, texts=400, images=150, swept=40, points=8, seconds=0.12)
