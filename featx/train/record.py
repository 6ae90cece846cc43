"""What a head's header says of where it came from and of its training rows."""

from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.evaluate.duplicates import Duplicates
from featx.evaluate.labelled import LabelledSet
from featx.evaluate.measures import HEADLINES
from featx.evaluate.suspects import suspect_labels
from featx.train.calibrate import Calibration, HeldOut
from featx.train.choose import losses_and_hits
from featx.train.material import Material
from featx.train.recipe import FOLDS

KEPT_SUSPECTS = 100
"""Suspected labels that a head file lists, at most."""

SHOWN_NAMES = 20


def provenance(embedding_set: LabelledSet, material: Material) -> dict[str, Any]:
    """Return where the vectors and labels came from."""
    labels = embedding_set.y
    n_labelled = sum(label is not None for label in labels)
    is_counted = material.task != "regress"
    counts = dict(zip(material.names, material.counts(), strict=True)) if is_counted else {}
    return {
        "dim": embedding_set.dim,
        "fingerprint": embedding_set.fingerprint,
        "space": embedding_set.space,
        "model": embedding_set.model,
        "prompt": getattr(embedding_set, "prompt", ""),
        "modality": embedding_set.modality,
        "labels": {
            "rows": len(labels),
            "used": len(material),
            "unlabelled": len(labels) - n_labelled,
            "counts": counts,
        },
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
    }


def suspects(
    embedding_set: LabelledSet, material: Material, held_out: HeldOut, calibration: Calibration
) -> dict[str, Any]:
    """Return the labels that are probably wrong, the least likely first.

    Returns
    -------
    dict
        ``n`` and ``first``, at most a hundred: ``id``, ``label``, ``suggested``, ``confidence``.
        Empty for other tasks than classes.
    """
    if material.task != "classify":
        return {"n": 0, "first": []}
    found = suspect_labels(calibration.answers(held_out.logits), held_out.y)
    ids = _ids(embedding_set, material)
    return {
        "n": len(found),
        "first": [
            {
                "id": ids[row],
                "label": material.names[held_out.y[row]],
                "suggested": material.names[suggested],
                "confidence": round(float(confidence), 6),
            }
            for row, suggested, confidence in zip(
                found.rows[:KEPT_SUSPECTS],
                found.suggested[:KEPT_SUSPECTS],
                found.confidence[:KEPT_SUSPECTS],
                strict=True,
            )
        ],
    }


def duplicates(
    embedding_set: LabelledSet, material: Material, found: Duplicates, logits: NDArray[Any]
) -> dict[str, Any]:
    """Return the training rows that are nearly equal, and how well the others are predicted.

    A row whose twin stays in the training rows when it is left out is easy to get right.

    Returns
    -------
    dict
        ``n`` (rows with a twin), ``searched``, ``first`` (ids of at most ten groups) and
        ``accuracy_without`` (share of hits among the other rows; absent if there are no twins).
    """
    clusters = found.clusters()
    ids = _ids(embedding_set, material)
    facts: dict[str, Any] = {
        "n": int(sum(len(rows) for rows in clusters)),
        "searched": found.searched,
        "first": [[ids[row] for row in rows[:10]] for rows in clusters[:10]],
    }
    is_alone = np.ones(len(material), dtype=bool)
    is_alone[np.concatenate([*clusters, np.empty(0, np.int64)])] = False
    if clusters and is_alone.any() and material.task == "classify":
        _, hits = losses_and_hits(logits, material)
        facts["accuracy_without"] = float(hits[is_alone].mean())
    return facts


def warnings(material: Material, metrics: dict[str, Any], twins: dict[str, Any]) -> list[str]:
    """Return what a person should know before trusting the head."""
    notes = []
    if material.task == "classify":
        counts = np.array(material.counts())
        single = [name for name, n in zip(material.names, counts, strict=True) if n == 1]
        if single:
            notes.append(f"one item only: {', '.join(single[:SHOWN_NAMES])}; label more of them")
        if counts.min() < FOLDS:
            notes.append(f"a class has {counts.min()} items; the accuracy is a rough estimate")
    name = HEADLINES[material.task]
    best, baseline = max((value, name) for name, value in metrics["baselines"].items())
    if material.task == "classify" and metrics["interval"][0] <= best:
        notes.append(
            f"{name} {metrics[name]:.3f} may be no better than the {baseline} baseline, {best:.3f}"
        )
    if twins.get("accuracy_without", 1.0) < metrics.get("interval", [0.0])[0]:
        notes.append(
            f"{twins['n']} rows have a twin; without them the accuracy is"
            f" {twins['accuracy_without']:.3f}"
        )
    return notes


def _ids(embedding_set: LabelledSet, material: Material) -> list[str]:
    """Return the id of each training row, or its number where the set has none."""
    rows = material.rows.rows.tolist()
    if "id" not in embedding_set.items.column_names:
        return [str(row) for row in rows]
    ids = embedding_set.items.column("id").to_pylist()
    return [ids[row] for row in rows]
