"""Which rows train and which judge: one part held out, or folds where that would be too small."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.finetune.material import Material, may_train
from featx.heads.folds import deal_folds, stratified_sample
from featx.types import Rows

FOLDS = 5

LEAST_HELD_OUT = 100
"""Rows from which a held-out part can choose; of fewer, chance moves the accuracy by too much."""

LEAST_ROWS = 10

SHOWN = 10
"""Classes that a note names."""


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that train, and rows that judge what was trained on those."""

    train: Rows
    val: Rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the labelled rows are used.

    Attributes
    ----------
    parts : tuple of Part
        One that is held out, or the folds.
    rows : ndarray of int64
        All rows that train or judge.
    test : ndarray of int64
        Rows that do neither, and tell in the end how good the result is; perhaps none.
    notes : tuple of str
        What a person should know.
    """

    parts: tuple[Part, ...]
    rows: Rows
    test: Rows
    notes: tuple[str, ...] = ()

    @property
    def is_folded(self) -> bool:
        """Whether the result is to be trained on all `rows`, after folds have chosen."""
        return len(self.parts) > 1

    @property
    def trained(self) -> Rows:
        """Rows that the result is trained on."""
        return self.rows if self.is_folded else self.parts[0].train

    @property
    def judged(self) -> Rows:
        """Rows that are held out once, in the order of the parts."""
        return np.concatenate([part.val for part in self.parts])


def plan(material: Material, *, share: float, seed: int) -> Plan:
    """Return which rows train and which judge.

    Rows of split ``val`` judge, where there are enough of them; else a share of those that may
    train; and where that would be fewer than `LEAST_HELD_OUT`, folds of all of them.

    Parameters
    ----------
    material : Material
    share : float
        To hold out, where the rows have no split ``val``.
    seed : int

    Raises
    ------
    InputError
        If fewer than `LEAST_ROWS` rows, or fewer than two classes, may train.
    """
    y, splits, groups = material.y, material.splits, material.groups
    test = np.flatnonzero(splits == "test")
    is_train = may_train(splits)
    _require_enough(y, np.flatnonzero(is_train), len(test))
    train, val = np.flatnonzero(is_train), np.flatnonzero(splits == "val")
    of_split = len(val) > 0
    if not of_split:
        val = _held_out(y, train, groups, share, seed)
    rows = np.union1d(train, val)
    if len(val) >= LEAST_HELD_OUT:
        notes = _notes(material, val)
        return Plan(parts=(Part(np.setdiff1d(train, val), val),), rows=rows, test=test, notes=notes)
    small = f"{'split val' if of_split else 'a validation part'} of {len(val)} rows"
    note = (
        f"{small} is too small to choose by ({LEAST_HELD_OUT} or more are needed);"
        f" {FOLDS} folds of all {len(rows):,} rows choose instead"
    )
    parts = _folds(y, rows, groups, seed)
    judged = np.concatenate([part.val for part in parts])
    return Plan(parts=parts, rows=rows, test=test, notes=(note, *_notes(material, judged)))


def _notes(material: Material, judged: Rows) -> tuple[str, ...]:
    """Return a note on the classes of which no row judges, if there are any."""
    codes = np.setdiff1d(np.arange(len(material.names)), material.y[judged]).tolist()
    if not codes:
        return ()
    shown = ", ".join(material.names[code] for code in codes[:SHOWN])
    classes, told = ("class", "it is told") if len(codes) == 1 else ("classes", "they are told")
    more = f" and {len(codes) - SHOWN:,} more" if len(codes) > SHOWN else ""
    note = (
        f"no item judges the {classes} {shown}{more}: how well {told} is not known,"
        " and a tuned head calls no item novel"
    )
    return (note,)


def _require_enough(y: NDArray[np.int64], train: Rows, n_test: int) -> None:
    n_classes = len(np.unique(y[train]))
    if n_classes == len(train) >= LEAST_ROWS:
        message = f"source: {len(train)} rows of {n_classes} classes, one row a class"
        raise InputError(f"{message}; is it the right column? name it with --label-col")
    if len(train) >= LEAST_ROWS and n_classes >= 2:
        return
    aside = f" beside {n_test} of split test" if n_test else ""
    found = f"{len(train)} rows of {n_classes} {'class' if n_classes == 1 else 'classes'}"
    message = (
        f"source: {found} to train on{aside};"
        f" fine-tuning needs {LEAST_ROWS} rows of two classes or more; label more"
    )
    raise InputError(message)


def _held_out(y: NDArray[np.int64], rows: Rows, groups: Rows, share: float, seed: int) -> Rows:
    """Return a share of the rows: whole groups, all classes thinned alike, none of them emptied."""
    first = _first_of_group(rows, groups)
    chosen = first[stratified_sample(y[first], max(1, round(share * len(first))), seed=seed)]
    held_out = rows[np.isin(groups[rows], groups[chosen])]
    return _known(held_out, y, y[np.setdiff1d(rows, held_out)])


def _folds(y: NDArray[np.int64], rows: Rows, groups: Rows, seed: int) -> tuple[Part, ...]:
    """Return folds of whole groups; rows of a class that a fold would hold alone only train."""
    first = _first_of_group(rows, groups)
    of_group = dict(
        zip(groups[first].tolist(), deal_folds(y[first], FOLDS, seed=seed), strict=True)
    )
    fold = np.array([of_group[group] for group in groups[rows].tolist()])
    parts = []
    for number in range(FOLDS):
        rest = rows[fold != number]
        val = _known(rows[fold == number], y, y[rest])
        parts.append(Part(np.setdiff1d(rows, val), val))
    found = tuple(part for part in parts if len(part.val))
    if len(found) < 2:
        message = (
            f"source: {len(rows)} rows, but each class is one item over and over;"
            " fine-tuning needs different items of a class; label more"
        )
        raise InputError(message)
    return found


def _first_of_group(rows: Rows, groups: Rows) -> Rows:
    return rows[np.sort(np.unique(groups[rows], return_index=True)[1])]


def _known(rows: Rows, y: NDArray[np.int64], trained: NDArray[np.int64]) -> Rows:
    """Return the rows of classes that are among those trained on."""
    return rows[np.isin(y[rows], trained)]
