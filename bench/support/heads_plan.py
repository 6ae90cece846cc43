"""What ``bench/heads.py`` measures, and how much of it."""

from dataclasses import dataclass

from bench.support.generator import Recipe

SEPARATIONS = {10: 0.15, 100: 0.3, 1000: 1.0}
"""Classes → length of their means: about .76, .88 and .9 of the test rows can be told apart."""


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of a problem, and the width and classes of one that is drawn."""

    train: int
    test: int
    dim: int
    classes: int

    @property
    def recipe(self) -> Recipe:
        return Recipe(self.dim, self.classes, SEPARATIONS[self.classes])


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of one run.

    Attributes
    ----------
    threads : tuple of int
        BLAS threads, or processes, of both sides; each is measured.
    rounds : int
        Turns of every tool.
    texts, images : int
        Training rows of the real problems, all other rows being test rows; 0 leaves one out.
    paths, ridges : tuple of Size
        Problems drawn for the C path and the ridge path.
    single, large : Size
        For one fit beside a peer's, and for one that only has to fit in memory.
    tolerances : tuple of float
        At which the peer is tried until its objective is no worse than ours.
    conformal : int
        Training rows of the heads whose sets are counted.
    splits : int
        Of them, and of small test sets.
    """

    threads: tuple[int, ...]
    rounds: int
    texts: int
    images: int
    paths: tuple[Size, ...]
    ridges: tuple[Size, ...]
    single: Size
    large: Size
    tolerances: tuple[float, ...]
    conformal: int
    splits: int


FULL = Plan(
    threads=(1, 2),
    rounds=3,
    texts=10_000,
    images=3_000,
    paths=(Size(10_000, 5_000, 384, 10), Size(10_000, 5_000, 384, 100)),
    ridges=(Size(10_000, 5_000, 384, 10), Size(20_000, 5_000, 768, 100)),
    single=Size(20_000, 5_000, 768, 100),
    large=Size(100_000, 5_000, 768, 1000),
    tolerances=(1e-4, 1e-5, 1e-6),
    conformal=2_000,
    splits=20,
)
QUICK = Plan(
    threads=(1,),
    rounds=1,
    texts=1_000,
    images=0,
    paths=(Size(1_000, 4_000, 128, 10), Size(2_000, 4_000, 128, 100)),
    ridges=(Size(2_000, 4_000, 128, 10),),
    single=Size(2_000, 1_000, 128, 100),
    large=Size(10_000, 1_000, 128, 1000),
    tolerances=(1e-4, 1e-5),
    conformal=1_000,
    splits=5,
)
