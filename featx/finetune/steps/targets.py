"""What a batch is trained toward: probabilities of classes and weights of items."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Feeds = dict[str, NDArray[Any]]


def one_hot(codes: NDArray[np.int64], classes: int, *, smoothing: float = 0.0) -> Floats:
    """Return the probabilities (B, classes) that class codes (B,) stand for.

    Parameters
    ----------
    codes : ndarray of int64, shape (B,)
    classes : int
    smoothing : float
        Share that all classes get alike (Szegedy et al. 2016, arXiv:1512.00567).

    Examples
    --------
    >>> one_hot(np.array([1, 0]), 2, smoothing=0.5).tolist()
    [[0.25, 0.75], [0.75, 0.25]]
    """
    targets = np.full((len(codes), classes), smoothing / classes, dtype=np.float32)
    targets[np.arange(len(codes)), codes] += np.float32(1 - smoothing)
    return targets


def mix(
    feeds: Mapping[str, NDArray[Any]],
    targets: Floats,
    weights: Floats,
    *,
    alpha: float,
    rng: np.random.Generator,
) -> tuple[Feeds, Floats, Floats]:
    """Mix each row of a batch with another one: mixup (Zhang et al. 2018, arXiv:1710.09412).

    Parameters
    ----------
    feeds : mapping of str to ndarray, first axis B
        The first is mixed; of the others, which are masks, the larger number counts.
    targets : ndarray of float32, shape (B, C)
    weights : ndarray of float32, shape (B,)
        Rows of weight 0, which only fill a batch, are mixed with none.
    alpha : float
        Shares are drawn from Beta(alpha, alpha).
    rng : numpy.random.Generator

    Returns
    -------
    feeds, targets, weights
        Of the same shapes; the loss is that of both rows, by their shares.
    """
    rows = len(targets)
    other, live = np.arange(rows), np.flatnonzero(weights > 0)
    other[live] = live[rng.permutation(len(live))]
    share = rng.beta(alpha, alpha, rows).astype(np.float32)
    (name, values), *masks = feeds.items()
    wide = share.reshape(-1, *[1] * (values.ndim - 1))
    mixed: Feeds = {name: wide * values + (1 - wide) * values[other]}
    mixed |= {mask: np.maximum(array, array[other]) for mask, array in masks}
    weighted = targets * weights[:, None]
    both = share[:, None] * weighted + (1 - share)[:, None] * weighted[other]
    total = both.sum(axis=1)
    return mixed, both / np.maximum(total, np.finfo(np.float32).tiny)[:, None], total
