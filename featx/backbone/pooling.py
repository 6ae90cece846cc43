"""From token rows and part rows to one row an item.  Pure functions, each used exactly once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.types import Vectors
from featx.zoo.manifest import Pooling


def pool_tokens(tokens: Vectors, mask: NDArray[Any], pooling: Pooling) -> Vectors:
    """Join token rows into one row a sequence.

    Parameters
    ----------
    tokens : ndarray of float32, shape (B, T, D)
    mask : ndarray of int, shape (B, T)
        1 for a token, 0 for padding; padding is on the right.
    pooling : {"mean", "cls", "last_token"}

    Returns
    -------
    ndarray of float32, shape (B, D)
    """
    if pooling == "cls":
        first: Vectors = tokens[:, 0]
        return first
    if pooling == "last_token":
        last = np.maximum(mask.sum(axis=1) - 1, 0)
        ends: Vectors = tokens[np.arange(len(tokens)), last]
        return ends
    weights = mask.astype(np.float32)
    total = np.einsum("btd,bt->bd", tokens, weights, optimize=False)
    mean: Vectors = total / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    return mean


def pool_parts(X: Vectors, parts: NDArray[np.int64], *, unit: bool) -> Vectors:
    """Average the consecutive rows that belong to one item.

    Parameters
    ----------
    X : ndarray of float32, shape (sum of parts, D)
    parts : ndarray of int64, shape (N,), each 1 or more
    unit : bool
        Scale each row to unit length first.

    Returns
    -------
    ndarray of float32, shape (N, D)
    """
    if unit:
        X = normalize(X)
    if (parts == 1).all():
        return X
    starts = np.concatenate([[0], np.cumsum(parts)[:-1]])
    total = np.add.reduceat(X.astype(np.float64), starts, axis=0)
    return (total / parts[:, None]).astype(np.float32)


def normalize(X: Vectors) -> Vectors:
    """Return rows of unit length; zero rows stay zero.

    Examples
    --------
    >>> normalize(np.array([[3, 4], [0, 0]], dtype=np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    norms = np.linalg.norm(X, axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # what is not finite stays so, for callers to see
        unit: Vectors = np.divide(X, norms, out=np.zeros_like(X), where=norms != 0)
    return unit
