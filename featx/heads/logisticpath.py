"""Logistic regressions along a path of penalties, each judged on folds left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.heads.calibration import class_losses, fit_platt, fit_temperature
from featx.heads.logistic import NO_FOLD, Fit, Solver
from featx.heads.logisticrows import Rows

SEARCH = (1e-3, 1e-5)
"""Distance to the minimum, relative to the loss and to that of knowing nothing, at which a penalty
can be judged: folds differ by a hundredth of the loss and more."""

# Share of the last move that the next start lies ahead; 0.6 to 1 save a quarter of the passes.
_AHEAD = 0.7

FOLD_RTOL = {"float32": 1e-4, "float64": 1e-18}
"""The same for the folds whose held-out logits are kept."""

FINAL_RTOL = {"float32": 1e-6, "float64": 1e-18}
"""The same for the model that is kept."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one penalty came to.

    Attributes
    ----------
    C : float
        Inverse penalty, of the rows as the solver sees them.
    model : Fit
        Of all rows.
    folds : list of Fit
        Without each fold in turn; empty if there are none.
    log_loss : float
        Of the rows left out, calibrated: mean over the folds.
    standard_error : float
        Of `log_loss`, from its spread over the folds.
    accuracy : float
        Share of hits among the rows left out, of tags that of right ones: mean over the folds.
    """

    C: float
    model: Fit
    folds: list[Fit]
    log_loss: float = float("nan")
    standard_error: float = float("nan")
    accuracy: float = float("nan")


def walk(
    solver: Solver, candidates: Sequence[float], n_folds: int, *, patience: int | None
) -> list[Step]:
    """Return the steps of a path from the strongest penalty on.

    A strong penalty makes for timid probabilities, a weak one for bold ones.  Either is mended by
    calibration, so the log loss that a penalty is judged by is taken after it.

    Each model starts a little further along the way that it went last.  A fold never starts from
    the model of all rows: what that knows of the rows left out would stay in it when it is
    stopped.

    Parameters
    ----------
    solver : Solver
    candidates : sequence of float
        Inverse penalties C, ascending.
    n_folds : int
    patience : int or None
        The path ends after so many steps in a row whose log loss is above the least so far.
    """
    steps: list[Step] = []
    everyone = [NO_FOLD, *(fold for fold in range(n_folds) if solver.rows.weight(fold) > 0)]
    fits = [Fit(solver.start(), fold) for fold in everyone]
    before = fits
    for C in candidates:
        ridges = [_ridge(solver, C, fold) for fold in everyone]
        starts = [_ahead(old, fit) for old, fit in zip(before, fits, strict=True)]
        before, fits = fits, solver.minimise(starts, ridges, *SEARCH)
        steps.append(_judged(solver, C, fits[0], fits[1:]))
        if patience is not None and _has_risen(steps, patience):
            break
    return steps


def choose(steps: Sequence[Step]) -> int:
    """Return the first step, so the strongest penalty, within one standard error of the best.

    Breiman, Friedman, Olshen and Stone 1984, "Classification and Regression Trees", 3.4.3.
    """
    if len(steps) == 1:
        return 0
    best = min(steps, key=lambda step: step.log_loss)
    limit = best.log_loss + best.standard_error
    return next(i for i, step in enumerate(steps) if step.log_loss <= limit)


def polish(solver: Solver, step: Step) -> Step:
    """Return a step whose model is as near to the minimum as rounding allows."""
    rtol = FINAL_RTOL[str(step.model.weights.dtype)]
    (model,) = solver.minimise([step.model], [_ridge(solver, step.C, NO_FOLD)], rtol)
    model.steps += step.model.steps
    ridges = [_ridge(solver, step.C, fold.fold) for fold in step.folds]
    folds = solver.minimise(step.folds, ridges, FOLD_RTOL[str(step.model.weights.dtype)])
    return replace(step, model=model, folds=folds)


def _ridge(solver: Solver, C: float, fold: int) -> float:
    """Return the penalty of the mean loss that `C` is of the summed one."""
    return 1 / (C * solver.rows.weight(fold))


def _ahead(before: Fit, fit: Fit) -> Fit:
    """Return where the next penalty's minimum may be."""
    step = fit.weights - before.weights
    step *= fit.weights.dtype.type(_AHEAD)
    return Fit(fit.weights + step, fit.fold)


def _has_risen(steps: Sequence[Step], patience: int) -> bool:
    losses = [step.log_loss for step in steps]
    return len(losses) - 1 - int(np.argmin(losses)) >= patience


def held_out_logits(solver: Solver, folds: Sequence[Fit]) -> NDArray[Any]:
    """Return the logits of each row by the model of the other folds, shape (N, C).

    A class that those rows lack gets Laplace's probability for what has never been seen: 1 over
    their number plus two.
    """
    rows = solver.rows
    logits = solver.held_out(folds)
    if rows.is_pair:
        logits = np.hstack([-logits, logits]) / 2
    if rows.indicators is None or rows.is_pair:
        _mark_unseen(logits, rows)
    return logits


def _mark_unseen(logits: NDArray[Any], rows: Rows) -> None:
    for fold in np.unique(rows.folds):
        counts = rows.counts_without(fold)
        seen = counts > 0
        if seen.all() or not seen.any():
            continue
        held_out = np.flatnonzero(rows.folds == fold)
        known = logits[np.ix_(held_out, np.flatnonzero(seen))].astype(np.float64)
        total = np.logaddexp.reduce(known, axis=1) - np.log(counts.sum() + 1)
        logits[np.ix_(held_out, np.flatnonzero(~seen))] = total[:, None]


def _judged(solver: Solver, C: float, model: Fit, folds: list[Fit]) -> Step:
    """Return a step with what its folds say of the rows that they left out."""
    if not folds:
        return Step(C, model, folds)
    rows = solver.rows
    # A row whose class its fold's training rows lack says nothing of any penalty.
    weights = np.where(rows.is_taught, rows.weights, 0.0)
    weights = weights if weights.any() else rows.weights
    losses, hits = _losses_and_hits(held_out_logits(solver, folds), rows, weights)
    total = np.bincount(rows.folds, weights)
    is_weighty = total > 0
    means = np.bincount(rows.folds, weights * losses)[is_weighty] / total[is_weighty]
    shares = np.bincount(rows.folds, weights * hits)[is_weighty] / total[is_weighty]
    error = float(means.std(ddof=1) / np.sqrt(len(means))) if len(means) > 1 else 0.0
    return Step(C, model, folds, float(means.mean()), error, float(shares.mean()))


def _losses_and_hits(
    logits: NDArray[Any], rows: Rows, weights: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return the log loss of each row, calibrated as predictions will be, and whether it is hit."""
    if rows.indicators is None or rows.is_pair:
        truth = logits[np.arange(len(logits)), rows.codes]
        scaled = logits / logits.dtype.type(fit_temperature(logits, rows.codes, weights))
        return class_losses(scaled, rows.codes), truth >= logits.max(axis=1)
    tags = rows.indicators.T
    scale, shift = fit_platt(logits, tags, weights)
    scaled = logits * scale + shift
    losses = np.logaddexp(0, np.where(tags > 0, -scaled, scaled)).sum(axis=1)
    return losses, ((scaled > 0) == (tags > 0)).mean(axis=1)
