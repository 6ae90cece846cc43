"""Labels that are probably wrong, told from held-out probabilities."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Suspects:
    """Rows whose label is probably wrong, the least likely label first.

    Attributes
    ----------
    rows : ndarray of int64, shape (K,)
    suggested : ndarray of int64, shape (K,)
        The class that each probably is.
    confidence : ndarray of float64, shape (K,)
        One minus the held-out probability of the label as given.
    """

    rows: NDArray[np.int64]
    suggested: NDArray[np.int64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)


def suspect_labels(probabilities: NDArray[Any], codes: NDArray[np.int64]) -> Suspects:
    """Return the rows that confidently belong to another class than their label says.

    Confident learning (Northcutt, Jiang and Chuang 2021, arXiv:1911.00068): a row confidently
    belongs to a class if it is at least as likely to be of that class as the rows labelled so are
    on average; it is a suspect if it does to a class that is likelier than its own.  A class
    that is hard, or whose labels are often wrong, so has a lower bar.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        Of rows by a head that was not fitted to them.
    codes : ndarray of int64, shape (N,)
        Their labels.

    Examples
    --------
    >>> likely = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8], [0.1, 0.9]])
    >>> found = suspect_labels(likely, np.array([0, 0, 1, 1, 0]))
    >>> found.rows.tolist(), found.suggested.tolist(), found.confidence.tolist()
    ([4], [1], [0.9])
    """
    likely = probabilities.astype(np.float64)
    every = np.arange(len(codes))
    own = likely[every, codes]
    confident = np.where(likely >= _bars(own, codes, likely.shape[1]), likely, -1)
    confident[every, codes] = -1
    suggested = confident.argmax(axis=1)
    rows = np.flatnonzero(confident[every, suggested] > own)
    rows = rows[np.argsort(own[rows], kind="stable")]
    return Suspects(rows, suggested[rows], 1 - own[rows])


def _bars(
    own: NDArray[np.float64], codes: NDArray[np.int64], n_classes: int
) -> NDArray[np.float64]:
    """Return the mean probability of each class among its own rows; infinite if it has none."""
    counts = np.bincount(codes, minlength=n_classes)
    sums = np.bincount(codes, own, minlength=n_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
