"""Distinct items that several backbones have embedded, as material for heads."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.labelled import LabelledRows
from featx.heads.folds import stratified_sample
from featx.train.material import Material
from featx.train.twins import find_twins, one_of_each
from featx.transfer.compare.contestant import Contestant
from featx.transfer.compare.pool import Pool
from featx.types import Rows, Vectors


@dataclass(frozen=True, slots=True)
class Sample:
    """Items with their classes.

    Attributes
    ----------
    ids : tuple of str
    y : ndarray of int64, shape (N,)
        Codes of the classes that occur, 0 to C - 1.
    twins : int
        Items that were left out, being nearly equal to another one.
    """

    ids: tuple[str, ...]
    y: NDArray[np.int64]
    twins: int = 0

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.y.max()) + 1

    def take(self, rows: Rows) -> "Sample":
        """Return some of the items, and the classes that occur in them."""
        _, codes = np.unique(self.y[rows], return_inverse=True)
        ids = tuple(self.ids[row] for row in rows)
        return Sample(ids, codes.astype(np.int64), self.twins)

    def thinned(self, size: int, *, seed: int) -> "Sample":
        """Return so many items of all classes alike; all where there are no more."""
        return self.take(stratified_sample(self.y, size, seed=seed))

    def material(self, X: Vectors) -> Material:
        """Return the items with their vectors (N, D)."""
        names = tuple(str(code) for code in range(self.n_classes))
        labels = np.array(names, dtype=object)[self.y]
        digests = np.zeros((len(self), 32), dtype=np.uint8)
        rows = LabelledRows(np.arange(len(self)), X, labels, digests)
        return Material(task="classify", rows=rows, names=names, y=self.y)


def common_sample(pool: Pool, size: int, contestants: Sequence[Contestant]) -> Sample:
    """Return the distinct ones among the first `size` items of a pool.

    Items that a backbone could not embed are left out for all.  Items that are nearly equal to
    every backbone count once: left out, such an item is known from its twin.

    Parameters
    ----------
    pool : Pool
    size : int
    contestants : sequence of Contestant
        Which have embedded that many.

    Raises
    ------
    InputError
        If items of fewer than two classes are left.
    """
    kept = [row for row in range(size) if all(pool.ids[row] in each for each in contestants)]
    if len(np.unique(pool.y[kept])) < 2:
        raise InputError(_nothing_left(kept, size, contestants))
    everything = Sample(pool.ids, pool.y).take(np.array(kept))
    groups = _agreed([find_twins(each.vectors(everything.ids)).groups for each in contestants])
    X = np.empty((len(everything), 0), dtype=np.float32)  # which of a group stays is for labels
    distinct, _ = one_of_each(everything.material(X), groups)
    found = everything.take(distinct.rows.rows)
    return Sample(found.ids, found.y, twins=len(everything) - len(found))


def _agreed(groupings: Sequence[Rows]) -> Rows:
    """Return the first row of each row's group, where rows are together in all groupings.

    Examples
    --------
    >>> _agreed([np.array([0, 0, 0, 3]), np.array([0, 1, 0, 3])]).tolist()
    [0, 1, 0, 3]
    """
    _, first, of_row = np.unique(
        np.stack(groupings, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return np.asarray(first[of_row.ravel()])


def _nothing_left(kept: Sequence[int], size: int, contestants: Sequence[Contestant]) -> str:
    problems = [(name, why) for each in contestants for name, why in each.problems.items()]
    first = f"; first problem: {': '.join(problems[0])}" if problems else ""
    return (
        f"source: {len(kept):,} of {size:,} items could be embedded by all backbones, of fewer"
        f" than two classes{first}"
    )
