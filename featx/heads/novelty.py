"""Whether an item is unlike anything that a head was trained on, in plain NumPy.

With classes, the distance is the relative Mahalanobis distance of Ren et al. 2021
(arXiv:2106.09022): how far an item is from the nearest class, less how far it is from all items
taken together, so that what makes any item unusual does not count.  Without classes it is the
Mahalanobis distance from the mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.conformal import bound_at
from featx.heads.moments import Moments, measure_classes, row_blocks
from featx.heads.rowspace import RowSpace, narrow
from featx.types import Vectors

PENALTY = 1.0
"""Added to every variance, as a multiple of the mean variance.

Of .01, .1, .3, 1 and 3 none is best everywhere, and it matters little: AUROC of .957 to .966 on 800
digits of seven classes (three others unseen), .892 to .909 on 70, .781 to .801 on the sample
pictures; .964, .905 and .792 with 1.
"""

# The part of the spread, in roundings of one number, that may be rounding errors of equal rows.
_NO_SPREAD = 1e3
# Threshold where too few rows promise nothing: no distance is above it.
_NEVER = float(np.finfo(np.float64).max)
_PREFIX = "novelty_"
_NUMBERS = ("beyond", "threshold", "quantile")
_MATRICES = ("mean", "whiten", "centres", "background")


@dataclass(frozen=True, slots=True, kw_only=True)
class Novelty:
    """How far items are from the training rows, and how far is too far.

    Attributes
    ----------
    mean : ndarray of float32, shape (D,)
        Of all training rows.
    basis : ndarray of float32, shape (R, D), or None
        Orthonormal: the directions that fewer than D training rows span.
    whiten : ndarray of float32, shape (R, R)
        Makes the penalised covariance within classes the identity; R = D without `basis`.
    centres : ndarray of float32, shape (C, R)
        Whitened means of the classes that have rows.
    background : ndarray of float32, shape (R,)
        Inverse of the penalised covariance of all rows, which is diagonal when whitened; zeros
        where there is one class.
    beyond : float
        Distance of a unit of squared length outside `basis`.
    threshold : float
        The largest distance of an item that is like the training rows.
    quantile : float
        Share of items like the training rows that are to be within `threshold`.
    """

    mean: Vectors
    basis: Vectors | None
    whiten: Vectors
    centres: Vectors
    background: Vectors
    beyond: float
    threshold: float
    quantile: float

    def distances(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """Return the distance of each row of `X` (N, D), which may be negative; shape (N,)."""
        found = np.empty(len(X))
        for part in row_blocks(X):
            white, outside = _whiten(self, X[part])
            found[part] = _squared_distances(white, self.centres).min(axis=1)
            found[part] += self.beyond * outside - np.square(white) @ self.background
        return found

    def flags(self, X: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which rows of `X` (N, D) are unlike the training rows; shape (N,)."""
        return self.distances(X) > self.threshold

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return everything as arrays whose names begin with ``novelty_``."""
        names = (*_MATRICES, *_NUMBERS, *(["basis"] if self.basis is not None else []))
        return {_PREFIX + name: np.asarray(getattr(self, name)) for name in names}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Novelty | None":
        """Return what `to_arrays` gave, perhaps among other arrays; None where there is none.

        Raises
        ------
        KeyError
            If some of them are missing.
        """
        if not any(name.startswith(_PREFIX) for name in arrays):
            return None
        values: dict[str, Any] = {name: arrays[_PREFIX + name] for name in _MATRICES}
        values |= {name: float(arrays[_PREFIX + name]) for name in _NUMBERS}
        return cls(basis=arrays.get(_PREFIX + "basis"), **values)


def fit_novelty(
    X: NDArray[Any], codes: NDArray[np.int64], *, n_classes: int, quantile: float = 0.95
) -> Novelty:
    """Return the distances from training rows, with a threshold from each row left out in turn.

    Covariances get `PENALTY` times their mean variance added to every variance, so that constant
    and repeated columns, and fewer rows than columns, do no harm.  The threshold is the distance
    of rank ceil((n + 1) * quantile) among those that each row has from the other rows: exact for
    means and covariances without it (Sherman and Morrison 1950), the penalty held as it is.  Of
    fewer than ``quantile / (1 - quantile)`` rows none has that rank, and nothing is ever flagged.
    Cost: O(N R^2 + N R C + R^3), R = min(N, D).

    Parameters
    ----------
    X : ndarray of float32 or float64, shape (N, D), N > 0
        May be a memory map; read in blocks if N >= D.
    codes : ndarray of int64, shape (N,)
        Classes; all zeros where there are none.
    n_classes : int
        With one, the distance is that from the mean.
    quantile : float, above 0 and below 1

    Examples
    --------
    >>> codes = np.repeat([0, 1], 50)
    >>> X = np.random.default_rng(0).normal(size=(100, 2)) + 9 * codes[:, None]
    >>> fit_novelty(X, codes, n_classes=2).flags(np.array([[0, 0], [9, 9], [0, 9]])).tolist()
    [False, False, True]
    """
    space = narrow(X)
    moments = measure_classes(space.rows, codes, n_classes)
    return _limited(_solve(space, moments, X.shape[1]), moments, X, codes, quantile)


def novelty_of(
    moments: Moments,
    X: NDArray[Any],
    codes: NDArray[np.int64],
    *,
    quantile: float = 0.95,
    weights: NDArray[np.float64] | None = None,
) -> Novelty:
    """Return what `fit_novelty` does of training rows that are known by their moments.

    Parameters
    ----------
    moments : Moments
        Of all training rows and the indicators of their classes.
    X : ndarray of float32 or float64, shape (n, D)
        Some of those rows, which give the threshold; read in blocks.
    codes : ndarray of int64, shape (n,)
        Their classes.
    quantile : float, above 0 and below 1
    weights : ndarray of float64, shape (n,), optional
        How much each of the rows counts, at most 1; all alike unless given.
    """
    space = RowSpace(X, None, np.zeros(X.shape[1], X.dtype))
    solved = _solve(space, moments, X.shape[1])
    return _limited(solved, moments, X, codes, quantile, weights=weights)


def _limited(
    fitted: Novelty,
    moments: Moments,
    X: NDArray[Any],
    codes: NDArray[np.int64],
    quantile: float,
    *,
    weights: NDArray[np.float64] | None = None,
) -> Novelty:
    """Return distances with a threshold from each row left out in turn."""
    held_out = [_left_out(fitted, moments, X[part], codes[part]) for part in row_blocks(X)]
    threshold = threshold_at(np.concatenate(held_out), quantile, weights)
    return replace(fitted, threshold=threshold, quantile=quantile)


def threshold_at(
    distances: NDArray[np.float64], quantile: float, weights: NDArray[np.float64] | None = None
) -> float:
    """Return the held-out distance of rank ceil((n + 1) * quantile), or one that none is above.

    A new item drawn like these is above it with a chance of at most 1 - `quantile`, as with
    conformal sets.  `weights` are those of `bound_at`.

    Examples
    --------
    >>> threshold_at(np.arange(1.0, 20), 0.95)
    19.0
    """
    return bound_at(distances, quantile, _NEVER, weights)


def _solve(space: RowSpace, moments: Moments, dim: int) -> Novelty:
    """Return distances without a threshold: both covariances made diagonal together."""
    counts = moments.class_weights()
    present = counts > 0.5
    freedom, freedom_all = (float(each) for each in _freedoms(moments.weight, present.sum()))
    within, scatter = moments.within_scatter(), moments.scatter
    spread = float(np.trace(scatter)) or 1.0
    # Where each class has one row, or equal ones, all that is known is the spread of all rows.
    own = float(np.trace(within))
    rounding = float(np.finfo(space.rows.dtype).eps)
    own = own if own > _NO_SPREAD * rounding * spread else spread * freedom / freedom_all
    penalty, penalty_all = PENALTY * own / dim, PENALTY * spread / dim
    unit = np.eye(len(scatter))
    root = np.linalg.cholesky(within + penalty * unit)
    halved = np.linalg.solve(root, scatter + penalty_all * unit)
    ratios, turn = np.linalg.eigh(np.linalg.solve(root, halved.T))
    whiten = np.sqrt(freedom) * np.linalg.solve(root.T, turn)
    is_relative = present.sum() > 1
    background = freedom_all / freedom / ratios * is_relative
    beyond = freedom / penalty - is_relative * freedom_all / penalty_all
    centres = (moments.class_means()[present] - moments.mean) @ whiten
    mean = space.mean if space.basis is not None else moments.mean
    return Novelty(
        mean=mean.astype(np.float32),
        basis=None if space.basis is None else space.basis.astype(np.float32),
        whiten=whiten.astype(np.float32),
        centres=centres.astype(np.float32),
        background=background.astype(np.float32),
        beyond=float(beyond),
        threshold=_NEVER,
        quantile=1.0,
    )


def _left_out(
    fitted: Novelty, moments: Moments, X: NDArray[Any], codes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the distance of each training row from all other training rows."""
    counts = moments.class_weights().round()
    present = counts > 0
    own = (present.cumsum() - 1)[codes]
    every = np.arange(len(codes))
    freedom, freedom_all = _freedoms(moments.weight, present.sum())
    size = counts[codes]
    is_alone = size == 1
    # Taking a row away takes this multiple of its squared deviation out of the scatter.
    lever = np.where(is_alone, 0, size / np.maximum(size - 1, 1))
    white, _ = _whiten(fitted, X)
    apart = _squared_distances(white, fitted.centres)
    from_own = apart[every, own]
    rest = 1 - lever * from_own / freedom
    between = _squared_distances(fitted.centres, fitted.centres)[own]
    product = (apart + from_own[:, None] - between) / 2
    nearest = apart + (lever / freedom / rest)[:, None] * np.square(product)
    nearest[every, own] = np.where(is_alone, np.inf, lever**2 * from_own / rest)
    left = _freedoms(moments.weight - 1, present.sum() - is_alone)
    found = nearest.min(axis=1) * left[0] / freedom
    common = np.square(white) @ fitted.background.astype(np.float64)
    lever_all = moments.weight / max(moments.weight - 1, 1)
    rest_all = 1 - lever_all * common / freedom_all
    return np.asarray(found - lever_all**2 * common / rest_all * left[1] / freedom_all)


def _freedoms(weight: float, classes: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Return what the scatter within classes, and of all rows, is divided by."""
    return np.asarray(np.maximum(weight - classes, 1)), max(weight - 1, 1)


def _whiten(fitted: Novelty, X: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return whitened rows (N, R), and the squared length of each outside the basis (N,)."""
    rows = X.astype(np.float32) - fitted.mean
    outside = np.zeros(len(rows))
    if fitted.basis is not None:
        inside = rows @ fitted.basis.T
        outside = np.square(rows - inside @ fitted.basis).sum(axis=1, dtype=np.float64)
        rows = inside
    return np.asarray(rows @ fitted.whiten, dtype=np.float64), outside


def _squared_distances(rows: NDArray[Any], centres: NDArray[Any]) -> NDArray[np.float64]:
    """Return the squared distance of each row to each centre, (N, C)."""
    rows, centres = rows.astype(np.float64), centres.astype(np.float64)
    found = -2 * rows @ centres.T
    found += np.square(rows).sum(axis=1)[:, None] + np.square(centres).sum(axis=1)
    return np.asarray(np.maximum(found, 0))
