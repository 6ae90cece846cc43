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

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments, measure
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
    chances, sums = plan.chances(), _ClassSums(len(plan.classes))
    samples: list[Sample] = []
    digests: list[tuple[int, NDArray[np.uint8]]] = []
    unfit: list[int] = []
    for block in labelled_blocks(part, plan):
        unfit += block.unfit.tolist()
        if not len(block.rows):
            continue
        sums.add(block.X, block.codes)
        kept = plan.is_sampled(block.rows, chances[block.codes])
        if kept.any():
            samples.append(Sample.of(block, kept))
        if plan.used <= MOST_DIGESTS:
            digests.append((int(block.rows[0]), _digests(block)))
    return Statistics(
        moments=sums.moments(),
        samples=tuple(samples),
        digests=tuple(digests),
        unfit=len(unfit),
        first_unfit=min(unfit, default=sys.maxsize),
    )


class _ClassSums:
    """Moments of blocks of rows and the indicators of their classes, added up in place.

    A block costs the classes that it has, however many there are.

    Parameters
    ----------
    n_classes : int
    """

    def __init__(self, n_classes: int) -> None:
        self._counts = np.zeros(n_classes)
        self._rows: Moments | None = None  # without the classes
        self._origin = self._sums = np.zeros(())  # (C, D): sums of the rows less the origin (D,)

    def add(self, X: Vectors, codes: NDArray[np.int64]) -> None:
        """Add a block of rows (n, D), n >= 1, and their classes."""
        found = measure(X, np.empty((len(X), 0)))
        if self._rows is None:
            self._origin, self._sums = found.mean, np.zeros((len(self._counts), X.shape[1]))
        self._rows = found if self._rows is None else self._rows.plus(found)
        order = np.argsort(codes, kind="stable")
        starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
        classes = codes[order][starts]
        self._sums[classes] += np.add.reduceat(X[order] - self._origin, starts, axis=0)
        self._counts[classes] += np.diff(starts, append=len(codes))

    def moments(self) -> Moments | None:
        """Return the moments of all rows; None where there is none."""
        rows = self._rows
        if rows is None:
            return None
        share = self._counts / rows.weight
        cross = self._sums + self._counts[:, None] * (self._origin - rows.mean)
        return replace(
            rows,
            target_mean=share,
            cross=np.ascontiguousarray(cross.T),
            target_square=rows.weight * share * (1 - share),
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
    scores = Scores()
    sums = np.zeros(() if solved.centre is None else (len(plan.classes), part.dim))
    for block in labelled_blocks(part, plan):
        if not len(block.rows):
            continue
        if solved.path is not None:
            left_out = solved.path.leave_one_out(block.X, None, codes=block.codes, sign=2)
            scores = scores + Scores(hits=left_out.hits, errors=left_out.errors)
        if solved.centre is not None:
            np.add.at(sums, block.codes, unit_rows(block.X - solved.centre))
    return replace(scores, sums=sums)
