"""The items of a set that wait for a label, each different one once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.duplicates import first_equal, row_keys
from featx.evaluate.labelled import LabelledSet, named
from featx.heads.moments import row_blocks
from featx.train.material import HELD_BACK
from featx.types import Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """What can be labelled, and what is labelled.

    Attributes
    ----------
    waiting : ndarray of int64
        Rows without a label, ascending: outside splits val and test, of finite vectors that are
        not those of a labelled row or of an earlier one.
    labelled : ndarray of int64
        Rows that heads are trained on, ascending: with a label and a finite vector, of split train
        if any is, else of none.
    classes : int
        How many labels those have.
    notes : tuple of str
        What was left out; where nothing waits, why.
    """

    waiting: Rows
    labelled: Rows
    classes: int
    notes: tuple[str, ...]


def read_pool(embedding_set: LabelledSet) -> Pool:
    """Return what can be labelled; every vector is read once, in blocks.

    Raises
    ------
    InputError
        If nothing can be labelled, and nothing is.
    """
    is_labelled = np.array([label is not None for label in embedding_set.y], dtype=bool)
    splits = np.array(embedding_set.items.column("split").to_pylist(), dtype=object)
    is_open = ~np.isin(splits.astype(str), HELD_BACK)
    keys, is_finite = _looked_at(embedding_set)
    labelled = np.flatnonzero(is_labelled & is_open & is_finite)
    if (splits[labelled] == "train").any():
        labelled = labelled[splits[labelled] == "train"]
    unlabelled = np.flatnonzero(~is_labelled & is_open & is_finite)
    order = np.concatenate([labelled, unlabelled])
    is_first = first_equal(keys[order]) == np.arange(len(order))
    waiting = unlabelled[is_first[len(labelled) :]]
    lost = ~is_labelled & is_open & ~is_finite
    left_out = (len(unlabelled) - len(waiting), int(lost.sum()))
    notes = _notes(*left_out)
    if not len(waiting):
        notes = [_nothing_left(embedding_set, is_labelled, is_open, left_out)]
        if not is_labelled.any():
            raise InputError(f"{notes[0]}; add items with: featx embed")
    return Pool(
        waiting=waiting,
        labelled=labelled,
        classes=len(set(embedding_set.y[labelled].tolist())),
        notes=tuple(notes),
    )


def _looked_at(embedding_set: LabelledSet) -> tuple[NDArray[np.void], NDArray[np.bool_]]:
    """Return a key of each vector, (N,), and whether it is finite."""
    n, X = len(embedding_set.y), embedding_set.X
    keys, is_finite = np.empty(n, "V32"), np.empty(n, dtype=bool)
    for part in row_blocks(embedding_set.y):
        block = np.asarray(X[part])
        keys[part], is_finite[part] = row_keys(block), np.isfinite(block).all(axis=1)
    return keys, is_finite


def _nothing_left(
    embedding_set: LabelledSet,
    is_labelled: NDArray[np.bool_],
    is_open: NDArray[np.bool_],
    left_out: tuple[int, int],
) -> str:
    """Say why no item is left to label."""
    held_back = int((~is_labelled & ~is_open).sum())
    reasons = [
        f"{count:,} {why}"
        for count, why in (
            (int(is_labelled.sum()), "have a label"),
            (held_back, "are in split val or test"),
            (left_out[0], "have the vector of a labelled one"),
            (left_out[1], "have a vector that is NaN or infinite"),
        )
        if count
    ]
    found = "; ".join(reasons) or "it is empty"
    return f"{named(embedding_set)}: of {len(is_labelled):,} items none is left to label: {found}"


def _notes(repeated: int, lost: int) -> list[str]:
    notes = []
    if repeated:
        notes.append(f"{repeated:,} {_are(repeated)} equal to another and left out")
    if lost:
        notes.append(f"{lost:,} {_are(lost)} left out, of NaN or infinite vectors: embed anew")
    return notes


def _are(n: int) -> str:
    return "item without a label is" if n == 1 else "items without a label are"
