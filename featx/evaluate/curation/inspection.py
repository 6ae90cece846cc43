"""What an inspection of a set found; rows are numbers of the set's rows."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from featx.types import Rows


def _no_rows() -> Rows:
    return np.empty(0, np.int64)


def _no_shares() -> NDArray[np.float64]:
    return np.empty(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectedLabels:
    """Rows whose label is probably wrong, the least likely label first.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
    suggested : ndarray of int64, shape (K,)
        The class that each probably is, a number of `Inspection.classes`.
    confidence : ndarray of float64, shape (K,)
        One minus the held-out probability of the label as given.
    """

    rows: Rows = field(default_factory=_no_rows)
    suggested: Rows = field(default_factory=_no_rows)
    confidence: NDArray[np.float64] = field(default_factory=_no_shares)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroup:
    """Rows that are the same or nearly so.

    Attributes
    ----------
    rows : ndarray of int64, shape (k,), k >= 2
        Ascending.
    similarities : ndarray of float64, shape (k,)
        Cosine of each to the nearest other one of the group.
    is_exact : bool
        Whether all have the same contents.
    labels_differ : bool
        Whether two of them have different labels.
    """

    rows: Rows
    similarities: NDArray[np.float64]
    is_exact: bool
    labels_differ: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """Rows of val or test that are nearly rows of an earlier split: train comes before val.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
        Of val or test, ascending.
    others : ndarray of int64, shape (K,)
        The nearest row of an earlier split to each.
    similarities : ndarray of float64, shape (K,)
        Their cosine.
    earlier : ndarray of int64
        All rows of an earlier split that are nearly a row of a later one, ascending: without these
        nothing leaks.
    """

    rows: Rows = field(default_factory=_no_rows)
    others: Rows = field(default_factory=_no_rows)
    similarities: NDArray[np.float64] = field(default_factory=_no_shares)
    earlier: Rows = field(default_factory=_no_rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """Rows that are less like their nearest neighbours than nearly all are.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
        The strangest first.
    likeness : ndarray of float64, shape (K,)
        Mean cosine to the five nearest other rows.
    """

    rows: Rows = field(default_factory=_no_rows)
    likeness: NDArray[np.float64] = field(default_factory=_no_shares)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class MislabelledCluster:
    """Rows that lie together and share a label which all others contradict.

    Attributes
    ----------
    rows : ndarray of int64, shape (k,)
        Ascending.
    label : str
        That they share.
    suggested : str
        The class that they are when the whole cluster is left out.
    confidence : float
        One minus the mean probability of their label.
    """

    rows: Rows
    label: str
    suggested: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Two classes that are taken for each other.

    Attributes
    ----------
    first, second : str
    times : int
        Rows of either that are taken for the other.
    share : float
        Of the rows of both.
    """

    first: str
    second: str
    times: int
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """How many rows each class has.

    Attributes
    ----------
    counts : dict of str to int
        The largest class first.
    unlabelled : int
        Rows without a label.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unlabelled: int = 0

    @property
    def ratio(self) -> float:
        """Rows of the largest class for each row of the smallest; 1 where there is no class."""
        sizes = list(self.counts.values())
        return sizes[0] / sizes[-1] if sizes else 1.0

    @property
    def small(self) -> tuple[str, ...]:
        """Classes of fewer than five rows, of which hardly anything can be said."""
        return tuple(name for name, count in self.counts.items() if count < SMALL)


SMALL = 5
"""A class of fewer rows is too small to be judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What an inspection of a set of N rows found.

    Attributes
    ----------
    n : int
        Rows of the set, N.
    classes : tuple of str
        Names by code; empty where labels could not be judged, and a note says why.
    confidence : ndarray of float64, shape (N,)
        Probability of a row's own label by a head that saw neither the row nor its near
        duplicates; NaN where it was not judged.
    predicted : ndarray of int64, shape (N,)
        The likeliest class, -1 where it was not judged.
    likeness : ndarray of float64, shape (N,)
        Mean cosine to the five nearest other rows; NaN where the vector is not finite or alone.
    accuracy : float or None
        Share of the distinct judged rows whose label is the likeliest class.
    interval : tuple of two floats, or None
        Its 95 % interval.
    distinct : int
        Judged rows, near duplicates counted once.
    suspects : SuspectedLabels
    duplicates : tuple of DuplicateGroup
        The largest first.
    leaks : Leaks
    outliers : Outliers
    clusters : tuple of MislabelledCluster
        The surest first.
    overlaps : tuple of Overlap
        The largest share first.
    balance : Balance
    not_doubted : str
        Why no label could be doubted, in a sentence, so that there are neither suspects nor
        clusters; empty where labels were.
    unfit : ndarray of int64
        Rows whose vectors are NaN or infinite; nothing is said of them.
    notes : tuple of str
        What else a person should know.
    """

    n: int
    classes: tuple[str, ...]
    confidence: NDArray[np.float64]
    predicted: Rows
    likeness: NDArray[np.float64]
    accuracy: float | None
    interval: tuple[float, float] | None
    distinct: int
    suspects: SuspectedLabels
    duplicates: tuple[DuplicateGroup, ...]
    leaks: Leaks
    outliers: Outliers
    clusters: tuple[MislabelledCluster, ...]
    overlaps: tuple[Overlap, ...]
    balance: Balance
    not_doubted: str = ""
    unfit: Rows
    notes: tuple[str, ...]
