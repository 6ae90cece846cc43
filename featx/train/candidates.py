"""Fitted heads of each kind, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError, UnknownNameError
from featx.heads import HEADS, REGRESSORS
from featx.registry import names, resolve
from featx.train.material import Material
from featx.types import Task

FOREIGN = "sklearn:"

FEW = 8
"""Up to so many items a class, tuning by held-out rows does worse than a fixed strong shrinkage."""

_TAGGING = ("logreg", "ridge")

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

    With one item a class nothing can be held out, and the nearest class mean is taken.  With few,
    a strongly shrunk covariance is preferred; with more, the cheapest to keep.
    """
    if material.task == "multilabel":
        return ("ridge", "logreg")
    if material.task == "regress":
        return ("ridge",)
    typical = float(np.median(material.counts()))
    if typical < 2:
        return ("centroid",)
    if typical <= FEW:
        return ("lda", "ridge", "logreg", "centroid")
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


def fit(kind: str, material: Material, *, seed: int, groups: NDArray[Any] | None = None) -> Fitted:
    """Fit a head of one kind to all rows.

    Parameters
    ----------
    kind : str
    material : Material
    seed : int
        Deals the folds, where the kind has any.
    groups : ndarray, shape (N,), optional
        Rows of one group share a fold.
    """
    estimator = _make(kind, material, seed)
    # Rows that are nearly equal must not be split between a fold and the rest.  Where none are,
    # dealing rows gives folds as good, in milliseconds: groups of one take seconds.
    has_twins = groups is not None and len(np.unique(groups)) < len(groups)
    shared = {"groups": groups} if has_twins and _has_folds(kind) else {}
    y = material.y[:, 0] if _is_single_value(material) else material.y
    estimator.fit(material.rows.X, y, **shared)
    logits = estimator.held_out_logits_
    return Fitted(
        kind=kind.partition(":")[0],
        arrays=estimator.head_arrays(),
        logits=logits.reshape(len(material), -1),
        tuned=estimator.tuned_,
    )


def _is_single_value(material: Material) -> bool:
    return material.task == "regress" and material.y.shape[1] == 1


def _has_folds(kind: str) -> bool:
    return kind == "logreg" or kind.startswith(FOREIGN)


def _make(kind: str, material: Material, seed: int) -> Any:  # noqa: ANN401 - scikit-learn estimators
    if kind.startswith(FOREIGN):
        from featx.heads.foreign import SklearnHead

        n_jobs = -1 if len(material) >= _SHARED_ROWS else None
        return SklearnHead(kind.removeprefix(FOREIGN), n_jobs=n_jobs, random_state=seed)
    if material.task == "regress":
        return resolve("regressor", REGRESSORS, kind)()
    options: dict[str, Any] = {}
    if kind == "logreg":
        options = {"random_state": seed}
    elif kind == "knn":
        options = {"k": "auto", "temperature": 0.07}
    elif kind == "lda" and float(np.median(material.counts())) <= FEW:
        options = {"shrinkage": 0.5}
    return resolve("head", HEADS, kind)(**options)
