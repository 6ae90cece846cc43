"""The head that is written: an ordinary one, of which nothing is said that was not seen."""

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.baselines import guess
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.predict import Head
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.recipe import Recipe as HeadRecipe
from featx.transfer.adapt.origin import LINEAR, SET
from featx.transfer.adapt.recipe import Recipe
from featx.transfer.adapt.shift import Shift
from featx.transfer.adapt.solve import Solved
from featx.transfer.adapt.target import Target
from featx.types import Vectors

KEPT = ("dim", "space", "model", "modality", "prompt", "labels", SET)
"""Facts of the source's head that are as true of the adapted one."""

MARK = "adapted"
"""Key of the header of an adapted head: how it was adapted."""

UNMEASURED = (
    "without labels of the target neither its accuracy nor its probabilities are measured,"
    " and its sets hold the label alone; featx evaluate tells, with labels of a few other items"
)

_MEASURED_ROWS = 10
"""Labelled rows of the target that measures and sets are made from, at least."""


def adapted_head(
    head: Head, solved: Solved, target: Target, fingerprint: str, shift: Shift, recipe: Recipe
) -> Head:
    """Return the head of an adapted classifier.

    Novelty is fitted to the target's rows and the classes they are taken for, so that it tells
    items unlike those.  Accuracy, sets and suspected labels of the source's head are not handed on:
    they are of other items.  Where labels of the target were read they make new ones.  Digests tell
    the rows of the target whose labels were read, and those that were adapted to without them.

    Parameters
    ----------
    head : Head
        Of the source.
    solved : Solved
    target : Target
    fingerprint : str
        Of the target's vectors.
    shift : Shift
    recipe : Recipe
    """
    kind = head.kind if head.kind in LINEAR and not solved.is_refit else "ridge"
    facts = {
        "method": solved.method,
        "reason": solved.reason,
        "expected_gain": solved.expected_gain,
        "interval": solved.interval,
        "shift": shift.facts(),
        "target": {"set": target.name, "rows": len(target)},
    }
    chosen = {"head": kind, MARK: solved.method}
    linear, held_out = solved.linear, _held_out(solved, target)
    is_measured = held_out is not None and len(held_out.y) >= _MEASURED_ROWS
    warnings = [*target.notes, *([] if is_measured else [UNMEASURED])]
    none = np.empty((0, 32), np.uint8)
    # Rows without a label have no part in what `labelled` predicts.
    read = none if held_out is None else target.digests[target.codes >= 0]
    followed = target.digests if held_out is None else none
    header: dict[str, Any] = {key: head.header[key] for key in KEPT if key in head.header}
    if held_out is not None and is_measured:
        header["metrics"] = _metrics(held_out, len(head.classes), chosen)
    return Head(
        kind=kind,
        classes=head.classes,
        arrays={
            "coef": linear.coef,
            "intercept": linear.intercept,
            "trained_digests": np.concatenate([head.arrays.get("trained_digests", none), read]),
            "adapted_digests": followed,
        },
        temperature=float(linear.temperature),
        conformal=calibrate(held_out, HeadRecipe()).conformal if is_measured and held_out else None,
        novelty=_novelty(target.X, linear.codes(target.X)),
        header={
            **header,
            "fingerprint": fingerprint,
            "chosen": chosen,
            MARK: facts,
            "warnings": warnings,
            "command": recipe.command,
            "seed": recipe.seed,
            "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
        },
    )


def _held_out(solved: Solved, target: Target) -> HeldOut | None:
    """Return what the head says of each labelled row of the target without it."""
    if solved.labelled is None:
        return None
    y = target.codes[target.codes >= 0][solved.labelled.rows]
    logits = solved.labelled.held_out
    return HeldOut(task="classify", logits=logits, y=y, jitter=np.zeros(len(y)))


def _metrics(held_out: HeldOut, n_classes: int, chosen: dict[str, Any]) -> dict[str, Any]:
    measured = measure(held_out, HeadRecipe())
    baselines = guess("classify", held_out.y)
    return {**measured, "baselines": baselines, "classes": n_classes, "chosen": chosen}


def _novelty(X: Vectors, codes: NDArray[np.int64]) -> Novelty:
    seen, places = np.unique(codes, return_inverse=True)
    return fit_novelty(
        X, places.astype(np.int64), n_classes=len(seen), quantile=HeadRecipe().novelty
    )
