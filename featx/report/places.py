"""Places of embeddings on a map: their first two principal components, or UMAP."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.errors import InputError, MissingPackageError
from featx.heads.moments import row_blocks
from featx.types import Vectors

Method = Literal["pca", "umap"]

NEIGHBOURS = 15
"""Of each item that UMAP keeps near it; fewer rows are laid out by PCA."""

WIDTH = 50
"""Components that UMAP starts from, where vectors are wider."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the rows of a set lie on a map.

    Attributes
    ----------
    xy : ndarray of float32, shape (N, 2)
        NaN where a vector is not finite.
    method : {"pca", "umap"}
        That made them: ``"pca"`` too where there are too few rows for the other.
    share : float or None
        Of the variance, that two principal components show.
    """

    xy: NDArray[np.float32]
    method: Method
    share: float | None = None


def require_method(method: Method, n: int) -> None:
    """Raise before what takes longer if so many rows cannot be laid out as asked.

    Raises
    ------
    MissingPackageError
        If the method's package is absent; never of rows so few that PCA lays them out.
    """
    if method == "umap" and n > NEIGHBOURS and find_spec("umap") is None:
        raise MissingPackageError("umap-learn", "'featx[umap]'")


def lay_out(X: Vectors | RowView, method: Method = "pca", *, seed: int = 0) -> Places:
    """Return places of embeddings.

    PCA takes O(N D^2 + D^3) operations, and memory for a block of rows.  UMAP (McInnes, Healy and
    Melville 2018, arXiv:1802.03426), by cosine, takes about a minute for 20,000 rows.

    Parameters
    ----------
    X : ndarray of float32 or RowView, shape (N, D)
    method : {"pca", "umap"}
    seed : int
        Of UMAP.

    Raises
    ------
    InputError
        If no row is finite.
    MissingPackageError
        If umap-learn is absent.
    """
    finite = np.flatnonzero(_are_finite(X))
    if not len(finite):
        message = f"map: none of {len(X):,} vectors is finite; delete the set and embed it again"
        raise InputError(message)
    rows = X if len(finite) == len(X) else X[finite]
    if method == "umap" and len(finite) > NEIGHBOURS:
        found, share = _umap(rows, seed), None
    else:
        method, (found, share) = "pca", components(rows, 2)
    xy = np.full((len(X), 2), np.nan, dtype=np.float32)
    xy[finite] = found
    return Places(xy=xy, method=method, share=share)


def components(X: Vectors | RowView, width: int) -> tuple[NDArray[np.float32], float]:
    """Return the first principal components of rows, and the share of the variance they hold.

    Each component points to where its largest loading is positive, so that a map is not mirrored
    by chance.

    Parameters
    ----------
    X : ndarray of float32 or RowView, shape (N, D)
    width : int
        Columns of the result; those beyond D are 0.

    Examples
    --------
    >>> places, share = components(np.array([[0, 0], [2, 0], [4, 0]], np.float32), 2)
    >>> places.tolist(), share
    ([[-2.0, 0.0], [0.0, 0.0], [2.0, 0.0]], 1.0)
    """
    n, dim = X.shape
    parts = list(row_blocks(np.empty(n)))
    mean = sum(X[part].sum(axis=0, dtype=np.float64) for part in parts) / n
    scatter = np.zeros((dim, dim))
    for part in parts:
        centred = X[part] - mean
        scatter += centred.T @ centred
    values, axes = np.linalg.eigh(scatter)
    kept = axes[:, ::-1][:, :width]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(kept.shape[1])])
    found = np.zeros((n, width), dtype=np.float32)
    for part in parts:
        found[part, : kept.shape[1]] = (X[part] - mean) @ kept
    total = float(values.sum())
    return found, float(values[::-1][:width].sum()) / total if total > 0 else 1.0


def _umap(X: Vectors | RowView, seed: int) -> NDArray[np.float32]:
    try:
        from umap import UMAP
    except ImportError as cause:
        raise MissingPackageError("umap-learn", "'featx[umap]'") from cause
    rows = components(X, WIDTH)[0] if X.shape[1] > WIDTH else np.asarray(X)
    # One thread, and so the same places each time.
    made = UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1)
    places: NDArray[np.float32] = made.fit_transform(rows)
    return places


def _are_finite(X: Vectors | RowView) -> NDArray[np.bool_]:
    is_finite = [np.isfinite(X[part]).all(axis=1) for part in row_blocks(np.empty(len(X)))]
    return np.concatenate(is_finite) if is_finite else np.empty(0, dtype=bool)
