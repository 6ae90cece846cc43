"""What a head file remembers of the rows that it was fitted to: counts, means and covariance."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.moments import Moments
from featx.heads.novelty import PENALTY, Novelty
from featx.heads.predict import Head


def remembered_moments(head: Head) -> Moments | None:
    """Return the moments of the training rows, and of the indicators of their classes.

    They are solved from what tells novel items, which holds the means of the classes and both
    covariances, penalised; float32 keeps about five digits of them.  Of nearly equal rows one
    counts, as it did there; the shares of the classes are those of all rows.

    Parameters
    ----------
    head : Head

    Returns
    -------
    Moments or None
        None where the head tells no novel items, or does not say how many rows a class had.
    """
    novelty, counts = head.novelty, _counts(head)
    if not isinstance(novelty, Novelty) or counts is None:
        return None
    if len(novelty.centres) != len(counts) or not (novelty.background > 0).all():
        return None
    try:
        turned = np.linalg.inv(novelty.whiten.astype(np.float64))
    except np.linalg.LinAlgError:  # a file may hold anything
        return None
    off_mean, covariance = novelty.centres @ turned, _covariance(novelty, turned)
    if novelty.basis is not None:
        basis = novelty.basis.astype(np.float64)
        off_mean, covariance = off_mean @ basis, basis.T @ covariance @ basis
    weight = float(counts.sum())
    shares = counts / weight
    return Moments(
        weight=weight,
        mean=novelty.mean.astype(np.float64),
        scatter=(weight - 1) * covariance,
        target_mean=shares,
        cross=(counts[:, None] * off_mean).T,
        target_square=weight * shares * (1 - shares),
    )


def _covariance(novelty: Novelty, turned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the covariance of all rows (R, R), its penalty taken away again."""
    penalised = turned.T @ (turned / novelty.background[:, None])
    width, dim = len(penalised), len(novelty.mean)
    spread = np.trace(penalised) / (1 + PENALTY * width / dim)
    values, vectors = np.linalg.eigh(penalised)
    # What float32 made of a direction without spread may be less than the penalty.
    return np.asarray((vectors * np.maximum(values - PENALTY * spread / dim, 0)) @ vectors.T)


def _counts(head: Head) -> NDArray[np.float64] | None:
    """Return how many rows each class had, nearly equal ones counted once, shape (C,)."""
    labels: Any = head.header.get("labels")
    counts = labels.get("counts") if isinstance(labels, dict) else None
    if not isinstance(counts, dict) or set(counts) != set(head.classes):
        return None
    found = [counts[name] for name in head.classes]
    if not all(type(each) is int and each > 0 for each in found):
        return None
    all_rows = np.array(found, dtype=np.float64)
    duplicates: Any = head.header.get("duplicates")
    distinct = duplicates.get("distinct") if isinstance(duplicates, dict) else None
    if type(distinct) is not int or not distinct > 1:
        return all_rows
    return np.asarray(all_rows * (distinct / all_rows.sum()))
