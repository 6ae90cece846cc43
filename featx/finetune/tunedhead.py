"""The head that is written, tuned or frozen: the one that was judged, and calibrated by that."""

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.backbone.backbone import Backbone
from featx.evaluate.baselines import guess
from featx.finetune.comparison import Scored
from featx.finetune.files import MARK, mark
from featx.finetune.folds import Plan
from featx.finetune.learner import Trained
from featx.finetune.made import Made
from featx.finetune.material import Material
from featx.finetune.training import Epoch
from featx.heads.novelty import Novelty, fit_novelty
from featx.heads.predict import Head
from featx.train.calibrate import HeldOut, calibrate, measure
from featx.train.recipe import Recipe as HeadRecipe
from featx.types import Rows, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """A head as it was trained, and what is known of it.

    Attributes
    ----------
    weight : ndarray of float32, shape (C, D)
    bias : ndarray of float32, shape (C,)
    scored : Scored
        What it says of the rows that judged, in the plan's order.
    epochs : int
        That it was trained with the tail; 0 on the frozen backbone.
    novelty : Novelty or None
    """

    weight: Vectors
    bias: NDArray[np.float32]
    scored: Scored
    epochs: int
    novelty: Novelty | None


def frozen_head(made: Made) -> Head:
    """Return the head that was solved on the frozen embeddings, the one that was judged."""
    rows, head = made.plan.rows, made.found.head
    linear = Linear(
        weight=head.weight,
        bias=head.bias,
        scored=made.found.choice.frozen,
        epochs=0,
        novelty=_novelty(made, made.material.X[rows], rows),
    )
    return _head(made, linear, made.prepared.backbone)


def tuned_head(made: Made, best: Epoch, trained: Trained, backbone: Backbone) -> Head:
    """Return the head that was trained with the tail.

    Parameters
    ----------
    made : Made
        Whose learner holds what was trained.
    best : Epoch
    trained : Trained
    backbone : Backbone
        The tuned one.
    """
    novelty = None
    if not made.plan.is_folded:
        # Rows that were trained on lie nearer to each other than new ones will.
        rows = made.plan.judged
        novelty = _novelty(made, made.learner.embeddings(rows), rows)
    linear = Linear(
        weight=trained.weight,
        bias=trained.bias,
        scored=best.scored,
        epochs=best.number,
        novelty=novelty,
    )
    return _head(made, linear, backbone)


def _novelty(made: Made, X: Vectors, rows: Rows) -> Novelty | None:
    """Return what tells novel items; None where a class has no row, all of which would be novel."""
    codes, n_classes = made.material.y[rows], len(made.material.names)
    if len(np.unique(codes)) < n_classes:
        return None
    return fit_novelty(X, codes, n_classes=n_classes, quantile=HeadRecipe().novelty)


def _head(made: Made, linear: Linear, backbone: Backbone) -> Head:
    """Return a head with temperature and conformal sets from the rows that judged.

    After folds those are what the folds say.  What is said of its quality is measured on the same
    rows, in parts that the calibration was not fitted to; they did choose the epoch.
    """
    recipe, scored = HeadRecipe(seed=made.learner.recipe.seed), linear.scored
    chance = np.zeros(len(scored.y))
    held_out = HeldOut(task="classify", logits=scored.logits, y=scored.y, jitter=chance)
    calibration = calibrate(held_out, recipe)
    chosen = {"head": "logreg", **made.found.head.tuned, "epochs": linear.epochs}
    baselines = guess("classify", scored.y) | {"frozen": made.found.choice.frozen.accuracy}
    of_classes = len(made.material.names)
    metrics = {"baselines": baselines, "classes": of_classes, "chosen": chosen}
    used, parent = made.material.digests[made.plan.rows], made.prepared.backbone.manifest
    return Head(
        kind="logreg",
        classes=made.material.names,
        arrays={"coef": linear.weight, "intercept": linear.bias, "trained_digests": used},
        temperature=calibration.temperature,
        conformal=calibration.conformal,
        novelty=linear.novelty,
        header={
            **_provenance(made.material, made.plan, backbone),
            "metrics": measure(held_out, recipe) | metrics,
            "chosen": chosen,
            "baselines": baselines,
            "curve": None,
            "coverage": recipe.coverage,
            "strict": False,
            "warnings": [*made.material.notes, *made.plan.notes],
            "command": made.learner.recipe.command,
            "seed": recipe.seed,
            MARK: mark(parent, backbone.manifest if linear.epochs else None),
        },
    )


def _provenance(material: Material, plan: Plan, backbone: Backbone) -> dict[str, Any]:
    counts = np.bincount(material.y[plan.rows], minlength=len(material.names)).tolist()
    return {
        "dim": backbone.dim,
        "fingerprint": backbone.fingerprint,
        "space": backbone.space,
        "model": backbone.manifest.name,
        "prompt": backbone.facts["prompt"],
        "modality": backbone.manifest.modality,
        "labels": {
            "rows": material.rows,
            "used": len(plan.rows),
            "unlabelled": material.unlabelled,
            "counts": dict(zip(material.names, counts, strict=True)),
        },
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
    }
