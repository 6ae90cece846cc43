"""Fitted heads of each kind, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.heads import HEADS, REGRESSORS
from featx.registry import names, resolve
from featx.train.material import Material
from featx.types import Task

FOREIGN = "sklearn:"

FEW, SCARCE = 16, 4
"""Up to so many items a class, held-out rows are too few to compare with knn, or at all.

Chosen on six problems (digits, clip art, and four of texts; 2 to 10 classes; ten draws each): of
`SCARCE` items or fewer logreg alone is .1 to .9 points better than the best by held-out rows, and
up to `FEW` it is preferred among equals with a gain of .3 to .6 points.
"""

_TAGGING = ("logreg", "ridge")
_WEIGHTED = ("centroid", "lda", "logreg", "ridge")

# Folds of a foreign head are fitted in processes of their own from so many rows; starting those
# takes a second.
_SHARED_ROWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A head fitted to all rows.

    Attributes
    ----------
    kind : str
        As in a head file.
    arrays : mapping of str to ndarray
        As in a head file.
    logits : ndarray, shape (N, C)
        Of each row by a fit without it, or without its fold.
    tuned : dict
        JSON values.
    """

    kind: str
    arrays: Mapping[str, NDArray[Any]]
    logits: NDArray[Any]
    tuned: dict[str, Any]


def kinds(material: Material) -> tuple[str, ...]:
    """Return the kinds that ``auto`` tries, those preferred among equals first.

    With one item a class nothing can be held out, and the nearest class mean is taken; with very
    few, what is held out says too little to choose by; with few, logreg is preferred; with more,
    what costs least to keep.
    """
    if material.task == "multilabel":
        return ("ridge", "logreg")
    if material.task == "regress":
        return ("ridge",)
    typical = float(np.median(material.counts()))
    if typical < 2:
        return ("centroid",)
    if typical <= SCARCE:
        return ("logreg",)
    if typical <= FEW:
        return ("logreg", "lda", "ridge", "centroid")
    return ("ridge", "lda", "logreg", "knn", "centroid")


def require_kind(kind: str, task: Task) -> None:
    """Raise unless heads of this kind do the task.

    Raises
    ------
    UnknownNameError
        If there is no such kind.
    InputError
        If it does another task.
    """
    if kind == "auto":
        return
    known = names("head", HEADS)
    if kind not in known and not kind.startswith(FOREIGN):
        raise UnknownNameError("head", kind, ["auto", *known, "sklearn:NAME"])
    able = {
        "classify": [*known, FOREIGN],
        "multilabel": _TAGGING,
        "regress": [*REGRESSORS, FOREIGN],
    }[task]
    if kind.partition(":")[0] not in [each.rstrip(":") for each in able]:
        shown = ", ".join("sklearn:NAME" if each == FOREIGN else each for each in able)
        message = f"head {kind!r}: cannot do the task {task}; choose one of: auto, {shown}"
        raise InputError(message)


def fit(
    kind: str,
    material: Material,
    *,
    seed: int,
    groups: NDArray[Any] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Fitted:
    """Fit a head of one kind to all rows.

    Parameters
    ----------
    kind : str
    material : Material
    seed : int
        Deals the folds, where the kind has any.
    groups : ndarray, shape (N,), optional
        Rows of one group share a fold.
    options : mapping, optional
        Of the estimator; by default it tunes what can be tuned.
    """
    estimator = _make(kind, material, seed, options or {})
    # Rows that are nearly equal must not be split between a fold and the rest.  Where none are,
    # dealing rows gives folds as good, in milliseconds: groups of one take seconds.
    has_twins = groups is not None and len(np.unique(groups)) < len(groups)
    shared = {"groups": groups} if has_twins and _has_folds(kind) else {}
    estimator.fit(material.rows.X, _targets(material), **shared)
    logits = estimator.held_out_logits_
    return Fitted(
        kind=kind.partition(":")[0],
        arrays=estimator.head_arrays(),
        logits=logits.reshape(len(material), -1),
        tuned=estimator.tuned_,
    )


def refit(fitted: Fitted, material: Material, groups: NDArray[Any], *, seed: int) -> Fitted:
    """Return a head, tuned as one of distinct rows was, fitted to rows of which some have twins.

    A group weighs as much as one row.  If it weighed more, penalties would weigh less, and logits
    grow beyond what the temperature was fitted to.  A kind without weights stays as it is: twins
    would be neighbours of the same vote, and other estimators may do anything with them.

    Parameters
    ----------
    fitted : Fitted
        To one row of each group.
    material : Material
    groups : ndarray, shape (N,)
    seed : int
    """
    if fitted.kind not in _WEIGHTED:
        return fitted
    _, of_row, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    estimator = _make(fitted.kind, material, seed, _tuned_options(fitted))
    estimator.fit(material.rows.X, _targets(material), sample_weight=1 / sizes[of_row])
    return replace(fitted, arrays=estimator.head_arrays())


def _tuned_options(fitted: Fitted) -> dict[str, Any]:
    """Return the options of an estimator that has nothing left to tune."""
    value = next(iter(fitted.tuned.values()), None)
    options: dict[str, dict[str, Any]] = {
        "centroid": {},
        "lda": {"shrinkage": value},
        "logreg": {"C": value, "cv": None},
        "ridge": {"alphas": (value,)},
    }
    return options[fitted.kind]


def _targets(material: Material) -> NDArray[Any]:
    is_single_value = material.task == "regress" and material.y.shape[1] == 1
    return material.y[:, 0] if is_single_value else material.y


def _has_folds(kind: str) -> bool:
    return kind == "logreg" or kind.startswith(FOREIGN)


def _make(kind: str, material: Material, seed: int, options: Mapping[str, Any]) -> Any:  # noqa: ANN401 - scikit-learn estimators
    if kind.startswith(FOREIGN):
        from featx.heads.foreign import SklearnHead

        n_jobs = -1 if len(material) >= _SHARED_ROWS else None
        return SklearnHead(kind.removeprefix(FOREIGN), n_jobs=n_jobs, random_state=seed)
    if material.task == "regress":
        return resolve("regressor", REGRESSORS, kind)(**options)
    own: dict[str, dict[str, Any]] = {
        "knn": {"k": "auto", "temperature": 0.07},
        "logreg": {"random_state": seed},
    }
    return resolve("head", HEADS, kind)(**{**own.get(kind, {}), **options})
