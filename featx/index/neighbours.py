"""Neighbours: what an index answers, and what every index can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from featx.index.metric import MetricName, checked, row_norms, unit_rows
from featx.index.stack import Stack
from featx.types import Rows, Vectors

__all__ = ["Index", "Neighbours", "checked", "merged", "row_norms", "unit_rows"]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The nearest rows of a gallery, nearest first.

    Attributes
    ----------
    similarities : ndarray of float32, shape (M, K)
        Descending; equal ones by the lower row.
    rows : ndarray of int64, shape (M, K)
        Rows of the gallery.  K is smaller than asked where the gallery is; never -1.
    """

    similarities: Vectors
    rows: Rows


def merged(answers: Sequence[Neighbours], m: int, k: int) -> Neighbours:
    """Return the `k` nearest of several answers to the same `m` queries."""
    empty = Neighbours(np.empty((m, 0), np.float32), np.empty((m, 0), np.int64))
    similarities = np.hstack([each.similarities for each in (*answers, empty)])
    rows = np.hstack([each.rows for each in (*answers, empty)])
    order = np.lexsort((rows, -similarities), axis=-1)[:, :k]
    return Neighbours(
        np.take_along_axis(similarities, order, axis=1), np.take_along_axis(rows, order, axis=1)
    )


class Index(Protocol):
    """Search over the rows of a stack, which are never copied as a whole if they are many.

    Every kind reports the same similarity for the same pair: summed in float64 from the rows
    themselves, then rounded to float32.  Searching is safe from several threads at once.

    A stack whose lengths are unknown is read once by `build`, or by the first search after `read`.
    To open a stored index without touching its rows, keep ``stack.norms`` beside it, unless all are
    ``"unit"``, and give them to the stack.

    Attributes
    ----------
    stack : Stack
    metric : "cosine", "dot" or "l2"
    settings : dict of str to int
        How hard it searches, as tuned; empty where it is exact.  `read` needs them.
    has_file : bool
        Whether `write` writes anything; class attribute.
    """

    has_file: ClassVar[bool]
    stack: Stack
    metric: MetricName
    settings: dict[str, int]

    @classmethod
    def build(cls, stack: Stack, metric: MetricName = "cosine", *, seed: int = 0) -> Self:
        """Train on rows of `stack`, where the kind needs it, and add all of them.

        Raises
        ------
        InputError
            If there is no row, or one is not finite.
        MissingPackageError
            If faiss is not installed and the kind needs it.
        """
        ...

    @classmethod
    def read(
        cls, path: Path, stack: Stack, metric: MetricName, settings: Mapping[str, int]
    ) -> Self:
        """Open what `write` wrote, over the same rows; kinds without a file ignore `path`.

        Raises
        ------
        StoreError
            If the file is missing, damaged, of another kind or over other rows.
        """
        ...

    def write(self, path: Path) -> None:
        """Write all but the rows and `settings` to `path`, whole or not at all."""
        ...

    def extended(self, stack: Stack) -> Self:
        """Return this index over `stack`, which has more rows at its end; this one stays usable."""
        ...

    def search(self, Q: Vectors, k: int, *, keep: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the `k` nearest rows of each query.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
            Of any length, also for cosine.
        k : int, >= 1
            The answer has min(`k`, number of rows kept) columns.
        keep : ndarray of bool, shape (N,), optional
            Rows that may be answered; all unless given.

        Raises
        ------
        InputError
            If `k` is below one, or `Q` has another dimension or a row that is not finite.
        """
        ...

    @property
    def size_bytes(self) -> int:
        """Memory held apart from the rows."""
        ...
