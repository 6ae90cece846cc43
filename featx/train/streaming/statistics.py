"""What a worker reads of a segment: sums that add up, and rows of the sample.

A set is read twice at most.  The first time gives the moments that ridge, lda and the distances of
novel items are solved from, D x D numbers.  The second time, with the solutions at hand, how well
each penalty of ridge does on each row without that row, and the sums of the nearest class mean.
Either adds up over segments, and is the same however the set is cut, up to rounding.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, measure_classes
from featx.heads.ridgepath import RidgePath
from featx.index.metric import unit_rows
from featx.train.streaming.plan import Block, Part, Plan, labelled_blocks
from featx.types import Rows, Vectors

MOST_DIGESTS = 1_000_000
"""Items whose digests a head holds, 32 bytes each, so that it is not scored on them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Some rows of a set that stand for all, in its order.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the set.
    X : ndarray of float32, shape (n, D)
    codes : ndarray of int64, shape (n,)
    ids : list of str
    digests : list of str
        Hexadecimal; empty where an item has none.
    """

    rows: Rows
    X: Vectors
    codes: NDArray[np.int64]
    ids: list[str]
    digests: list[str]

    @classmethod
    def of(cls, block: Block, kept: NDArray[np.bool_]) -> "Sample":
        """Return some rows of a block."""
        chosen = np.flatnonzero(kept)
        columns = [block.facts.column(name).take(chosen).to_pylist() for name in ("id", "digest")]
        return cls(
            rows=block.rows[kept],
            X=np.array(block.X[kept]),
            codes=block.codes[kept],
            ids=[str(value) for value in columns[0]],
            digests=[str(value or "") for value in columns[1]],
        )

    @classmethod
    def joined(cls, samples: Iterable["Sample"]) -> "Sample":
        """Return the rows of all, in the order of the set."""
        each = sorted((s for s in samples if len(s.rows)), key=lambda s: int(s.rows[0]))
        return cls(
            rows=np.concatenate([s.rows for s in each]),
            X=np.concatenate([s.X for s in each]),
            codes=np.concatenate([s.codes for s in each]),
            ids=[value for s in each for value in s.ids],
            digests=[value for s in each for value in s.digests],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What the first reading gives of some rows; two add up with ``+``.

    Attributes
    ----------
    moments : Moments or None
        Of rows and the indicators of their classes; None where there is no row.
    samples : tuple of Sample
    digests : tuple of (int, ndarray of uint8)
        Of all rows, by blocks (n, 32) with the number of their first row; none where there are
        too many.
    unfit : int
        Rows that do not count since their vectors are not finite.
    first_unfit : int
        Number of the first of them.
    """

    moments: Moments | None = None
    samples: tuple[Sample, ...] = ()
    digests: tuple[tuple[int, NDArray[np.uint8]], ...] = ()
    unfit: int = 0
    first_unfit: int = sys.maxsize

    def all_digests(self) -> NDArray[np.uint8]:
        """Return the digests of all rows, in the order of the set, (N, 32); (0, 32) of too many."""
        each = [digests for _, digests in sorted(self.digests, key=lambda pair: pair[0])]
        return np.concatenate([np.empty((0, 32), np.uint8), *each])

    @classmethod
    def joined(cls, several: Iterable["Statistics"]) -> "Statistics":
        """Return the sum of several, in time that grows with their number."""
        whole = cls()
        samples: list[Sample] = []
        digests: list[tuple[int, NDArray[np.uint8]]] = []
        for each in several:
            samples += each.samples
            digests += each.digests
            whole = whole + replace(each, samples=(), digests=())
        return replace(whole, samples=tuple(samples), digests=tuple(digests))

    def __add__(self, other: "Statistics") -> "Statistics":
        """Return the statistics of both sets of rows together."""
        both = [each for each in (self.moments, other.moments) if each is not None]
        return Statistics(
            moments=reduce(Moments.plus, both) if both else None,
            samples=self.samples + other.samples,
            digests=self.digests + other.digests,
            unfit=self.unfit + other.unfit,
            first_unfit=min(self.first_unfit, other.first_unfit),
        )


def statistics_of_segment(part: Part, plan: Plan) -> Statistics:
    """Return the sums of the rows of a segment that count, and those that are in the sample.

    Raises
    ------
    StoreError
        If a file of the segment is missing or damaged.
    """
    found = (_statistics(block, plan) for block in labelled_blocks(part, plan))
    return Statistics.joined(found)


def _statistics(block: Block, plan: Plan) -> Statistics:
    unfit = Statistics()
    if len(block.unfit):
        unfit = Statistics(unfit=len(block.unfit), first_unfit=int(block.unfit[0]))
    if not len(block.rows):
        return unfit
    kept = plan.is_sampled(block.rows)
    return replace(
        unfit,
        moments=measure_classes(block.X, block.codes, len(plan.classes)),
        samples=(Sample.of(block, kept),) if kept.any() else (),
        digests=((int(block.rows[0]), _digests(block)),) if plan.used <= MOST_DIGESTS else (),
    )


def _digests(block: Block) -> NDArray[np.uint8]:
    hexes = block.facts.column("digest").to_pylist()
    raw = b"".join(bytes.fromhex(each or "").ljust(32, b"\0")[:32] for each in hexes)
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """What the first reading gave, as the second one needs it.

    Attributes
    ----------
    path : RidgePath or None
        None where no ridge is asked for.
    centre : ndarray of float32, shape (D,), or None
        Mean of all rows; None where no nearest class mean is asked for.
    """

    path: RidgePath | None
    centre: Vectors | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """What the second reading gives of some rows; two add up with ``+``.

    Attributes
    ----------
    hits : ndarray of float64, shape (L,)
        Rows that each penalty of ridge gets right, each by the model of all other rows.
    errors : ndarray of float64, shape (L, C)
        Sums of their squared errors.
    sums : ndarray of float64, shape (C, D)
        Sums of the rows of each class, centred and scaled to length one.
    """

    hits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(()))
    errors: NDArray[np.float64] = field(default_factory=lambda: np.zeros(()))
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros(()))

    def __add__(self, other: "Scores") -> "Scores":
        """Return the scores of both sets of rows together."""
        return Scores(
            hits=self.hits + other.hits,
            errors=self.errors + other.errors,
            sums=self.sums + other.sums,
        )


def scores_of_segment(part: Part, plan: Plan, solved: Solved) -> Scores:
    """Return how the solutions do on the rows of a segment that count.

    Raises
    ------
    StoreError
        If a file of the segment is missing or damaged.
    """
    found = (_scores(block, plan, solved) for block in labelled_blocks(part, plan))
    return reduce(add, found, Scores())


def _scores(block: Block, plan: Plan, solved: Solved) -> Scores:
    if not len(block.rows):
        return Scores()
    scores = Scores()
    if solved.path is not None:
        left_out = solved.path.leave_one_out(block.X, None, codes=block.codes, sign=2)
        scores = replace(scores, hits=left_out.hits, errors=left_out.errors)
    if solved.centre is not None:
        sums = np.zeros((len(plan.classes), block.X.shape[1]))
        np.add.at(sums, block.codes, unit_rows(block.X - solved.centre))
        scores = replace(scores, sums=sums)
    return scores
