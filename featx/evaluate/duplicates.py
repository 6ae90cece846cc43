"""Items that are there twice, or nearly: within a set, and between two parts of one."""

from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from featx.evaluate.labelled import digest_keys
from featx.index.neighbours import checked, unit_rows
from featx.types import Rows, Vectors

SAME = 0.98
"""Cosine similarity from which two items count as nearly the same.

Measured on the sample sets with the models of the zoo.  No two pictures reach it (the nearest
have .948); the 24 pairs of mails that do are four letters sent again with small changes; of sounds
one pair in 4,560 does (two strokes of a drum, .981).  It finds 97 % of texts with a word left out,
80 % of pictures scaled by .9 and 99 % of sounds through Vorbis; but only 25 % of drawings through
JPEG and 21 % of cropped ones, which lie no nearer than drawings that differ.
"""

# Rows of a tile of similarities; 16 MiB of them.
_TILE = 2048
_UNIT_ROUNDOFF = 2.0**-24


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Which rows of a matrix are the same or nearly so.

    Attributes
    ----------
    groups : ndarray of int64, shape (N,)
        The first row of the group that each row is in; its own number where it is alone.  Rows
        are in one group if a chain of similar pairs leads from one to the other, so that folds
        made of groups do not leak.
    different : int
        Rows that are left where equal ones count once.
    searched : int
        Rows of those that were compared, pair by pair; fewer where there were too many.
    """

    groups: Rows
    different: int
    searched: int

    def clusters(self) -> list[Rows]:
        """Return the rows of each group of two or more, the largest first.

        Examples
        --------
        >>> [rows.tolist() for rows in Duplicates(np.array([0, 1, 1, 0, 4, 1]), 6, 6).clusters()]
        [[1, 2, 5], [0, 3]]
        """
        order = np.argsort(self.groups, kind="stable")
        starts = np.flatnonzero(np.diff(self.groups[order], prepend=-1))
        found = [rows for rows in np.split(order, starts[1:]) if len(rows) > 1]
        return sorted(found, key=len, reverse=True)


@dataclass(frozen=True, slots=True)
class Matches:
    """Queries that the gallery holds already, or nearly.

    Attributes
    ----------
    queries : ndarray of int64, shape (K,)
        Ascending.
    rows : ndarray of int64, shape (K,)
        The nearest row of the gallery to each.
    similarities : ndarray of float64, shape (K,)
        Their cosine.
    """

    queries: Rows
    rows: Rows
    similarities: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.queries)


def near_duplicates(
    X: Vectors,
    *,
    threshold: float = SAME,
    max_rows: int = 20_000,
) -> Duplicates:
    """Group rows that are equal, or of a cosine of `threshold`.

    Equal ones are found among all rows.  The others cost N^2 D / 2 multiplications and additions,
    in tiles of bounded memory: 20,000 rows of 384 take five seconds of a core.  Of more than
    `max_rows` different rows, that many are compared, evenly spaced.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
    threshold : float, above 0
    max_rows : int, default 20,000

    Raises
    ------
    InputError
        If `X` holds a row that is not finite.

    Examples
    --------
    >>> X = np.array([[1, 0], [0, 1], [1, 0.01], [0, 2]], np.float32)
    >>> near_duplicates(X).groups.tolist()
    [0, 1, 0, 1]
    """
    X, _ = checked(X, "rows")
    groups = first_equal(row_keys(X))
    different = np.flatnonzero(groups == np.arange(len(X)))
    size = min(max_rows, len(different))
    compared = different[np.arange(size) * len(different) // max(1, size)]
    near = _group_near(unit_rows(X[compared]), threshold)
    unite(groups, compared, compared[near])
    return Duplicates(groups, len(different), size)


def between(Q: Vectors, X: Vectors, *, threshold: float = SAME) -> Matches:
    """Return the rows of `Q` whose nearest row of `X` has a cosine of at least `threshold`.

    Test items that are nearly training items make a head look better than it is.  Cost: M N D
    multiplications and additions, in tiles of bounded memory.

    Parameters
    ----------
    Q : ndarray of float32, shape (M, D)
    X : ndarray of float32, shape (N, D)
    threshold : float, above 0

    Raises
    ------
    InputError
        If a row of either is not finite.

    Examples
    --------
    >>> X = np.eye(3, dtype=np.float32)
    >>> between(np.array([[0, 5, 0], [1, 1, 0]], np.float32), X).rows.tolist()
    [1]
    """
    Q, X = unit_rows(checked(Q, "queries")[0]), unit_rows(checked(X, "rows")[0])
    best, rows = np.full(len(Q), -np.inf), np.zeros(len(Q), np.int64)
    for part in _tiles(len(Q)):
        for other in _tiles(len(X)):
            near = Q[part] @ X[other].T
            nearest = near.argmax(axis=1)
            found = near[np.arange(len(near)), nearest]
            is_nearer = found > best[part]
            rows[part] = np.where(is_nearer, nearest + other.start, rows[part])
            best[part] = np.maximum(best[part], found)
    queries = np.flatnonzero(best >= threshold - slack(Q.shape[1]))
    similarities = cosines(Q[queries], X[rows[queries]])
    kept = similarities >= threshold
    return Matches(queries[kept], rows[queries[kept]], similarities[kept])


def _group_near(U: Vectors, threshold: float) -> Rows:
    """Return the first row of the group of each row of length one."""
    groups = np.arange(len(U))
    margin = slack(U.shape[1])
    for part in _tiles(len(U)):
        for other in _tiles(len(U), part.start):
            near = U[part] @ U[other].T
            left, right = np.nonzero(near >= threshold - margin)
            found = near[left, right]
            left, right = left + part.start, right + other.start
            # Pairs of one group need no second look: there may be millions of them.
            open_ = np.flatnonzero(groups[left] != groups[right])
            doubtful = open_[found[open_] <= threshold + margin]
            is_near = np.zeros(len(left), bool)
            is_near[open_] = True
            is_near[doubtful] = cosines(U[left[doubtful]], U[right[doubtful]]) >= threshold
            unite(groups, left[is_near], right[is_near])
    return groups


def unite(groups: Rows, left: Rows, right: Rows) -> None:
    """Join the groups of each pair of rows, in place; the lowest row names the group.

    Hooking and pointer jumping (Shiloach and Vishkin 1982, "An O(log n) parallel connectivity
    algorithm"): union-find without a loop over pairs.
    """
    while True:
        a, b = groups[left], groups[right]
        apart = a != b
        if not apart.any():
            return
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(groups, np.maximum(a, b), np.minimum(a, b))
        while (jumped := groups[groups]).tobytes() != groups.tobytes():
            groups[:] = jumped


def _tiles(n: int, start: int = 0) -> list[slice]:
    return [slice(at, min(at + _TILE, n)) for at in range(start, n, _TILE)]


def slack(dim: int) -> float:
    """Return the largest error of a float32 inner product of rows of length one (Higham 2002)."""
    return (dim + 4) * _UNIT_ROUNDOFF


def cosines(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """Return the inner product of each pair of rows of length one, summed in float64."""
    products = np.empty(len(left))
    for part in _tiles(len(left)):
        pair = left[part].astype(np.float64), right[part].astype(np.float64)
        products[part] = np.einsum("nd,nd->n", *pair)
    return products


def row_keys(X: Vectors) -> NDArray[np.void]:
    """Return 32 bytes for each row that are the same for equal rows."""
    # Adding zero makes -0 and 0 the same bytes.
    digests = b"".join(blake3((row + np.float32(0)).tobytes()).digest() for row in X)
    return digest_keys(np.frombuffer(digests, np.uint8).reshape(-1, 32))


def first_equal(keys: NDArray[np.void]) -> Rows:
    """Return the first row with the key of each row."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return np.asarray(first[inverse])
