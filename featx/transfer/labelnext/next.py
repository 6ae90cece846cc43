"""Which items to label next: those that a head is unsure of, unlike each other.

Where there are hardly any labels, margins say nothing yet, and typical items of all kinds are
taken instead (Hacohen, Dekel and Weinshall 2022, "Active learning on a budget: opposite
strategies suit high and low budgets", arXiv:2202.02794).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.labelled import LabelledSet, made_of, named
from featx.heads.calibration import fit_temperature
from featx.heads.moments import row_blocks
from featx.heads.predict import Head, check_space
from featx.index.neighbours import unit_rows
from featx.train.candidates import fit, kinds
from featx.train.material import read_material
from featx.transfer.labelnext.picking import pick_different
from featx.transfer.labelnext.pool import Pool, read_pool
from featx.types import Rows, Vectors

COLD = 2
"""With fewer labels a class than this, on average, margins say nothing yet."""

SHARE = 10
"""Of so many times the items that are wanted, those of the least margin, the picks are taken."""

SEARCHED, MOST_KNOWN = 20_000, 250
"""Waiting and labelled items that are clustered, at most; of more a sample is."""

By = Literal["typical", "margin"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """The items to label next.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Rows of the set, those that stand for most others first.
    suggested : tuple of (str or None)
        The label that a head gives each; None without one.
    margins : ndarray of float64, shape (n,)
        The highest probability of a class less the second highest; NaN without a head.
    by : {"typical", "margin"}
        Whether they stand for many others, or are those that a head is least sure of, unlike
        each other.
    waiting : int
        Different items without a label.
    labelled : int
        Items with one.
    classes : int
        Labels those have.
    searched : int
        Waiting items that the picks were taken from.
    notes : tuple of str
        What a person should know.
    """

    rows: Rows
    suggested: tuple[str | None, ...]
    margins: NDArray[np.float64]
    by: By
    waiting: int
    labelled: int
    classes: int
    searched: int
    notes: tuple[str, ...]


def label_next(
    embedding_set: LabelledSet, n: int = 20, *, head: Head | None = None, seed: int = 0
) -> Next:
    """Return the items of a set that are most worth a label.

    Every waiting item gets a margin; k-means of the `SHARE` times `n` least sure ones, weighted
    by one less the margin, gives `n` clusters, and from each its most central item is taken.
    With few labels all items are clustered, and the picks are from clusters that hold no labelled
    one.  At most `SEARCHED` items are clustered, or `n`, and there are at most
    `featx.transfer.labelnext.picking.MOST` clusters, which then give several items each.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    n : int, default 20
        How many; fewer are returned where fewer are waiting, none where all have a label, and
        a note says so.
    head : Head, optional
        Of classes, that suggests labels and gives margins.  By default one is fitted to the
        labels that the set has, if they are of two classes or more.
    seed : int, default 0
        Of the clusters.

    Raises
    ------
    InputError
        If `n` is below 1, nothing can be labelled and nothing is, or `head` is not of classes.
    SpaceError
        If `head` is of another space.
    """
    if n < 1:
        message = f"label next: n = {n}; must be 1 or more"
        raise InputError(message)
    notes = [] if head is None else _checked(head, embedding_set)
    pool = read_pool(embedding_set)
    if not len(pool.waiting):
        return _none(pool, notes)
    guide = _fitted(embedding_set, pool, seed) if head is None else head
    margins, codes = _asked(guide, embedding_set, pool.waiting)
    by: By = "typical" if guide is None or _is_cold(pool, head) else "margin"
    among = _unsure(margins, n) if by == "margin" else _sampled(len(pool.waiting), n, seed)
    weights = 1 - margins[among] + _LEAST if by == "margin" else np.ones(len(among))
    known = _spaced(pool.labelled) if by == "typical" else pool.labelled[:0]
    X, seen = (unit_rows(_vectors(embedding_set, r)) for r in (pool.waiting[among], known))
    picked = among[pick_different(X, n, weights=weights, seed=seed, known=seen)]
    names = () if guide is None else guide.classes
    return Next(
        rows=pool.waiting[picked],
        suggested=tuple(names[code] if names else None for code in codes[picked]),
        margins=margins[picked],
        by=by,
        waiting=len(pool.waiting),
        labelled=len(pool.labelled),
        classes=pool.classes,
        searched=len(among),
        notes=(*notes, *pool.notes),
    )


def _none(pool: Pool, notes: list[str]) -> Next:
    """Return what there is to label where nothing waits."""
    return Next(
        rows=pool.waiting,
        suggested=(),
        margins=np.empty(0),
        by="typical",
        waiting=0,
        labelled=len(pool.labelled),
        classes=pool.classes,
        searched=0,
        notes=(*notes, *pool.notes),
    )


_LEAST = 1e-6
"""Weight of an item that a head is quite sure of."""


def _checked(head: Head, embedding_set: LabelledSet) -> list[str]:
    """Return a note if vectors were not made alike; raise for heads that have no margins."""
    if head.task != "classify":
        message = (
            f"label next: the head's task is {head.task!r}; expected one of classes;"
            " without a head, one is fitted to the labels of the set"
        )
        raise InputError(message)
    made = made_of(embedding_set)
    note = check_space(
        head, embedding_set.fingerprint, embedding_set.space, where=named(embedding_set), made=made
    )
    return [] if note is None else [note]


def _fitted(embedding_set: LabelledSet, pool: Pool, seed: int) -> Head | None:
    """Return a head of the labels that there are: the kind that ``auto`` prefers, untried."""
    if pool.classes < 2:
        return None
    material = read_material(embedding_set, "classify")
    fitted = fit(kinds(material)[0], material, seed=seed)
    return Head(
        kind=fitted.kind,
        classes=material.names,
        arrays=fitted.arrays,
        temperature=fit_temperature(fitted.logits, material.y),
    )


def _is_cold(pool: Pool, head: Head | None) -> bool:
    """Return whether there are too few labels, here or in `head`, for margins to mean anything."""
    classes = max(pool.classes, 2 if head is None else len(head.classes))
    return max(len(pool.labelled), _labels_of(head)) < COLD * classes


def _labels_of(head: Head | None) -> int:
    """Return how many labels a head was trained on, as far as its file says."""
    labels = None if head is None else head.header.get("labels")
    used = labels.get("used") if isinstance(labels, dict) else None
    return used if isinstance(used, int) else 0


def _asked(
    guide: Head | None, embedding_set: LabelledSet, rows: Rows
) -> tuple[NDArray[np.float64], Rows]:
    """Return the margin of each row and the code of its class; NaN and 0 without a head."""
    margins, codes = np.full(len(rows), np.nan), np.zeros(len(rows), np.int64)
    if guide is None:
        return margins, codes
    for part in row_blocks(rows):
        probabilities = guide.probabilities(_vectors(embedding_set, rows[part]))
        codes[part] = probabilities.argmax(axis=1)
        second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
        margins[part] = first - second
    return margins, codes


def _unsure(margins: NDArray[np.float64], n: int) -> Rows:
    """Return the places of the least margins, ascending by margin."""
    return np.argsort(margins, kind="stable")[: min(SHARE * n, max(SEARCHED, n))]


def _sampled(n_rows: int, n: int, seed: int) -> Rows:
    """Return places to search among: all, or a sample of them, ascending."""
    size = max(SEARCHED, n)
    if n_rows <= size:
        return np.arange(n_rows)
    return np.sort(np.random.default_rng(seed).choice(n_rows, size, replace=False))


def _spaced(rows: Rows) -> Rows:
    """Return rows evenly spaced, `MOST_KNOWN` at most."""
    return rows[:: max(1, -(-len(rows) // MOST_KNOWN))]


def _vectors(embedding_set: LabelledSet, rows: Rows) -> Vectors:
    return np.ascontiguousarray(embedding_set.X[rows], dtype=np.float32)
