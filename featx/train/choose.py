"""Choose between kinds of heads by how they do on rows held out."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import class_losses, fit_platt, fit_temperature
from featx.heads.folds import deal_folds, stratified_sample
from featx.train.candidates import Fitted, fit, kinds
from featx.train.material import Material
from featx.train.recipe import FOLDS
from featx.types import Task

CHOOSING_ROWS = 10_000
"""Rows that kinds of head are compared on, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How one kind of head did.

    Attributes
    ----------
    kind : str
    task : {"classify", "multilabel", "regress"}
    fitted : Fitted
        To the rows that it was tried on.
    losses : ndarray of float64, shape (N,)
        Calibrated log loss of each row, or its squared error over the variance.
    hits : ndarray of float64, shape (N,)
        1 where the class is right; of tags the share that is; of values 1 - loss.
    seconds : float
    weights : ndarray of float64, shape (N,), optional
        How much each row counts; all alike unless given.
    """

    kind: str
    task: Task
    fitted: Fitted
    losses: NDArray[np.float64]
    hits: NDArray[np.float64]
    seconds: float
    weights: NDArray[np.float64] | None = None

    @property
    def loss(self) -> float:
        """Mean of the losses."""
        return self._mean(self.losses)

    @property
    def accuracy(self) -> float:
        """Mean of the hits."""
        return self._mean(self.hits)

    def _mean(self, values: NDArray[np.float64]) -> float:
        return float(np.average(values, weights=self.weights))

    def facts(self) -> dict[str, float]:
        """Return what the table of kinds shows, but the seconds: the names depend on the task."""
        hits, loss = self.accuracy, self.loss
        if self.task == "classify":
            return {"accuracy": hits, "log_loss": loss}
        return (
            {"hamming_loss": 1 - hits, "log_loss": loss}
            if self.task == "multilabel"
            else {"r2": hits}
        )


def try_kinds(
    material: Material,
    groups: NDArray[np.int64] | None,
    *,
    seed: int,
    on_tried: Callable[[Tried], None] | None = None,
) -> list[Tried]:
    """Fit each kind that suits the material, to at most 10,000 of its rows.

    Parameters
    ----------
    material : Material
    groups : ndarray of int64, shape (N,), or None
        Rows of one group share a fold.
    seed : int
    on_tried : callable, optional
        Called with each as it is done.
    """
    rows = stratified_sample(material.strata, CHOOSING_ROWS, seed=seed)
    sample = _sample(material, rows)
    shared = None if groups is None else groups[rows]
    found = []
    for kind in kinds(material):
        started_s = time.perf_counter()
        fitted = fit(kind, sample, seed=seed, groups=shared)
        losses, hits = losses_and_hits(fitted.logits, sample, seed=seed)
        seconds = time.perf_counter() - started_s
        found.append(
            Tried(
                kind=kind,
                task=sample.task,
                fitted=fitted,
                losses=losses,
                hits=hits,
                seconds=seconds,
            )
        )
        if on_tried is not None:
            on_tried(found[-1])
    return found


def choose(tried: list[Tried]) -> Tried:
    """Return the first that is as good as any, by log loss and by hits.

    As good: the mean difference to the best, row by row, is at most its standard error (Breiman
    et al. 1984, "Classification and Regression Trees", 3.4.3, with paired differences).  If none
    is by both measures, that of the least log loss.
    """
    best = min(tried, key=lambda each: each.loss)
    surest = max(tried, key=lambda each: each.accuracy)
    for each in tried:
        worse = each.losses - best.losses, surest.hits - each.hits
        if all(_is_level(differences, each.weights) for differences in worse):
            return each
    return best


def losses_and_hits(
    logits: NDArray[Any],
    material: Material,
    *,
    seed: int,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the loss of each row and whether it is right.

    Of classes and tags each of five parts is calibrated by the other four, so that no row has a
    say in its own loss.

    Parameters
    ----------
    logits : ndarray, shape (N, C)
        Of rows that the head was not fitted to.
    material : Material
    seed : int
        Deals the parts.
    weights : ndarray of float64, shape (N,), optional
        Of classes: how much each row counts in the calibration.
    """
    wide = logits.astype(np.float64)
    if material.task == "regress":
        spread = material.y.var(axis=0)
        losses = (np.square(wide - material.y) / np.where(spread > 0, spread, 1)).mean(axis=1)
        return losses, 1 - losses
    judge = _of_classes if material.task == "classify" else _of_tags
    losses, hits = np.empty(len(wide)), np.empty(len(wide))
    parts = deal_folds(material.strata, FOLDS, seed=seed)
    for part in np.unique(parts):
        own, rest = parts == part, parts != part
        of_own, of_rest = (wide[own], material.y[own]), (wide[rest], material.y[rest])
        counts = None if weights is None else weights[rest]
        losses[own], hits[own] = judge(*of_own, of_rest, counts)
    return losses, hits


_Judged = tuple[NDArray[np.float64], NDArray[np.float64]]


def _of_classes(
    logits: NDArray[np.float64],
    y: NDArray[Any],
    others: tuple[NDArray[Any], NDArray[Any]],
    weights: NDArray[np.float64] | None,
) -> _Judged:
    losses = class_losses(logits / fit_temperature(*others, weights), y)
    return losses, (logits.argmax(axis=1) == y).astype(np.float64)


def _of_tags(
    logits: NDArray[np.float64],
    y: NDArray[Any],
    others: tuple[NDArray[Any], NDArray[Any]],
    weights: NDArray[np.float64] | None,
) -> _Judged:
    scale, shift = fit_platt(*others, weights)
    scaled = logits * scale + shift
    losses = np.logaddexp(0, np.where(y > 0, -scaled, scaled)).mean(axis=1)
    return losses, ((scaled > 0) == (y > 0)).mean(axis=1)


def _is_level(worse: NDArray[np.float64], weights: NDArray[np.float64] | None) -> bool:
    w = np.ones(len(worse)) if weights is None else weights
    mean, n = float(np.average(worse, weights=w)), len(worse)
    error = float(np.sqrt(n / max(1, n - 1) * np.sum((w * (worse - mean)) ** 2)) / w.sum())
    return mean <= error


def _sample(material: Material, rows: NDArray[np.int64]) -> Material:
    """Return some rows, and the classes that occur in them."""
    if len(rows) == len(material):
        return material
    part = material.take(rows)
    if material.task != "classify":
        return part
    seen, codes = np.unique(part.y, return_inverse=True)
    names = tuple(material.names[code] for code in seen)
    return Material(task=part.task, rows=part.rows, names=names, y=codes.astype(np.int64))
