"""From two domains to one classifier: as asked, or as ``auto`` finds right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.paired import Paired
from featx.transfer.adapt.choose import Asked, Judged, choose
from featx.transfer.adapt.domains import Source
from featx.transfer.adapt.labelled import LabelledFit, fit_labelled
from featx.transfer.adapt.linear import Linear
from featx.transfer.adapt.methods import Method
from featx.transfer.adapt.recipe import AUTO, LABELLED, Recipe
from featx.transfer.adapt.shift import Shift

LEAST_ROWS = 20
"""Of the target, from which a mean or a spread can be told at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Two domains.

    Attributes
    ----------
    source : Source
    X : ndarray of float32 or float64, shape (M, D)
        Rows of the target.
    before : ndarray of int64, shape (M,)
        Classes that the head gives them as it is.
    codes : ndarray of int64, shape (M,)
        Their labels, -1 where there is none.  Only the method ``labelled`` reads them.
    shift : Shift
    """

    source: Source
    X: NDArray[Any]
    before: NDArray[np.int64]
    codes: NDArray[np.int64]
    shift: Shift


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A classifier for the target, which may be that of the source.

    Attributes
    ----------
    linear : Linear
    reason : str
    method : str or None
        None where the source's classifier was kept.
    is_refit : bool
        Whether rows of the target trained it.
    expected_gain : float or None
        Share of the target's rows that are expected to be right more than before; None if unknown.
    interval : (float, float) or None
        Of 95 %, of that share, where labels tell it.
    compared : tuple of Judged
        What ``auto`` looked at.
    labelled : LabelledFit or None
        What labels of the target say.
    """

    linear: Linear
    reason: str
    method: str | None = None
    is_refit: bool = False
    expected_gain: float | None = None
    interval: tuple[float, float] | None = None
    compared: tuple[Judged, ...] = ()
    labelled: LabelledFit | None = None


def solve(problem: Problem, recipe: Recipe) -> Solved:
    """Return the classifier for a target.

    Raises
    ------
    InputError
        If the target has too few rows for the method that was asked for, or no labels, or the
        source tells no classes apart.
    """
    if recipe.method == AUTO:
        return _chosen(problem, recipe)
    if problem.source.is_blind:
        message = (
            f"{recipe.method}: the classes of the source have one mean, which tells nothing apart;"
            " train the head on items that differ"
        )
        raise InputError(message)
    if recipe.method == LABELLED:
        return _labelled(problem, recipe)
    if len(problem.X) < LEAST_ROWS:
        message = (
            f"{recipe.method}: the target has {len(problem.X)} rows; expected {LEAST_ROWS} or more;"
            " embed more items of it"
        )
        raise InputError(message)
    method = Method.named(recipe.method)
    return Solved(
        linear=method.fit(problem.source, problem.X).linear,
        method=method.name,
        is_refit=method.is_refit,
        reason="as asked",
    )


def _chosen(problem: Problem, recipe: Recipe) -> Solved:
    source, X = problem.source, problem.X
    if len(X) < LEAST_ROWS:
        reason = f"{len(X)} rows of the target tell nothing; {LEAST_ROWS} are the least"
        return Solved(linear=source.base, reason=reason)
    if source.rows is None:
        reason = (
            "without the rows that the head was trained on no gain can be trusted;"
            " name their set with --source, or choose a method"
        )
        return Solved(linear=source.base, reason=reason)
    asked = Asked(X=X, before=problem.before)
    choice = choose(source, source.rows, asked, problem.shift, seed=recipe.seed)
    if choice.best is None:
        return Solved(linear=source.base, reason=choice.reason, compared=choice.compared)
    method = Method.named(choice.best.name)
    return Solved(
        linear=method.fit(source, X).linear,
        method=method.name,
        is_refit=method.is_refit,
        expected_gain=choice.best.gain,
        compared=choice.compared,
        reason=choice.reason,
    )


def _labelled(problem: Problem, recipe: Recipe) -> Solved:
    labelled = np.flatnonzero(problem.codes >= 0)
    if not len(labelled):
        message = (
            "labelled: the target has no labels of the head's classes;"
            " run: featx label TARGET labels.csv, or choose another method"
        )
        raise InputError(message)
    codes = problem.codes[labelled]
    fit = fit_labelled(problem.source, problem.X[labelled], codes, seed=recipe.seed)
    truth, before = codes[fit.rows], problem.before[labelled[fit.rows]]
    was_right, is_right = before == truth, fit.held_out.argmax(axis=1) == truth
    gain = Paired.of(was_right, is_right)
    low, high = gain.interval
    return Solved(
        linear=fit.linear,
        method=LABELLED,
        is_refit=True,
        expected_gain=gain.difference,
        interval=gain.interval,
        labelled=fit,
        reason=(
            f"of {gain.n:,} labelled rows, nearly equal ones counted once, {is_right.mean():.1%}"
            f" are right when each is left out, before {was_right.mean():.1%} (95 % interval of"
            f" the gain {100 * low:+.1f} to {100 * high:+.1f} points);"
            f" a row of the source counts {fit.weight:g}"
        ),
    )
