"""The labelled corpora as embeddings, made once with our zoo and kept below ``.bench/``.

``python -m bench.support.embeddings`` makes them all: about five minutes on two cores.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.support import drive, labelled, tools
from bench.support.places import HOME

TEXTS = HOME / "embeddings" / "texts.emb"  # 384 numbers a text
IMAGES = HOME / "embeddings" / "clipart.emb"  # 1280 numbers an image
THREADS = 2
SEED = 20261123


@dataclass(frozen=True, slots=True)
class Labelled:
    """Embeddings with class codes, cut into two parts.

    Attributes
    ----------
    X, X_test : ndarray of float32, shape (N, D) and (M, D)
    y, y_test : ndarray of int64, shape (N,) and (M,)
    """

    X: NDArray[np.float32]
    y: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def make(threads: int = THREADS) -> None:
    """Fetch and embed what is not there yet."""
    for source, model, out in (
        (labelled.texts, tools.TEXT, TEXTS),
        (labelled.images, tools.IMAGE, IMAGES),
    ):
        if not is_made(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            drive.embed(source(), model, out, threads=threads)


def is_made(path: Path) -> bool:
    import featx

    return path.is_dir() and featx.open(path).finished


def split(path: Path, train: int) -> Labelled:
    """Return a set of embeddings as `train` rows drawn at random, and all others.

    They are divided by their lengths, so that a penalty means the same for every model.
    """
    import featx

    found = featx.open(path)
    _, codes = np.unique([str(label) for label in found.y], return_inverse=True)
    order = np.random.default_rng(SEED).permutation(len(codes))
    X, y = np.array(found.X[:], dtype=np.float32)[order], codes[order].astype(np.int64)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return Labelled(X[:train], y[:train], X[train:], y[train:])


if __name__ == "__main__":
    make()
