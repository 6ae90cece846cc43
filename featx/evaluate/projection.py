"""Projection: a map of a gallery, on which items that are alike lie near each other.

A program of its own, since scikit-learn has no place in a service::

    python -m featx.evaluate.projection photos.knn --rows 2000
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from featx.errors import FeatxError
from featx.gallery.gallery import Gallery
from featx.gallery.held import Held
from featx.index.metric import unit_rows
from featx.types import Rows, Vectors

Method = Literal["t-SNE", "PCA"]

PROGRAM = "featx.evaluate.projection"

MOST_ROWS = 2000
"""What a person can look around in; t-SNE of as many takes seconds."""

LEAST_ROWS = 12
"""Fewer have no neighbourhoods that t-SNE could keep."""

WIDTH = 50
"""Columns that are left of a vector before t-SNE, as its authors have it."""

PERPLEXITY = 30.0

_NICE = 19
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """Where some items of a gallery lie on a map.

    Attributes
    ----------
    rows : ndarray of int64, shape (N,)
    places : ndarray of float64, shape (N, 2)
        From 0 to 1, to one scale in both directions.
    method : "t-SNE" or "PCA"
    """

    rows: Rows
    places: NDArray[np.float64]
    method: Method


def project(snapshot: Held, *, most: int = MOST_ROWS, seed: int = 0) -> Projection:
    """Lay out the items of a gallery, or as many of them, drawn evenly over the classes.

    Parameters
    ----------
    snapshot : Held
    most : int
    seed : int
        Of the draw and of the layout.
    """
    rows = evenly(snapshot, most, np.random.default_rng(seed))
    X = snapshot.vectors(rows)
    places, method = laid_out(unit_rows(X) if snapshot.metric == "cosine" else X, seed=seed)
    return Projection(rows=rows, places=places, method=method)


def mark_of(snapshot: Held) -> str:
    """Return what differs once a map of the gallery has to be drawn anew."""
    facts = snapshot.facts
    return f"{facts['set']['set_id']} {facts['space']} {snapshot.seq} {len(snapshot)}"


def evenly(snapshot: Held, most: int, rng: np.random.Generator) -> Rows:
    """Return at most so many rows, ascending: of each class as many as of any that has them."""
    rows = rng.permutation(snapshot.rows)
    codes = snapshot.label_codes(rows)
    order = np.argsort(codes, kind="stable")
    in_order = codes[order]
    turn = np.empty(len(rows), np.int64)  # 0 of the first of each class, 1 of the second ...
    turn[order] = np.arange(len(rows)) - np.searchsorted(in_order, in_order)
    return np.sort(rows[np.argsort(turn, kind="stable")[:most]])


def laid_out(X: Vectors, *, seed: int) -> tuple[NDArray[np.float64], Method]:
    """Return places of rows on a map, shape (N, 2), and how they were found.

    t-SNE (van der Maaten and Hinton 2008) of the first principal components; those themselves
    where there are too few rows.
    """
    plain = X.astype(np.float64)
    if len(plain) < 2 or not np.ptp(plain, axis=0).any():
        return np.full((len(plain), 2), 0.5), "PCA"
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    plain /= np.abs(plain).max()  # so that no square is too large for t-SNE's float32
    plain = np.pad(plain, ((0, 0), (0, max(0, 2 - plain.shape[1]))))
    # Threads that wait for each other a thousand times are slower than one, on a machine at work.
    with threadpool_limits(1):
        parts = PCA(min(WIDTH, *plain.shape), random_state=seed).fit_transform(plain)
        if len(parts) < LEAST_ROWS:
            return _to_square(parts[:, :2]), "PCA"
        perplexity = min(PERPLEXITY, (len(parts) - 1) / 3)
        tsne = TSNE(2, init="pca", perplexity=perplexity, random_state=seed)
        return _to_square(tsne.fit_transform(parts)), "t-SNE"


def _to_square(places: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return places moved and scaled into the middle of the unit square."""
    places = places.astype(np.float64)
    low, high = places.min(axis=0), places.max(axis=0)
    square: NDArray[np.float64] = (places - (low + high) / 2.0) / (high - low).max() + 0.5
    return square


def main(arguments: list[str] | None = None) -> int:
    """Print the map of a gallery as one JSON object, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m featx.evaluate.projection", description="Print a map of a gallery as JSON."
    )
    parser.add_argument("gallery", type=Path)
    parser.add_argument("--rows", type=int, default=MOST_ROWS, help="Most items of it.")
    parser.add_argument("--parent", type=int, help="Process with which this one ends.")
    chosen = parser.parse_args(arguments)
    os.nice(_NICE)
    Thread(target=end_with, args=(chosen.parent or os.getppid(),), daemon=True).start()
    try:
        with Gallery.open(chosen.gallery) as gallery:
            snapshot = gallery.snapshot
            document = _document(snapshot, project(snapshot, most=chosen.rows))
    except FeatxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(document))
    return 0


def _document(snapshot: Held, found: Projection) -> dict[str, object]:
    places = found.places.round(_DIGITS).tolist()
    pairs = zip(found.rows.tolist(), places, strict=True)
    return {
        "mark": mark_of(snapshot),
        "method": found.method,
        "points": [(snapshot.item(row)[0], x, y) for row, (x, y) in pairs],
    }


def end_with(parent: int) -> None:
    """End this process once the one that began it is gone: nobody waits for the map any more."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
