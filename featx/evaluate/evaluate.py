"""A head on labelled embeddings that it was not trained on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate import metrics
from featx.evaluate.baselines import majority_accuracy
from featx.evaluate.interval import wilson_interval
from featx.evaluate.labelled import LabelledRows, LabelledSet, digest_keys, labelled_rows
from featx.heads.predict import Head, check_space


def evaluate_head(
    head: Head, embedding_set: LabelledSet, split: str | None = None
) -> dict[str, Any]:
    """Return how well `head` does on a set, as JSON values.

    Scores split ``test``, else ``val``, else all rows, minus rows whose item the head was trained
    on.  A row whose label the head does not know counts as wrong, but is left out of the log
    loss and the calibration error.

    Parameters
    ----------
    head : Head
    embedding_set : EmbeddingSet
    split : str, optional
        Score this split and no other.

    Returns
    -------
    dict
        ``accuracy``, ``interval`` (95 %, Wilson), ``n``, ``baselines``, ``classes`` (their
        number), ``chosen``, ``balanced_accuracy``, ``macro_f1``, ``log_loss``,
        ``calibration_error``, ``set_coverage``, ``set_size``, ``confusion`` (``labels`` and
        ``counts``, rows true), ``unknown_labels``, ``excluded`` (rows trained on) and ``notes``.
        The four measures of probabilities are absent if the head knows none of the labels.

    Raises
    ------
    SpaceError
        If the set lies in another space than the head.
    InputError
        If no labelled row is left to score.
    """
    note = check_space(head, embedding_set.fingerprint, embedding_set.space)
    rows, excluded = _unseen_rows(head, embedding_set, split)
    probabilities = head.probabilities(rows.X)
    labels = [*head.classes, *sorted(set(rows.labels) - set(head.classes))]
    position = {label: code for code, label in enumerate(labels)}
    truth = np.array([position[label] for label in rows.labels], dtype=np.int64)
    confusion = metrics.confusion_matrix(truth, probabilities.argmax(axis=1), len(labels))
    hits = int(np.trace(confusion))
    return {
        "accuracy": hits / len(rows),
        "interval": list(wilson_interval(hits, len(rows))),
        "n": len(rows),
        "baselines": {"majority": majority_accuracy(truth)},
        "classes": len(head.classes),
        "chosen": head.header.get("chosen", {"head": head.kind}),
        "balanced_accuracy": metrics.balanced_accuracy(confusion),
        "macro_f1": metrics.macro_f1(confusion),
        **_calibration(head, probabilities, truth),
        "confusion": {"labels": labels, "counts": confusion.tolist()},
        "unknown_labels": labels[len(head.classes) :],
        "excluded": excluded,
        "notes": [note] if note else [],
    }


def _unseen_rows(
    head: Head, embedding_set: LabelledSet, split: str | None
) -> tuple[LabelledRows, int]:
    """Return the rows to score, and how many were left out."""
    if split is None:
        rows = labelled_rows(embedding_set, splits=("test", "val"))
    else:
        rows = labelled_rows(embedding_set, splits=(split,))
        held = embedding_set.items.column("split").to_pylist()
        rows = rows.take(np.array([held[row] == split for row in rows.rows], dtype=bool))
        if not len(rows):
            message = f"embedding set: no labelled row in split {split!r}; choose another split"
            raise InputError(message)
    trained = head.arrays.get("trained_digests", np.empty((0, 32), np.uint8))
    is_known = rows.digests.any(axis=1)
    is_seen = np.isin(digest_keys(rows.digests), digest_keys(trained)) & is_known
    if is_seen.all():
        message = (
            f"embedding set: the head was trained on all {len(rows)} labelled rows;"
            " score a set with other items, or train on a part with split 'train'"
        )
        raise InputError(message)
    return rows.take(~is_seen), int(is_seen.sum())


def _calibration(
    head: Head, probabilities: NDArray[np.float64], truth: NDArray[np.int64]
) -> dict[str, float]:
    """Return the measures of probabilities, if any, over the rows whose label the head knows."""
    known = truth < len(head.classes)
    if not known.any():
        return {}
    probabilities, truth = probabilities[known], truth[known]
    sets = [prediction.set for prediction in head.describe(probabilities)]
    covered = [head.classes[code] in held for code, held in zip(truth, sets, strict=True)]
    return {
        "log_loss": metrics.log_loss(probabilities, truth),
        "calibration_error": metrics.calibration_error(probabilities, truth),
        "set_coverage": float(np.mean(covered)),
        "set_size": float(np.mean([len(held) for held in sets])),
    }
