"""Items that are unlike all others."""

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.curation.inspection import Outliers

LEAST_ROWS = 20
"""Of fewer rows it is not known how like others they usually are."""

FENCE = 1.5
"""Interquartile ranges below the first quartile from which a value is an outlier (Tukey 1977)."""

_ROUNDING = 1e-6


def find_outliers(likeness: NDArray[np.float64]) -> Outliers:
    """Return the rows that are below Tukey's lower fence, the strangest first.

    Parameters
    ----------
    likeness : ndarray of float64, shape (N,)
        Mean cosine to the nearest others; NaN where there is none.

    Examples
    --------
    >>> found = find_outliers(np.append(np.linspace(0.8, 0.9, 30), 0.2))
    >>> found.rows.tolist(), found.likeness.tolist()
    ([30], [0.2])
    """
    known = np.flatnonzero(np.isfinite(likeness))
    if len(known) < LEAST_ROWS:
        return Outliers()
    low, high = np.quantile(likeness[known], [0.25, 0.75])
    if high - low < _ROUNDING:
        return Outliers()
    rows = known[likeness[known] < low - FENCE * (high - low)]
    rows = rows[np.argsort(likeness[rows], kind="stable")]
    return Outliers(rows=rows, likeness=likeness[rows])
