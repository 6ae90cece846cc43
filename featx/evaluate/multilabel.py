"""Measures of items with several tags, or none, in plain NumPy.

Tags are 0 or 1 in matrices (N, C), a column a tag.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Tags = NDArray[np.bool_] | NDArray[np.integer[Any]]


def counts(truth: Tags, predicted: Tags) -> tuple[NDArray[np.int64], ...]:
    """Return the hits, predicted and true items of each tag, (C,) each.

    Examples
    --------
    >>> [each.tolist() for each in counts(np.array([[1, 0], [1, 1]]), np.array([[1, 0], [0, 0]]))]
    [[1, 0], [1, 0], [2, 1]]
    """
    is_true, is_predicted = truth.astype(bool), predicted.astype(bool)
    found = (is_true & is_predicted, is_predicted, is_true)
    return tuple(each.sum(axis=0, dtype=np.int64) for each in found)


def micro_f1(truth: Tags, predicted: Tags) -> float:
    """Return the F1 of all cells together; 1 where there is no tag and none is predicted."""
    hits, n_predicted, n_true = (int(each.sum()) for each in counts(truth, predicted))
    return 2 * hits / (n_predicted + n_true) if n_predicted + n_true else 1.0


def macro_f1(truth: Tags, predicted: Tags) -> float:
    """Return the mean F1 of the tags that occur or are predicted; 1 where there is none."""
    hits, n_predicted, n_true = counts(truth, predicted)
    total = n_predicted + n_true
    present = total > 0
    return float((2 * hits[present] / total[present]).mean()) if present.any() else 1.0


def subset_accuracy(truth: Tags, predicted: Tags) -> float:
    """Return the share of items whose tags are all right."""
    return float((truth.astype(bool) == predicted.astype(bool)).all(axis=1).mean())


def hamming_loss(truth: Tags, predicted: Tags) -> float:
    """Return the share of cells that are wrong."""
    return float((truth.astype(bool) != predicted.astype(bool)).mean())


def log_loss(truth: Tags, probabilities: NDArray[Any]) -> float:
    """Return the mean negative logarithm (nats) of the probability of what each cell is.

    Probabilities are kept above the smallest that float64 tells from 0 beside 1, 2.2e-16.
    """
    likely = probabilities.astype(np.float64)
    own = np.where(truth.astype(bool), likely, 1 - likely)
    return float(-np.log(np.maximum(own, np.finfo(np.float64).eps)).mean())


def average_precision(truth: Tags, probabilities: NDArray[Any]) -> NDArray[np.float64]:
    """Return the average precision of each tag, (C,); NaN where no item has it.

    The sum of precision x gain in recall over the distinct probabilities, without interpolation:
    items of equal probability enter together, as scikit-learn has it.

    Examples
    --------
    >>> average_precision(np.array([[1], [0], [1]]), np.array([[0.9], [0.8], [0.7]])).round(3)
    array([0.833])
    """
    columns = zip(truth.astype(bool).T, probabilities.T, strict=True)
    return np.array([_average_precision(is_true, likely) for is_true, likely in columns])


def _average_precision(is_true: NDArray[np.bool_], likely: NDArray[Any]) -> float:
    if not is_true.any():
        return float("nan")
    order = np.argsort(-likely, kind="stable")
    ends = np.flatnonzero(np.diff(likely[order], append=-np.inf))
    hits = is_true[order].cumsum()[ends]
    return float((hits / (ends + 1)) @ np.diff(hits, prepend=0) / hits[-1])


def mean_average_precision(truth: Tags, probabilities: NDArray[Any]) -> float:
    """Return the mean average precision of the tags that occur; NaN where there is none."""
    precisions = average_precision(truth, probabilities)
    present = np.isfinite(precisions)
    return float(precisions[present].mean()) if present.any() else float("nan")


def per_tag(
    truth: Tags, predicted: Tags, probabilities: NDArray[Any]
) -> list[dict[str, float | None]]:
    """Return the measures of each tag as JSON values.

    Returns
    -------
    list of dict
        ``precision``, ``recall``, ``f1``, ``average_precision`` (None where no item has the tag)
        and ``support`` (items that have it).  A share of nothing is 0.
    """
    hits, n_predicted, n_true = counts(truth, predicted)
    precisions = average_precision(truth, probabilities).tolist()
    columns = {
        "precision": hits / np.maximum(n_predicted, 1),
        "recall": hits / np.maximum(n_true, 1),
        "f1": 2 * hits / np.maximum(n_predicted + n_true, 1),
        "support": n_true,
    }
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    table = [dict(zip(columns, row, strict=True)) for row in rows]
    return [
        {**row, "average_precision": each if row["support"] else None}
        for row, each in zip(table, precisions, strict=True)
    ]
