"""The labelled items of a source, in the order in which a comparison looks at them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.data.sources.options import DescribedSource
from featx.errors import InputError
from featx.evaluate.truth import label_numbers
from featx.train.material import HELD_BACK
from featx.types import Rows

PAIR = 2
"""Items of each class that come first: with one alone, nothing is left when it is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Labelled items of a source, in an order of which each beginning is a stratified sample.

    Attributes
    ----------
    ids : tuple of str
    y : ndarray of int64, shape (N,)
        Class codes.
    names : tuple of str
        Of the C classes.
    """

    ids: tuple[str, ...]
    y: NDArray[np.int64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


def list_labelled(source: DescribedSource, *, seed: int = 0) -> Pool:
    """Return the labelled items of a source: split ``train`` where there are splits.

    The source is listed once; no item is read, and one that cannot be is told by those that try.

    Parameters
    ----------
    source : DescribedSource
    seed : int, default 0
        Shuffles the items.

    Raises
    ------
    InputError
        If there are no labels to learn from, or no class has two items.
    """
    listed: dict[str, tuple[str, str | None]] = {}
    n_items = 0
    for item in source:
        n_items += 1
        if item.label is not None:
            listed.setdefault(item.id, (item.label, item.split))
    labels = _training(listed, n_items)
    counts = Counter(labels.values())
    if len(counts) == 1 or max(counts.values()) < PAIR:
        raise InputError(_unsuited(counts))
    names, y = label_numbers(list(labels.values()), "classify")
    order = nested_order(y, seed=seed)
    ids = list(labels)
    return Pool(ids=tuple(ids[i] for i in order), y=y[order], names=names)


def nested_order(y: NDArray[np.int64], *, seed: int = 0) -> Rows:
    """Return an order of rows, each beginning of which has all classes in proportion.

    Two rows of each class come first, in any order.

    Parameters
    ----------
    y : ndarray of int64, shape (N,)
        Class codes.
    seed : int, default 0

    Examples
    --------
    >>> y = np.array([0] * 6 + [1] * 60)
    >>> order = nested_order(y)
    >>> [np.bincount(y[order[:size]]).tolist() for size in (4, 24)]
    [[2, 2], [3, 21]]
    """
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    counts = np.bincount(y)
    counts = counts[counts > 0]
    number = np.arange(len(y)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = np.maximum(number - PAIR + 1, 0) / np.repeat(counts, counts)
    return np.asarray(by_class[np.lexsort((rng.random(len(y)), share))])


def _training(listed: Mapping[str, tuple[str, str | None]], n_items: int) -> dict[str, str]:
    """Return id → label of what may be trained on, as `featx.train` takes it from a set."""
    if not listed:
        message = (
            f"source: none of its {n_items:,} items has a label; put files into class folders, or"
            " name the column of labels with --label-col"
        )
        raise InputError(message)
    splits = {split for _, split in listed.values()}
    wanted = {"train"} if "train" in splits else splits - set(HELD_BACK)
    labels = {item: label for item, (label, split) in listed.items() if split in wanted}
    if not labels:
        found = ", ".join(sorted(str(split) for split in splits))
        message = (
            f"source: all {len(listed):,} labelled items are in split {found}; expected some in"
            " train, or in none"
        )
        raise InputError(message)
    return labels


def _unsuited(counts: Counter[str]) -> str:
    """Return what is wrong with labels that no head can be judged by."""
    if len(counts) == 1:
        (label,) = counts
        return (
            f"source: its {counts.total():,} labelled items are of one class, {label!r};"
            " expected two classes or more"
        )
    return (
        f"source: each of its {len(counts):,} classes has one item; leaving an item out needs"
        " two or more of some class"
    )
