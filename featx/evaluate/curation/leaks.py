"""Rows of one split that are nearly rows of another."""

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.curation.alike import Alike
from featx.evaluate.curation.inspection import Leaks
from featx.evaluate.duplicates import Matches, between
from featx.types import Rows

TRAIN, VAL, TEST, APART = 0, 1, 2, -1


def split_ranks(splits: NDArray[np.object_], labels: NDArray[np.object_]) -> Rows:
    """Return 0 for rows that heads are fitted to, 1 for val, 2 for test, -1 for others.

    Where no row is in split ``train``, those of no split are fitted to.  Where any row has a label,
    those without are neither fitted to nor scored.

    Parameters
    ----------
    splits : ndarray of object, shape (N,)
        ``"train"``, ``"val"``, ``"test"`` or None.
    labels : ndarray of object, shape (N,)
        str or None.

    Examples
    --------
    >>> splits, labels = np.array(["train", None, "test", "test"]), np.array(["a", "a", "b", None])
    >>> split_ranks(splits, labels).tolist(), split_ranks(splits[1:], labels[1:]).tolist()
    ([0, -1, 2, -1], [0, 2, -1])
    """
    places: dict[str | None, int] = {"train": TRAIN, "val": VAL, "test": TEST, None: TRAIN}
    if "train" in splits.tolist():
        places[None] = APART
    ranks = np.array([places[split] for split in splits.tolist()], dtype=np.int64)
    has_label = np.array([label is not None for label in labels.tolist()], dtype=bool)
    return np.where(has_label | ~has_label.any(), ranks, APART)


def find_leaks(alike: Alike, ranks: Rows) -> Leaks:
    """Return the leaks among rows whose near duplicates are known.

    Parameters
    ----------
    alike : Alike
        Of N rows; the answer has their numbers.
    ranks : ndarray of int64, shape (N,)
        From `split_ranks`.
    """
    found = [part for rows in alike.found.clusters() for part in _within(alike, rows, ranks[rows])]
    if not found:
        return Leaks()
    rows, others, earlier = (np.concatenate(parts) for parts in list(zip(*found, strict=True))[:3])
    similarities = np.concatenate([part[3] for part in found])
    order = np.argsort(rows, kind="stable")
    return Leaks(
        rows=rows[order],
        others=others[order],
        similarities=similarities[order],
        earlier=np.unique(earlier),
    )


_Part = tuple[Rows, Rows, Rows, NDArray[np.float64]]
"""Rows of a later split, the nearest earlier row of each, all near earlier rows, similarities."""


def _within(alike: Alike, rows: Rows, ranks: Rows) -> list[_Part]:
    found = []
    for rank in (VAL, TEST):
        later, earlier = rows[ranks == rank], rows[(ranks < rank) & (ranks != APART)]
        if len(later) and len(earlier):
            there, back = _near(alike, later, earlier), _near(alike, earlier, later)
            part = later[there.queries], earlier[there.rows], earlier[back.queries]
            found.append((*part, np.minimum(there.similarities, 1)))
    return found


def _near(alike: Alike, queries: Rows, rows: Rows) -> Matches:
    return between(alike.vectors(queries), alike.vectors(rows), threshold=alike.threshold)
