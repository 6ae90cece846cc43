"""Labelled vectors that look like embeddings, drawn from a seed.

What real embeddings show and isotropic Gaussians do not: a spectrum that falls as a power law, a
mean that all rows share (so that any two have a positive cosine), classes in families, a spread of
its own for each class and direction, heavy tails, wrong labels, and rows of length one.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.support.embeddings import Labelled

DECAY = 0.8  # eigenvalue j is proportional to j ** -DECAY
MEAN_DECAY = 0.35  # the class means' spectrum is flatter than that of the rows
FAMILY, OWN = 0.6, 0.8  # weights of a class mean's two parts; their squares sum to 1
COMMON_MEAN = 0.6  # its length, of rows whose expected square is 1
CLASS_SPREAD = 0.3  # standard deviation of the logarithm of a class's scale in a direction
TAILS = 6  # degrees of freedom of Student's t
WRONG_LABELS = 0.02
BLOCK = 20_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """A distribution.

    Attributes
    ----------
    dim, classes : int
    separation : float
        Length of the class means.
    seed : int
    """

    dim: int
    classes: int
    separation: float
    seed: int = 0


def draw(recipe: Recipe, train: int, test: int) -> Labelled:
    """Return `train` and `test` rows; the labels of a small share of both are wrong."""
    rng, total = np.random.default_rng(recipe.seed), train + test
    spectrum = np.arange(1, recipe.dim + 1) ** -DECAY
    spectrum /= spectrum.sum()
    means = class_means(recipe, spectrum, rng)
    codes = rng.choice(recipe.classes, total, p=np.full(recipe.classes, 1 / recipe.classes))
    spreads = np.exp(CLASS_SPREAD * rng.standard_normal(means.shape))
    scales = np.sqrt(spectrum) * spreads
    common = COMMON_MEAN * rng.standard_normal(recipe.dim) / np.sqrt(recipe.dim)
    rotation, _ = np.linalg.qr(rng.standard_normal((recipe.dim, recipe.dim)))
    X = np.empty((total, recipe.dim), dtype=np.float32)
    for start in range(0, total, BLOCK):
        block = codes[start : start + BLOCK]
        rows = heavy_tailed(len(block), recipe.dim, rng) * scales[block].astype(np.float32)
        rows += (means[block] + common).astype(np.float32)
        rows = rows @ rotation.astype(np.float32)
        X[start : start + BLOCK] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    y = with_wrong_labels(codes, recipe.classes, rng)
    return Labelled(X[:train], y[:train], X[train:], y[train:])


def class_means(
    recipe: Recipe, spectrum: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return means (C, D): what a family of about sqrt(C) classes shares, and what is its own."""
    n_families = max(2, int(np.sqrt(recipe.classes)))
    families = rng.standard_normal((n_families, recipe.dim))
    family = rng.integers(0, n_families, recipe.classes)
    own = rng.standard_normal((recipe.classes, recipe.dim))
    weights = spectrum**MEAN_DECAY
    means = (FAMILY * families[family] + OWN * own) * weights
    scaled: NDArray[np.float64] = means * (recipe.separation / np.sqrt(np.square(weights).sum()))
    return scaled


def heavy_tailed(count: int, dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return rows of a multivariate Student's t with `TAILS` degrees of freedom."""
    rows = rng.standard_normal((count, dim), dtype=np.float32)
    rows *= np.sqrt(TAILS / rng.chisquare(TAILS, count)).astype(np.float32)[:, None]
    return rows


def with_wrong_labels(
    codes: NDArray[np.int64], classes: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    is_wrong = rng.random(len(codes)) < WRONG_LABELS
    drawn = codes.copy()
    drawn[is_wrong] = rng.integers(0, classes, is_wrong.sum())
    return drawn
