"""What a head is fitted to: rows with their classes, tags or values."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.labelled import LabelledRows, LabelledSet, digest_keys, labelled_rows
from featx.evaluate.truth import label_numbers
from featx.types import Rows, Task

HELD_BACK = ("test", "val")
"""Splits that a head never sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Distinct items with numbers for labels.

    Attributes
    ----------
    task : {"classify", "multilabel", "regress"}
    rows : LabelledRows
    names : tuple of str
        Of the C classes, tags or outputs.
    y : ndarray
        Class codes (N,) of int64, tags (N, C) of 0 and 1, or values (N, C); the latter two are
        float64.
    repeated : int
        Rows of the set that were left out because their contents are those of another.
    contradicted : ndarray of int64
        Numbers, in the set, of rows whose contents occur again with another label.
    """

    task: Task
    rows: LabelledRows
    names: tuple[str, ...]
    y: NDArray[Any]
    repeated: int = 0
    contradicted: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def strata(self) -> NDArray[np.int64]:
        """What folds and samples are to hold evenly: the classes, where there are any."""
        return self.y if self.task == "classify" else np.zeros(len(self), dtype=np.int64)

    def take(self, kept: Rows | NDArray[np.bool_]) -> "Material":
        """Return some of the items, all names kept."""
        return replace(self, rows=self.rows.take(kept), y=self.y[kept])

    def counts(self) -> list[int]:
        """Return how many items each class or tag has."""
        if self.task == "classify":
            counts = np.bincount(self.y, minlength=len(self.names))
        else:
            counts = (self.y != 0).sum(axis=0)
        return [int(count) for count in counts]


def read_material(embedding_set: LabelledSet, task: Task) -> Material:
    """Return the labelled rows of a set: split ``train`` where there are splits.

    Items of equal contents count once, with the label of the first.

    Raises
    ------
    InputError
        If no row has a label and a finite vector, or the labels do not suit the task.
    """
    rows = _training_rows(embedding_set)
    first = _first_equal(rows)
    is_other = rows.labels != rows.labels[first]
    contradicted = np.unique(rows.rows[first[is_other]])
    is_first = first == np.arange(len(rows))
    rows = rows if is_first.all() else rows.take(is_first)
    names, y = label_numbers(rows.labels.tolist(), task)
    return Material(
        task=task,
        rows=rows,
        names=names,
        y=y,
        contradicted=contradicted,
        repeated=int((~is_first).sum()),
    )


def _training_rows(embedding_set: LabelledSet) -> LabelledRows:
    """Return the labelled rows of split ``train``, else those of no split."""
    rows = labelled_rows(embedding_set, splits=("train",))
    splits = np.array(embedding_set.items.column("split").to_pylist(), dtype=object)[rows.rows]
    is_kept = ~np.isin(splits.astype(str), HELD_BACK)
    if len(rows) and not is_kept.any():
        found = ", ".join(sorted(set(splits)))
        message = (
            f"embedding set: all {len(rows)} labelled rows are in split {found}; expected some in"
            " train, or in none; run: featx label SET labels.csv"
        )
        raise InputError(message)
    return rows if is_kept.all() else rows.take(is_kept)


def lost_classes(material: Material, kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which classes (C,) have no row left if only those of `kept` (N,) stay."""
    counts = np.bincount(material.y[kept], minlength=len(material.names))
    return np.asarray(counts == 0)


def _first_equal(rows: LabelledRows) -> Rows:
    """Return the first row of the same contents as each; its own number where none is known."""
    _, first, position = np.unique(
        digest_keys(rows.digests), return_index=True, return_inverse=True
    )
    return np.where(rows.digests.any(axis=1), first[position], np.arange(len(rows)))
