"""Centroid relabelling: classes are looked for around the means that the head's labels give."""

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import measure_classes
from featx.index.neighbours import unit_rows
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear

MOST_ROUNDS = 20
"""They end as soon as no row changes its class."""


def relabel_centroids(source: Source, Z: NDArray[np.float32]) -> Linear:
    """Return a ridge head of rows `Z` (M, D), labelled by the nearest of their own class means.

    The means are first those that the head's probabilities give, then those of the labels, by
    cosine of centred rows (Liang, Hu and Feng 2020, "Do we really need to access the source data?
    Source hypothesis transfer for unsupervised domain adaptation", arXiv:2002.08546, 3.3).  Rows
    of the source keep a class that lost all its own, and steady the others.
    """
    unit = unit_rows(Z - Z.mean(axis=0))
    weights = source.base.probabilities(Z)
    codes = weights.argmax(axis=1)
    for _ in range(MOST_ROUNDS):
        means = unit_rows((weights.T @ unit).astype(Z.dtype))
        moved, codes = codes, (unit @ means.T).argmax(axis=1)
        weights = (codes[:, None] == np.arange(len(means))).astype(np.float64)
        if np.array_equal(moved, codes):
            break
    return source.solved(source.moments.plus(measure_classes(Z, codes, len(source.prior))))
