"""Self-training: the surest rows of the target, balanced over the classes, train the head anew."""

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import measure_classes
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.linear import Linear

SHARES = (0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the rows taken for each class, in turn."""

MOST_ROUNDS = 10
"""Of those with all rows, which end as soon as no row changes its class."""


def self_train(source: Source, Z: NDArray[np.float32]) -> Linear:
    """Return a ridge head of the source's rows and those of `Z` (M, D) with the labels it gives.

    Each round takes the surest share of the rows of every class, so that no easy class crowds out
    the others (Zou, Yu, Kumar and Wang 2018, "Domain adaptation for semantic segmentation via
    class-balanced self-training", arXiv:1810.07911).  A round costs one Gram matrix of `Z`.
    """
    linear, before = source.base, None
    for share in (*SHARES, *[1.0] * MOST_ROUNDS):
        probabilities = linear.probabilities(Z)
        codes = probabilities.argmax(axis=1)
        if share == 1.0 and before is not None and np.array_equal(codes, before):
            break
        before = codes if share == 1.0 else None
        kept = surest(probabilities, share)
        taken = measure_classes(Z[kept], codes[kept], len(source.prior))
        linear = source.solved(source.moments.plus(taken))
    return linear


def surest(probabilities: NDArray[np.float64], share: float) -> NDArray[np.int64]:
    """Return the rows of the highest probability, a share of each class's, ascending.

    Of a class with any row one is taken at least.

    Examples
    --------
    >>> surest(np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.1, 0.9]]), 0.5).tolist()
    [0, 3]
    """
    codes, tops = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.lexsort((-tops, codes))
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    parts = np.split(order, starts[1:])
    return np.sort(np.concatenate([part[: int(np.ceil(share * len(part)))] for part in parts]))
