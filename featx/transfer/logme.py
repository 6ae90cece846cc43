"""LogME: how well embeddings explain labels, as the evidence of a Bayesian linear model."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import measure_classes

_MOST_STEPS = 100
# Relative change of the ratio of precisions at which it counts as settled.
_SETTLED = 1e-4
# Keeps precisions finite where embeddings say nothing of a class, or all of it.
_TINY = 1e-12


def logme(X: NDArray[Any], codes: NDArray[np.int64], n_classes: int) -> float:
    """Return the mean log evidence an item, in nats, of one linear model a class; more is better.

    Each class's indicator is ``X w`` and noise, both Gaussian, whose precisions maximise the
    evidence by MacKay's fixed point (You, Liu, Wang and Long 2021, "LogME: practical assessment
    of pre-trained models for transfer learning", arXiv:2102.11005).  Directions that no row has
    are left out of both terms in which they cancel.  Scaling `X` changes nothing.

    Cost: N D min(N, D).

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D)
        Read in blocks where N is not below D.
    codes : ndarray of int64, shape (N,)
    n_classes : int

    Examples
    --------
    >>> codes = np.array([0, 0, 1, 1])
    >>> told = logme(np.array([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), codes, 2)
    >>> told > logme(np.array([[1.0, 0], [0, 1], [1, 0.1], [0.1, 1]]), codes, 2)
    True
    """
    n, counts = len(X), np.bincount(codes, minlength=n_classes).astype(np.float64)
    spectrum, shares = _by_columns(X, codes, n_classes)
    rest = np.maximum(counts - shares.sum(axis=0), 0)
    ratio = np.ones(n_classes)
    for _ in range(_MOST_STEPS):
        alpha, beta = _precisions(spectrum, shares, rest, ratio, n)
        before, ratio = ratio, alpha / beta
        if (np.abs(ratio - before) <= _SETTLED * before).all():
            break
    kept = spectrum / (spectrum + ratio)
    lengths = (shares * kept / (spectrum + ratio)).sum(axis=0)
    residuals = (shares * (1 - kept) ** 2).sum(axis=0) + rest
    evidence = len(spectrum) * np.log(alpha) + n * np.log(beta / (2 * np.pi))
    evidence -= np.log(alpha + beta * spectrum).sum(axis=0) + beta * residuals + alpha * lengths
    return float(evidence.mean() / (2 * n))


def _precisions(
    spectrum: NDArray[np.float64],
    shares: NDArray[np.float64],
    rest: NDArray[np.float64],
    ratio: NDArray[np.float64],
    n: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the precisions (C,) of weights and of noise, one step of the fixed point on."""
    kept = spectrum / (spectrum + ratio)
    lengths = (shares * kept / (spectrum + ratio)).sum(axis=0)
    residuals = (shares * (1 - kept) ** 2).sum(axis=0) + rest
    determined = kept.sum(axis=0)
    return (
        np.maximum(determined, _TINY) / np.maximum(lengths, _TINY),
        np.maximum(n - determined, _TINY) / np.maximum(residuals, _TINY),
    )


def _by_columns(
    X: NDArray[Any], codes: NDArray[np.int64], n_classes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the squares of the singular values of `X` (R, 1), and of the indicators (R, C).

    The former are divided by their mean; the latter are squared lengths along the left singular
    vectors.
    """
    if len(X) < X.shape[1]:
        rows = X.astype(np.float64)
        squares, vectors = np.linalg.eigh(rows @ rows.T)
        indicators = (codes[:, None] == np.arange(n_classes)).astype(np.float64)
        shares = (vectors.T @ indicators) ** 2
    else:
        moments = measure_classes(X, codes, n_classes)
        weighted = moments.weight * moments.mean
        squares, vectors = np.linalg.eigh(moments.scatter + np.outer(weighted, moments.mean))
        sums = vectors.T @ (moments.cross + np.outer(weighted, moments.target_mean))
        shares = sums**2
        shares[squares > 0] /= squares[squares > 0, None]
    rounding = float(np.finfo(X.dtype).eps) * len(squares)
    there = squares > max(squares[-1], 0) * rounding
    scale = squares[there].mean() if there.any() else 1.0
    return squares[there, None] / scale, shares[there]
