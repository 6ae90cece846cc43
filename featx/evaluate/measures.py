"""What is said of a head's answers to each task, as JSON values."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate import metrics, multilabel, regression
from featx.evaluate.calibrated import calibration_band
from featx.evaluate.interval import wilson_interval
from featx.types import Task

HEADLINES: dict[Task, str] = {
    "classify": "accuracy",
    "multilabel": "micro_f1",
    "regress": "r2",
}
"""Task → the measure that heads are compared by."""

OF_SETS = ("set_coverage", "set_size", "empty_sets", "interval_coverage", "interval_width")
"""Measures of conformal sets and intervals."""


def headline(task: Task, logits: NDArray[Any], y: NDArray[Any]) -> float:
    """Return the measure of `HEADLINES` of uncalibrated logits, or of values."""
    if task == "classify":
        return float((logits.argmax(axis=1) == y).mean())
    if task == "multilabel":
        return multilabel.micro_f1(y > 0, logits > 0)
    return float(regression.r2(y, logits.reshape(y.shape)).mean())


def beaten(task: Task, found: Mapping[str, Any]) -> str | None:
    """Return a note if the better baseline may do as well as the head, else None.

    It may where the interval of the headline reaches it; of tags, whose headline has no interval,
    where the head does no better.

    Parameters
    ----------
    task : {"classify", "multilabel", "regress"}
    found : mapping
        Measures of the head, with ``baselines``.
    """
    measure = HEADLINES[task]
    low = found[measure] if task == "multilabel" else found["interval"][0]
    name, best = max(found["baselines"].items(), key=lambda each: float(each[1]))
    if low > best:
        return None
    words = measure.replace("_", " ")
    return f"{words} {found[measure]:.3f} may be no better than the {name} baseline, {best:.3f}"


def of_classes(
    probabilities: NDArray[Any],
    codes: NDArray[np.int64],
    sets: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return the measures of a classifier.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
    codes : ndarray of int64, shape (N,)
    sets : ndarray of bool, shape (N, C)
        Conformal sets.
    weights : ndarray of float64, shape (N,), optional
        How much each row counts; all alike unless given.  The interval is then that of as many
        equal rows as tell as much (Kish 1965), and ``n`` is still the number of rows.

    Returns
    -------
    dict
        ``accuracy`` with its 95 % Wilson ``interval``, ``n``, ``balanced_accuracy``,
        ``macro_f1``, ``log_loss``, ``calibration_error`` with the mean and upper end of its
        ``calibration_band``, ``set_coverage``, ``set_size`` and ``empty_sets`` (shares).
    """
    predicted = probabilities.argmax(axis=1)
    counts = metrics.class_counts(codes, predicted, probabilities.shape[1], weights)
    hits, total = float(counts.hits.sum()), float(counts.support.sum())
    n = total if weights is None else total**2 / float((weights**2).sum())
    return {
        "accuracy": hits / total,
        "interval": list(wilson_interval(hits * n / total, n)),
        "n": len(codes),
        "balanced_accuracy": metrics.balanced_accuracy(counts),
        "macro_f1": metrics.macro_f1(counts),
        **of_probabilities(probabilities, codes, sets, weights),
    }


def of_probabilities(
    probabilities: NDArray[Any],
    codes: NDArray[np.int64],
    sets: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """Return those measures of `of_classes` that need probabilities and sets."""
    band = calibration_band(probabilities, weights=weights)

    def mean(values: NDArray[Any]) -> float:
        return float(np.average(values, weights=weights))

    loss = metrics.log_loss(probabilities, codes, weights)
    return {
        "log_loss": abs(loss),  # -0.0 where all are certain
        "calibration_error": metrics.calibration_error(probabilities, codes, weights=weights),
        "calibration_band": [band.mean, band.high],
        "set_coverage": mean(sets[np.arange(len(codes)), codes]),
        "set_size": mean(sets.sum(axis=1)),
        "empty_sets": mean(np.asarray(~sets.any(axis=1))),
    }


def of_tags(probabilities: NDArray[Any], tags: NDArray[Any]) -> dict[str, Any]:
    """Return the measures of a head of tags.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
    tags : ndarray of 0 and 1, shape (N, C)

    Returns
    -------
    dict
        ``micro_f1``, ``macro_f1``, ``mean_average_precision`` (None where no row has a tag),
        ``accuracy`` (share of rows whose tags are all right) with its 95 % Wilson ``interval``,
        ``hamming_loss``, ``log_loss`` and ``n``.
    """
    tags, predicted = tags > 0, probabilities > 0.5
    share = multilabel.subset_accuracy(tags, predicted)
    return {
        "micro_f1": multilabel.micro_f1(tags, predicted),
        "macro_f1": multilabel.macro_f1(tags, predicted),
        "mean_average_precision": _finite(multilabel.mean_average_precision(tags, probabilities)),
        "accuracy": share,
        "interval": list(wilson_interval(round(share * len(tags)), len(tags))),
        "hamming_loss": multilabel.hamming_loss(tags, predicted),
        "log_loss": multilabel.log_loss(tags, probabilities),
        "n": len(tags),
    }


def of_values(
    estimates: NDArray[Any], values: NDArray[np.float64], spreads: NDArray[np.float64]
) -> dict[str, Any]:
    """Return the measures of a regression.

    Parameters
    ----------
    estimates : ndarray, shape (N, T)
    values : ndarray of float64, shape (N, T)
    spreads : ndarray of float64, shape (N, T)
        Half the width of each interval.

    Returns
    -------
    dict
        ``r2`` (mean over the outputs) with its 95 % bootstrap ``interval``, ``mae``, ``rmse``,
        ``spearman`` (None where all values are equal), ``interval_coverage``, ``interval_width``
        and ``n``.
    """
    spearman = regression.spearman(values, estimates)
    return {
        "r2": float(regression.r2(values, estimates).mean()),
        "interval": list(regression.r2_interval(values, estimates)),
        "mae": float(regression.mean_absolute_error(values, estimates).mean()),
        "rmse": float(regression.root_mean_square_error(values, estimates).mean()),
        "spearman": _finite(float(spearman.mean())),
        "interval_coverage": float((np.abs(estimates - values) <= spreads).mean()),
        "interval_width": float(2 * spreads.mean()),
        "n": len(values),
    }


def _finite(value: float) -> float | None:
    """Return a measure, or None where it is not defined: JSON has no NaN."""
    return value if np.isfinite(value) else None
