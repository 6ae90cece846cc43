"""Which items a page shows one by one, where there are too many for all."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from featx.heads.folds import stratified_sample
from featx.types import Rows

MOST = 5_000
"""Items that a page of five megabytes can show."""


def shown_rows(strata: NDArray[np.int64], first: Iterable[int], *, most: int = MOST) -> Rows:
    """Return the rows to show, the most important first.

    All rows if they are few; else those that matter, up to half, and of the others as many of each
    class as its size gives it.

    Parameters
    ----------
    strata : ndarray of int64, shape (N,)
        The class of each row; any number where it has none.
    first : iterable of int
        Rows that matter, such as errors, the most important first.
    most : int

    Examples
    --------
    >>> shown_rows(np.array([0, 0, 1, 1]), [3, 1, 3]).tolist()
    [3, 1, 0, 2]
    """
    n = len(strata)
    important = list(dict.fromkeys(first))
    if n > most:
        important = important[: most // 2]
    others = np.setdiff1d(np.arange(n), important)
    wanted = min(most, n) - len(important)
    if len(others) > wanted:
        others = others[stratified_sample(strata[others], wanted)][:wanted]
    return np.concatenate([np.array(important, dtype=np.int64), others])
