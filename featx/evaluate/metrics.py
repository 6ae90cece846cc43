"""Measures of classifiers, in plain NumPy.

Classes are codes 0 to C - 1, the columns of the probabilities.
"""

from typing import Any

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


def balanced_accuracy(confusion: NDArray[np.int64]) -> float:
    """Return the mean recall of the classes that occur."""
    occurring = confusion.sum(axis=1)
    present = occurring > 0
    return float((np.diag(confusion)[present] / occurring[present]).mean())


def macro_f1(confusion: NDArray[np.int64]) -> float:
    """Return the mean F1 of the classes that occur or are predicted."""
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    present = total > 0
    return float((2 * np.diag(confusion)[present] / total[present]).mean())


def per_class(confusion: NDArray[np.int64]) -> list[dict[str, float]]:
    """Return ``precision``, ``recall``, ``f1`` and ``support`` (true items) of each class.

    A share of nothing is 0: the precision of a class that is never predicted, the recall of one
    that does not occur.

    Examples
    --------
    >>> per_class(np.array([[3, 1], [0, 0]]))[0]
    {'precision': 1.0, 'recall': 0.75, 'f1': 0.8571428571428571, 'support': 4}
    """
    return class_measures(np.diag(confusion), confusion.sum(axis=0), confusion.sum(axis=1))


def class_measures(hits: Codes, predicted: Codes, support: Codes) -> list[dict[str, float]]:
    """Return what `per_class` does, from counts (C,) instead of a matrix of all pairs of classes.

    Parameters
    ----------
    hits : ndarray of int64, shape (C,)
        Items of each class that are taken for it.
    predicted, support : ndarray of int64, shape (C,)
        Items that are taken for it, and items of it.
    """
    columns = {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(predicted + support, 1),
        "support": support,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def log_loss(probabilities: NDArray[Any], truth: Codes) -> float:
    """Return the mean negative logarithm (nats) of the true class's probability.

    Probabilities are kept above the smallest that float64 tells from 0 beside 1, 2.2e-16.
    """
    true = probabilities[np.arange(len(truth)), truth].astype(np.float64)
    return float(-np.log(np.maximum(true, np.finfo(np.float64).eps)).mean())


def calibration_error(probabilities: NDArray[Any], truth: Codes, *, bins: int = 15) -> float:
    """Return the expected calibration error of the top class, over bins of equal mass.

    Rows are sorted by their highest probability and cut into `bins` bins of equal size (or one a
    row, if there are fewer); the error is the mean of |accuracy - mean probability| over bins,
    weighted by size (Nguyen and O'Connor 2015).

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
    truth : ndarray of int64, shape (N,)
    bins : int, default 15
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    gap = (probabilities.argmax(axis=1) == truth) - confidence
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(gap[order], min(bins, len(gap)))
    return float(sum(abs(part.sum()) for part in parts) / len(gap))
