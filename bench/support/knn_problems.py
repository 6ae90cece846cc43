"""Galleries and queries that searches are compared on, as arrays in a folder of their own.

Real: embeddings of 20,000 texts, each repeated with noise of its own until there are enough.  Hard:
a hundred Gaussian clusters in which noise, alike in all directions, outweighs the distances
between their centres, so that no structure helps an index.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.support import embeddings
from bench.support.places import HOME

PROBLEMS = HOME / "problems"
DIM, QUERIES, K = 384, 1_000, 10
NOISE = 0.3  # length of what is added to a text's vector of length one
CLUSTERS, SPREAD = 100, 2.5
BLOCK = 50_000
SEED = 20261125

Rows = NDArray[np.float32]
Labelled = tuple[Rows, NDArray[np.int64]]
Draw = Callable[[NDArray[np.int64], np.random.Generator], Labelled]
"""From row numbers to vectors and class codes."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A gallery of `rows` vectors of length one, labelled, with queries and their true neighbours.

    Attributes
    ----------
    name : str
        For the rows of the bench.
    key : str
        Of its folder.
    rows : int
    source : callable
        Returns what draws blocks of it.
    """

    name: str
    key: str
    rows: int
    source: Callable[[], Draw]

    def folder(self) -> Path:
        """Return the folder of X, y, Q, y_test and truth (rows of the 10 nearest), written once."""
        folder = PROBLEMS / f"{self.key}-{self.rows}"
        if not (folder / "truth.npy").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            self._write(folder)
        return folder

    def _write(self, folder: Path) -> None:
        draw, rng = self.source(), np.random.default_rng(SEED)
        X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (self.rows, DIM))
        y = np.empty(self.rows, np.int64)
        for start in range(0, self.rows, BLOCK):
            numbers = np.arange(start, min(start + BLOCK, self.rows))
            X[numbers], y[numbers] = draw(numbers, rng)
        X.flush()
        Q, y_test = draw(rng.integers(0, self.rows, QUERIES), rng)
        for name, array in {"y": y, "Q": Q, "y_test": y_test, "truth": nearest(X, Q, K)}.items():
            np.save(folder / f"{name}.npy", array)


def nearest(X: Rows, Q: Rows, k: int) -> NDArray[np.int64]:
    """Return the rows of the `k` largest inner products, in float32 and without an index."""
    best = np.full((len(Q), k), -np.inf, np.float32)
    rows = np.zeros((len(Q), k), np.int64)
    for start in range(0, len(X), BLOCK):
        near = np.hstack([best, Q @ X[start : start + BLOCK].T])
        known = np.hstack([rows, np.tile(np.arange(near.shape[1] - k) + start, (len(Q), 1))])
        top = np.argpartition(-near, k, axis=1)[:, :k]
        best, rows = np.take_along_axis(near, top, 1), np.take_along_axis(known, top, 1)
    return np.asarray(np.take_along_axis(rows, np.argsort(-best, axis=1), 1))


def real(rows: int) -> Problem:
    return Problem(f"texts repeated with noise, n={rows:,} d={DIM}", "knn-texts", rows, _texts)


def hard(rows: int) -> Problem:
    return Problem(f"hard synthetic, n={rows:,} d={DIM}", "knn-hard", rows, _clusters)


def _texts() -> Draw:
    known = embeddings.split(embeddings.TEXTS, 10_000)
    X, y = np.vstack([known.X, known.X_test]), np.hstack([known.y, known.y_test])

    def draw(numbers: NDArray[np.int64], rng: np.random.Generator) -> Labelled:
        own = numbers % len(X)
        noise = rng.standard_normal((len(own), DIM), dtype=np.float32)
        return _unit(X[own] + NOISE / DIM**0.5 * noise), y[own]

    return draw


def _clusters() -> Draw:
    centres = np.random.default_rng(SEED).standard_normal((CLUSTERS, DIM), dtype=np.float32)

    def draw(numbers: NDArray[np.int64], rng: np.random.Generator) -> Labelled:
        y = rng.integers(0, CLUSTERS, len(numbers))
        noise = rng.standard_normal((len(numbers), DIM), dtype=np.float32)
        return _unit(centres[y] + SPREAD * noise), y

    return draw


def _unit(X: Rows) -> Rows:
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True))


SOURCES: dict[str, Callable[[int], Problem]] = {"real": partial(real), "hard": partial(hard)}
