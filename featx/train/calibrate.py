"""From held-out logits to probabilities, sets and intervals, and what those are worth."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate import measures
from featx.heads.calibration import fit_platt, fit_temperature, sigmoid, softmax
from featx.heads.conformal import Conformal, conformal_of, own_misfits, rank_at
from featx.heads.folds import deal_folds
from featx.heads.moments import row_blocks
from featx.train.recipe import FOLDS, Recipe
from featx.types import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Logits of rows that the head was not fitted to, with the truth.

    Attributes
    ----------
    task : {"classify", "multilabel", "regress"}
    logits : ndarray, shape (N, C)
    y : ndarray
        As in `featx.train.material.Material`.
    jitter : ndarray of float64, shape (N,)
        The chance in conformal sets of kind ``aps``.
    weights : ndarray of float64, shape (N,), optional
        Of classes: how much each row counts, at most 1, alike for all of a class; all alike
        unless given.
    """

    task: Task
    logits: NDArray[Any]
    y: NDArray[Any]
    jitter: NDArray[np.float64]
    weights: NDArray[np.float64] | None = None

    @property
    def strata(self) -> NDArray[np.int64]:
        """What parts are to hold evenly: the classes, where there are any."""
        return self.y if self.task == "classify" else np.zeros(len(self.y), dtype=np.int64)

    def take(self, kept: NDArray[np.bool_]) -> "HeldOut":
        """Return some of the rows."""
        return HeldOut(
            task=self.task,
            logits=self.logits[kept],
            y=self.y[kept],
            jitter=self.jitter[kept],
            weights=None if self.weights is None else self.weights[kept],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What turns logits into answers, as a head holds it.

    Attributes
    ----------
    temperature : float
    conformal : Conformal or None
        How sets of classes are made.
    arrays : dict of str to ndarray
        ``scale`` and ``shift`` of tags, ``spread`` of values.
    """

    temperature: float = 1.0
    conformal: Conformal | None = None
    arrays: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def answers(self, logits: NDArray[Any]) -> NDArray[np.float64]:
        """Return probabilities of classes or tags; values stay as they are."""
        wide = logits.astype(np.float64)
        if "scale" in self.arrays:
            return sigmoid(wide * self.arrays["scale"] + self.arrays["shift"])
        return wide if "spread" in self.arrays else softmax(wide / self.temperature)


def calibrate(held_out: HeldOut, recipe: Recipe, setting: HeldOut | None = None) -> Calibration:
    """Return the calibration that fits held-out rows best.

    Parameters
    ----------
    held_out : HeldOut
    recipe : Recipe
    setting : HeldOut, optional
        Rows that make the sets or intervals, if not the same ones.
    """
    if held_out.task == "classify":
        temperature = fit_temperature(held_out.logits, held_out.y, held_out.weights)
        plain = Calibration(temperature=temperature)
    elif held_out.task == "multilabel":
        scale, shift = fit_platt(held_out.logits, held_out.y)
        plain = Calibration(arrays={"scale": scale, "shift": shift})
    else:
        plain = Calibration(arrays={"spread": np.zeros(held_out.logits.shape[1])})
    return _with_sets(plain, held_out if setting is None else setting, recipe)


def _with_sets(calibration: Calibration, rows: HeldOut, recipe: Recipe) -> Calibration:
    """Return a calibration whose sets or intervals come from `rows`.

    Half the width of an interval is the residual of rank ceil((n + 1) * coverage) (Lei, G'Sell,
    Rinaldo, Tibshirani and Wasserman 2018, "Distribution-free predictive inference for
    regression"), or the largest where there are too few rows for that.
    """
    if rows.task == "multilabel":
        return calibration
    if rows.task == "regress":
        residuals = np.sort(np.abs(rows.logits.astype(np.float64) - rows.y), axis=0)
        rank = min(rank_at(len(residuals), recipe.coverage), len(residuals))
        return replace(calibration, arrays={"spread": residuals[rank - 1]})
    misfits = np.empty(len(rows.y))
    for part in row_blocks(rows.logits):
        likely = calibration.answers(rows.logits[part])
        misfits[part] = own_misfits(recipe.conformal, likely, rows.y[part], rows.jitter[part])
    conformal = conformal_of(
        recipe.conformal,
        misfits,
        rows.y,
        n_classes=rows.logits.shape[1],
        coverage=recipe.coverage,
        weights=rows.weights,
    )
    return replace(calibration, conformal=conformal)


def measure(held_out: HeldOut, recipe: Recipe, setting: HeldOut | None = None) -> dict[str, Any]:
    """Return the measures of a head on held-out rows, as JSON values.

    The rows are dealt into five parts, and each is measured with the calibration and the sets
    that the other four give: nothing is measured on rows that it was fitted to.

    Beside logits of classes it takes about twice their memory: probabilities as precise as they
    are, and a copy of four parts at a time.  What is in float64 comes in blocks of rows.

    Parameters
    ----------
    held_out : HeldOut
    recipe : Recipe
    setting : HeldOut, optional
        Rows that make the sets or intervals, if not the same ones; those are measured on them.
    """
    measured = _measures(held_out, recipe, None)
    if setting is not None:
        of_setting = _measures(setting, recipe, calibrate(held_out, recipe, setting))
        measured |= {name: of_setting[name] for name in measures.OF_SETS if name in of_setting}
    return measured


def _measures(rows: HeldOut, recipe: Recipe, fixed: Calibration | None) -> dict[str, Any]:
    """Measure each part with what the others give; of a `fixed` calibration with their sets."""
    parts = deal_folds(rows.strata, FOLDS, seed=recipe.seed)
    is_classes = rows.task == "classify"
    # One minus the probability of a tag needs float64; nobody asks that of a class.
    dtype = np.result_type(rows.logits, np.float32) if is_classes else np.float64
    answers = np.empty(rows.logits.shape, dtype=dtype)
    # Of classes which are in the sets, of values half the width of each interval.
    bounds = np.zeros(rows.logits.shape, dtype=bool if is_classes else np.float64)
    for part in np.unique(parts):
        rest = rows.take(parts != part)
        calibration = calibrate(rest, recipe) if fixed is None else _with_sets(fixed, rest, recipe)
        own = np.flatnonzero(parts == part)
        for block in row_blocks(own):
            _answer(calibration, rows, own[block], answers, bounds)
    if is_classes:
        return measures.of_classes(answers, rows.y, bounds, rows.weights)
    if rows.task == "multilabel":
        return measures.of_tags(answers, rows.y)
    return measures.of_values(answers, rows.y, bounds)


def _answer(
    calibration: Calibration,
    rows: HeldOut,
    which: NDArray[np.int64],
    answers: NDArray[Any],
    bounds: NDArray[Any],
) -> None:
    """Fill in the answers to some rows, and their sets or spreads."""
    exact = calibration.answers(rows.logits[which])
    answers[which] = exact
    if calibration.conformal is not None:
        bounds[which] = calibration.conformal.sets(exact, rows.jitter[which])
    elif rows.task == "regress":
        bounds[which] = calibration.arrays["spread"]
