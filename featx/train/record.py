"""What a head's header says of where it came from and of its training rows."""

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from featx.evaluate.duplicates import Duplicates
from featx.evaluate.labelled import LabelledSet, item_ids, left_out
from featx.evaluate.measures import beaten
from featx.evaluate.suspects import suspect_labels
from featx.evaluate.truth import SEPARATOR
from featx.train.calibrate import Calibration, HeldOut
from featx.train.material import Material
from featx.train.recipe import FOLDS, Recipe
from featx.types import Rows

KEPT_SUSPECTS = 100
"""Suspected labels that a head file lists, at most."""

MANY_CLASSES = 20
"""Numbers of so many kinds are hardly names."""

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
        **_place(embedding_set),
        "labels": {
            "rows": len(labels),
            "used": len(material),
            "unlabelled": len(labels) - n_labelled,
            "counts": counts,
        },
        "versions": {name: version(name) for name in ("numpy", "scikit-learn")},
    }


def _place(embedding_set: LabelledSet) -> dict[str, Any]:
    """Return where a set lies and which one it is; nothing of one that lies in memory."""
    where, set_id = (getattr(embedding_set, name, None) for name in ("where", "set_id"))
    return {} if where is None else {"set": {"path": where, "set_id": set_id}}


def suspects(
    embedding_set: LabelledSet,
    material: Material,
    held_out: HeldOut,
    calibration: Calibration,
    metrics: dict[str, Any] | None,
) -> dict[str, Any]:
    """Return the labels that are probably wrong, the least likely first.

    A head that may do no better than the commonest class accuses none, nor does one without
    `metrics`; nor any head the only item of a class, which it does not know when that is left out.

    Returns
    -------
    dict
        ``n`` and ``first``, at most a hundred: ``id``, ``label``, ``suggested``, ``confidence``.
        Empty for other tasks than classes.
    """
    if material.task != "classify" or metrics is None:
        return {"n": 0, "first": []}
    if metrics["interval"][0] <= metrics["baselines"]["majority"]:
        return {"n": 0, "first": []}
    found = suspect_labels(calibration.answers(held_out.logits), held_out.y)
    kept = np.flatnonzero(np.array(material.counts())[held_out.y[found.rows]] > 1)
    ids, names = _ids(embedding_set, material.rows.rows), material.names
    return {
        "n": len(kept),
        "first": [
            {
                "id": ids[found.rows[each]],
                "label": names[held_out.y[found.rows[each]]],
                "suggested": names[found.suggested[each]],
                "confidence": round(float(found.confidence[each]), 6),
            }
            for each in kept[:KEPT_SUSPECTS]
        ],
    }


def duplicates(
    embedding_set: LabelledSet, material: Material, found: Duplicates, distinct: int
) -> dict[str, Any]:
    """Return the training rows that are nearly equal, as JSON values.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    material : Material
    found : Duplicates
        Among the rows of `material`.
    distinct : int
        Rows that the head was judged by.

    Returns
    -------
    dict
        ``n`` (rows with a twin), ``searched``, ``distinct`` and ``first`` (ids of at most ten
        groups).
    """
    clusters = found.clusters()
    ids = _ids(embedding_set, material.rows.rows)
    return {
        "n": int(sum(len(rows) for rows in clusters)),
        "searched": found.searched,
        "distinct": distinct,
        "first": [[ids[row] for row in rows[:10]] for rows in clusters[:10]],
    }


def twin_warnings(found: Duplicates, facts: dict[str, Any]) -> list[str]:
    """Return what a person should know of rows that are nearly equal, or may be.

    Parameters
    ----------
    found : Duplicates
    facts : dict
        From `duplicates`.
    """
    notes = []
    if facts["n"]:
        notes.append(
            f"{facts['n']:,} rows have a twin; what is said of the head comes from"
            f" {facts['distinct']:,} distinct rows"
        )
    if found.searched < found.different:
        notes.append(
            f"twins were looked for among {found.searched:,} of {found.different:,} rows;"
            " those of other rows may make the head look better than it is"
        )
    return notes


def warnings(
    embedding_set: LabelledSet,
    material: Material,
    metrics: dict[str, Any] | None,
    *,
    counts: Sequence[int] | None = None,
) -> list[str]:
    """Return what a person should know before trusting the head.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    material : Material
    metrics : dict or None
        None where the head was not measured, since half of the classes or more have one row.
    counts : sequence of int, optional
        Items of each class, where `material` is a sample of them.
    """
    notes = left_out(embedding_set, material.rows.unfit)
    if len(rows := material.contradicted):
        shown = ", ".join(_ids(embedding_set, rows[:SHOWN_NAMES]))
        items = "item is" if len(rows) == 1 else "items are"
        notes.append(
            f"{len(rows)} {items} there again with another label; the first label counts: {shown}"
        )
    if material.repeated:
        notes.append(f"{material.repeated:,} rows hold the contents of another and are left out")
    if material.task == "classify":
        told = material.counts() if counts is None else counts
        notes += _few_items(material.names, told) + _other_task(material)
    if metrics is None:
        notes.append(
            "half of the classes or more have one item, and are gone when that is held out: nothing"
            " tells how good the head is but other items, see featx evaluate"
        )
    elif note := beaten(material.task, metrics):
        notes.append(note)
    return notes


def set_warnings(calibration: Calibration, rows: HeldOut, recipe: Recipe) -> list[str]:
    """Return which sets or intervals, made of these rows, say less than they should."""
    if rows.task == "regress" and len(rows.y) < recipe.least_rows:
        return [
            f"intervals of {len(rows.y)} rows cannot promise a coverage of {recipe.coverage};"
            f" label {recipe.least_rows} or more"
        ]
    if calibration.conformal is None:
        return []
    is_all = calibration.conformal.quantiles >= 1
    if not is_all.any():
        return []
    of = "every class is" if is_all.all() else f"{is_all.sum()} of {len(is_all)} classes are"
    return [
        f"{of} in every set: a coverage of {recipe.coverage} needs {recipe.least_rows} rows or more"
        f"{' a class' if recipe.conformal == 'class' else ''}"
    ]


def _other_task(material: Material) -> list[str]:
    """Return notes on labels that look like those of another task."""
    names = material.names
    if any(SEPARATOR in name for name in names):
        return [f"labels hold {SEPARATOR!r}: for tags add --task multilabel"]
    if len(names) > MANY_CLASSES and all(_is_number(name) for name in names):
        return [f"the {len(names)} classes are numbers: to estimate them add --task regress"]
    return []


def _is_number(name: str) -> bool:
    try:
        return math.isfinite(float(name))
    except ValueError:
        return False


def _few_items(names: Sequence[str], counts: Sequence[int]) -> list[str]:
    """Return notes on classes that have too few items to be judged."""
    few = np.flatnonzero(np.array(counts) < FOLDS)
    if not len(few):
        return []
    shown = ", ".join(f"{names[code]} ({counts[code]})" for code in few[:SHOWN_NAMES])
    more = ", ..." if len(few) > SHOWN_NAMES else ""
    classes = "class has" if len(few) == 1 else "classes have"
    return [
        f"{len(few)} {classes} fewer than {FOLDS} items: {shown}{more};"
        " what is said of them is a rough estimate; label more of them"
    ]


def _ids(embedding_set: LabelledSet, rows: Rows) -> list[str]:
    """Return the id of each row, or its number where the set has none."""
    return item_ids(embedding_set, rows) or [str(row) for row in rows]
