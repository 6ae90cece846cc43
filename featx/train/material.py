"""What a head is fitted to: rows with their classes, tags or values."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.labelled import LabelledRows, LabelledSet, digest_keys, labelled_rows
from featx.evaluate.truth import label_numbers
from featx.types import Rows, Task


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
    """

    task: Task
    rows: LabelledRows
    names: tuple[str, ...]
    y: NDArray[Any]

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
        If no row has a label, or the labels do not suit the task.
    """
    rows = labelled_rows(embedding_set, splits=("train",))
    keys = digest_keys(rows.digests)
    first = np.zeros(len(rows), dtype=bool)
    first[np.unique(keys, return_index=True)[1]] = True
    rows = rows.take(first | ~rows.digests.any(axis=1))
    if not len(rows):
        message = "embedding set: its labelled rows hold no finite vector; embed the items again"
        raise InputError(message)
    names, y = label_numbers(rows.labels.tolist(), task)
    return Material(task=task, rows=rows, names=names, y=y)
