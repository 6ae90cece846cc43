"""Measures of classifiers, in plain NumPy.

Classes are codes 0 to C - 1, the columns of the probabilities.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]


def confusion_matrix(truth: Codes, predicted: Codes, n_classes: int) -> NDArray[np.int64]:
    """Return counts (C, C): rows are true classes, columns predicted ones.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2).tolist()
    [[1, 1], [0, 1]]
    """
    counts = np.bincount(truth * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes).astype(np.int64)


def confusion_cells(truth: Codes, predicted: Codes) -> NDArray[np.int64]:
    """Return the cells of the confusion matrix that are not 0, shape (P, 3), P <= N.

    Each is a true class, a predicted one, and how often they meet; in the order of the matrix.

    Examples
    --------
    >>> confusion_cells(np.array([0, 7, 7]), np.array([0, 2, 2])).tolist()
    [[0, 0, 1], [7, 2, 2]]
    """
    pairs, times = np.unique(np.column_stack([truth, predicted]), axis=0, return_counts=True)
    return np.column_stack([pairs, times])


class Counts(NamedTuple):
    """Items of each class, each shape (C,): of int64, or of float64 where items are weighted.

    Attributes
    ----------
    hits : ndarray
        Those of the class that are taken for it.
    predicted : ndarray
        Those that are taken for it.
    support : ndarray
        Those of it.
    """

    hits: NDArray[Any]
    predicted: NDArray[Any]
    support: NDArray[Any]


def class_counts(
    truth: Codes, predicted: Codes, n_classes: int, weights: NDArray[np.float64] | None = None
) -> Counts:
    """Return the items of each class; memory grows with the classes, not with their square.

    Parameters
    ----------
    truth, predicted : ndarray of int64, shape (N,)
    n_classes : int
    weights : ndarray of float64, shape (N,), optional
        How much each item counts; all alike unless given.

    Examples
    --------
    >>> [each.tolist() for each in class_counts(np.array([0, 0, 1]), np.array([0, 1, 1]), 2)]
    [[1, 1], [1, 2], [2, 1]]
    """

    def count(codes: Codes, kept: Any = ...) -> NDArray[Any]:  # noqa: ANN401 - as an index has it
        counted = None if weights is None else weights[kept]
        return np.bincount(codes[kept], counted, minlength=n_classes)

    return Counts(count(truth, truth == predicted), count(predicted), count(truth))


def balanced_accuracy(counts: Counts) -> float:
    """Return the mean recall of the classes that occur."""
    present = counts.support > 0
    return float((counts.hits[present] / counts.support[present]).mean())


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 of the classes that occur or are predicted."""
    total = counts.predicted + counts.support
    present = total > 0
    return float((2 * counts.hits[present] / total[present]).mean())


def class_measures(
    hits: NDArray[Any], predicted: NDArray[Any], support: NDArray[Any]
) -> list[dict[str, float]]:
    """Return ``precision``, ``recall``, ``f1`` and ``support`` (true items) of each class.

    A share of nothing is 0: the precision of a class that is never predicted, the recall of one
    that does not occur.  The parameters are those of `Counts`.

    Examples
    --------
    >>> class_measures(*(np.array([n]) for n in (3, 3, 4)))
    [{'precision': 1.0, 'recall': 0.75, 'f1': 0.8571428571428571, 'support': 4}]
    """
    columns = {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def log_loss(
    probabilities: NDArray[Any], truth: Codes, weights: NDArray[np.float64] | None = None
) -> float:
    """Return the mean negative logarithm (nats) of the true class's probability.

    Probabilities are kept above the smallest that float64 tells from 0 beside 1, 2.2e-16.
    `weights` (N,) say how much each item counts; all alike unless given.
    """
    true = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    losses = -np.log(np.maximum(true, np.finfo(np.float64).eps))
    return float(np.average(losses, weights=weights))


def calibration_error(
    probabilities: NDArray[Any],
    truth: Codes,
    *,
    bins: int = 15,
    weights: NDArray[np.float64] | None = None,
) -> float:
    """Return the expected calibration error of the top class, over bins of equal mass.

    Rows are sorted by their highest probability and cut into `bins` bins of equal size (or one a
    row, if there are fewer); the error is the mean of |accuracy - mean probability| over bins,
    weighted by size (Nguyen and O'Connor 2015).

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
    truth : ndarray of int64, shape (N,)
    bins : int, default 15
    weights : ndarray of float64, shape (N,), optional
        How much each item counts within its bin, and so its bin; all alike unless given.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    w = np.ones(len(truth)) if weights is None else weights
    gap = w * ((probabilities.argmax(axis=1) == truth) - confidence)
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(gap[order], min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / w.sum())
