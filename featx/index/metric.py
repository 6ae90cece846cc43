"""Metrics: how near two rows are, and the lengths of rows."""

from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.types import Vectors

Real = TypeVar("Real", bound=np.floating[Any])

MetricName = Literal["cosine", "dot", "l2"]
"""What similarity means; it rises as things get nearer.

``"cosine"`` is the inner product of rows of length one (0 to everything for a zero row), ``"dot"``
the inner product, ``"l2"`` minus the Euclidean distance.
"""

METRICS: tuple[MetricName, ...] = get_args(MetricName)

LARGEST_NORM = 1e18
"""The product of two such rows is still finite in float32."""

UNIT_SLACK = 1e-6
"""A length this near to one is one: the rounding of models that make rows of length one."""

_NUMBERS = 1 << 17  # held in float64 at once: 1 MiB, which stays in the cache of a core


def checked_metric(metric: str) -> None:
    """Refuse what is no `MetricName`.

    Raises
    ------
    UnknownNameError
        Naming the nearest metric.
    """
    if metric not in METRICS:
        raise UnknownNameError("metric", metric, METRICS)


def distances(similarities: NDArray[Real], metric: MetricName) -> NDArray[Real]:
    """Return the distances that similarities stand for: 1 - cosine, or the Euclidean one.

    Raises
    ------
    InputError
        For ``"dot"``: an inner product has no distance.

    Examples
    --------
    >>> distances(np.array([-5.0, -6.0]), "l2").tolist()
    [5.0, 6.0]
    """
    if metric == "dot":
        raise InputError("metric: 'dot' has no distance; use 'cosine' or 'l2'")
    return 1 - similarities if metric == "cosine" else -similarities


def row_norms(X: NDArray[Real]) -> NDArray[np.float64]:
    """Return the Euclidean norm of each row, summed in float64; shape (N,)."""
    if X.size <= _NUMBERS:
        block = X.astype(np.float64)
        norms: NDArray[np.float64] = np.sqrt(np.einsum("nd,nd->n", block, block))
        return norms
    step = max(1, _NUMBERS // X.shape[1])
    return np.concatenate([row_norms(X[at : at + step]) for at in range(0, len(X), step)])


def unit_rows(X: NDArray[Real]) -> NDArray[Real]:
    """Return `X` with rows of length one, in the same dtype; zero rows stay zero.

    Examples
    --------
    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    norms = row_norms(X)
    if np.isinf(norms).any():  # squares that float64 does not hold
        X = scaled(X, np.abs(X).max(axis=1, initial=0).astype(np.float64))
        norms = row_norms(X)
    return scaled(X, norms)


def scaled(X: NDArray[Real], norms: NDArray[np.float64]) -> NDArray[Real]:
    """Return a copy of `X` with each row divided by its norm; zero rows stay zero."""
    unit = np.empty(X.shape, X.dtype)
    np.divide(X, divisors(norms)[:, None], out=unit, casting="same_kind")
    return unit


def divisors(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `norms` with one for zero."""
    return np.where(norms > 0, norms, 1.0)


def snapped(norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `norms` with one for those within `UNIT_SLACK` of it, as rows of length one."""
    return np.where(np.abs(norms - 1) <= UNIT_SLACK, 1.0, norms)


def refuse_unfit(norms: NDArray[np.float64], what: str, *, first: int = 0) -> None:
    """Refuse rows whose norms say that they are not finite or too long.

    Parameters
    ----------
    norms : ndarray of float64, shape (N,)
    what : str
        What the rows are, for the message.
    first : int, default 0
        Number of the first row, for the message.

    Raises
    ------
    InputError
        Naming the first such row, and how many there are.
    """
    bad = (~(norms <= LARGEST_NORM)).nonzero()[0]
    if len(bad):
        found = "NaN or infinite" if not np.isfinite(norms[bad[0]]) else "too long for float32"
        more = f", the first of {len(bad):,} such rows" if len(bad) > 1 else ""
        which = "them" if more else "it"
        row = f"row {first + bad[0]} is {found}{more}"
        raise InputError(f"{what}: {row}; drop {which} or embed {which} again")


def checked(X: Vectors, what: str) -> tuple[Vectors, NDArray[np.float64]]:
    """Return `X` as contiguous float32 rows, uncopied where it is already, and their norms.

    Raises
    ------
    InputError
        If `X` is not two-dimensional or a row is not finite, naming the first such row.
    """
    X = matrix(X, what)
    norms = row_norms(X)
    refuse_unfit(norms, what)
    return X, norms


def matrix(X: Vectors, what: str) -> Vectors:
    """Return `X` as contiguous float32 rows, uncopied where it is already.

    Raises
    ------
    InputError
        If `X` is not two-dimensional.
    """
    X = np.asarray(X)
    if X.ndim == 2 and X.dtype == np.float32 and X.flags.c_contiguous:
        return X
    if X.dtype.kind in "OSU":
        raise InputError(f"{what}: not numbers; encode items first: Embedder(MODEL).encode(ITEMS)")
    if X.ndim != 2:
        raise InputError(f"{what}: shape {X.shape}; must be (rows, dimensions)")
    with np.errstate(over="ignore"):  # what overflows is refused by its norm
        return np.ascontiguousarray(X, dtype=np.float32)
