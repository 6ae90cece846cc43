"""A head on labelled embeddings that it was not trained on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate import measures, metrics, multilabel, regression
from featx.evaluate.baselines import MAX_ROWS as RAW_ROWS
from featx.evaluate.baselines import RawBaseline, guess, has_raw_baseline, sampled
from featx.evaluate.duplicates import between
from featx.evaluate.interval import wilson_interval
from featx.evaluate.labelled import (
    LabelledRows,
    LabelledSet,
    digest_keys,
    labelled_rows,
    left_out,
    made_of,
    named,
    set_jitter,
)
from featx.evaluate.truth import label_numbers
from featx.heads.folds import stratified_sample
from featx.heads.predict import Head, check_space
from featx.types import Content

MATRIX_CLASSES = 1_000
"""Classes up to which the confusions are a matrix; of more, the pairs that occur."""

TINY = 10
"""A class of fewer scored items says little about itself."""

NOT_SEARCHED = "leaks were not looked for: the rows trained on are not in this set"
"""The note on a set that holds nothing that the head was trained on."""

Fetch = Callable[[Sequence[int]], Sequence[Content]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """Rows to score, and rows of the same set that the head was trained on."""

    rows: LabelledRows
    trained: LabelledRows
    names: tuple[str, ...]
    y: NDArray[Any]
    jitter: NDArray[np.float64]


def evaluate_head(
    head: Head,
    embedding_set: LabelledSet,
    split: str | None = None,
    *,
    contents: Fetch | None = None,
) -> dict[str, Any]:
    """Return how well `head` does on a set, as JSON values.

    Scores split ``test``, else ``val``, else all rows, minus rows whose item the head was trained
    on.  A row whose class the head does not know counts as wrong, but is left out of what is said
    of probabilities and sets.  Items that the head was adapted to without their labels are scored:
    often there are no others of that domain.

    Parameters
    ----------
    head : Head
    embedding_set : EmbeddingSet
    split : str, optional
        Score this split and no other.
    contents : callable, optional
        Row numbers of the set → their raw contents; with it a ridge head on raw features is
        fitted to the rows of the set that the head was trained on, and scored on those that the
        head is: at most 2,000 of either, which ``notes`` says.

    Returns
    -------
    dict
        What `featx.evaluate.measures` says of the task, ``baselines``, ``classes`` (their
        number), ``chosen``, ``per_class`` (name → measures), ``confusion`` (of classes:
        ``labels`` and ``counts``, rows true; of more than 1,000 instead of ``counts`` ``cells``,
        those that are not 0, each of a true label's place, a predicted one's and the count, and a
        ``note`` that says so), ``unknown_labels``, ``novel`` (share that is flagged),
        ``leaks`` (``n`` scored rows that are nearly rows trained on, None where the set holds
        none of those, and ``accuracy_without`` them), ``adapted_to`` (the same of rows that the
        head was adapted to), ``excluded`` (rows trained on), ``split`` (of all rows scored, or
        None) and ``notes``.

    Raises
    ------
    SpaceError
        If the set lies in another space than the head.
    InputError
        If no labelled row is left to score, or the labels do not suit the head's task.
    """
    found_in, made = named(embedding_set), made_of(embedding_set)
    note = check_space(head, embedding_set.fingerprint, made.space, where=found_in, made=made)
    rows, trained = unseen_rows(head, embedding_set, split)
    if not len(rows):
        message = (
            f"embedding set: the head was trained on all {len(trained)} labelled rows;"
            " score a set with other items, or train on a part with split 'train'"
        )
        raise InputError(message)
    names, y = label_numbers(rows.labels.tolist(), head.task, head.classes)
    jitter = set_jitter(embedding_set, rows) if head.is_random else np.zeros(len(rows))
    scored = _Scored(rows=rows, trained=trained, names=names, y=y, jitter=jitter)
    answers = head.logits(rows.X) if head.task == "regress" else head.probabilities(rows.X)
    found = _OF_TASK[head.task](head, scored, np.asarray(answers, dtype=np.float64))
    baselines, raw_notes = _baselines(head, scored, embedding_set.modality, contents)
    found |= {
        "baselines": baselines,
        "classes": len(head.classes),
        "chosen": head.header.get("chosen", {"head": head.kind}),
        "unknown_labels": list(names[len(head.classes) :]),
        "leaks": _leaks(head, scored, np.asarray(answers)),
        "adapted_to": _counted(
            head, scored, np.asarray(answers), _is_among(head, scored.rows, "adapted_digests")
        ),
        "excluded": len(trained),
        "split": _split_of(embedding_set, rows),
    }
    if head.novelty is not None:
        found["novel"] = float(head.novelty.flags(rows.X).mean())
    noted = [*([note] if note else []), *left_out(embedding_set, rows.unfit)]
    notes = [*noted, *_warnings(head, found, scored), *raw_notes]
    return found | {"notes": notes + ([] if len(trained) else [NOT_SEARCHED])}


def unseen_rows(
    head: Head, embedding_set: LabelledSet, split: str | None
) -> tuple[LabelledRows, LabelledRows]:
    """Return the rows to score, perhaps none, and those of the set that the head was trained on.

    Raises
    ------
    InputError
        If no row has a label, or none that is in the split.
    """
    everything = labelled_rows(embedding_set)
    is_seen = _is_among(head, everything, "trained_digests")
    if split is None:
        rows = labelled_rows(embedding_set, splits=("test", "val"))
    else:
        rows = labelled_rows(embedding_set, splits=(split,))
        held = embedding_set.items.column("split").to_pylist()
        rows = rows.take(np.array([held[row] == split for row in rows.rows], dtype=bool))
        if not len(rows):
            message = f"embedding set: no labelled row in split {split!r}; choose another split"
            raise InputError(message)
    _refuse_own_set(head, embedding_set, rows)
    return rows.take(~_is_among(head, rows, "trained_digests")), everything.take(is_seen)


def _refuse_own_set(head: Head, embedding_set: LabelledSet, rows: LabelledRows) -> None:
    """Raise where a head of too many items to know them again would be scored on its own set.

    Raises
    ------
    InputError
        Unless the rows are of split ``test`` or ``val``, which no head is trained on.
    """
    own = head.header.get("set", {}).get("set_id")
    is_own = own is not None and own == getattr(embedding_set, "set_id", None)
    knows = len(head.arrays.get("trained_digests", ())) > 0 or "streamed" not in head.header
    if is_own and not knows and _split_of(embedding_set, rows) not in {"test", "val"}:
        message = (
            f"{named(embedding_set)}: the head was trained on this set, and on too many items to "
            "know them again; score it on split test or val, or on another set"
        )
        raise InputError(message)


def _split_of(embedding_set: LabelledSet, rows: LabelledRows) -> str | None:
    """Return the one split that all rows are in; None if there is none."""
    held = embedding_set.items.column("split").to_pylist()
    found = {held[row] for row in rows.rows.tolist()}
    return found.pop() if len(found) == 1 else None


def _is_among(head: Head, rows: LabelledRows, name: str) -> NDArray[np.bool_]:
    """Return which rows are of items whose digests an array of the head holds."""
    held = head.arrays.get(name, np.empty((0, 32), np.uint8))
    is_known = rows.digests.any(axis=1)
    return np.asarray(np.isin(digest_keys(rows.digests), digest_keys(held)) & is_known)


def _classes(head: Head, scored: _Scored, answers: NDArray[np.float64]) -> dict[str, Any]:
    predicted = answers.argmax(axis=1)
    counts = metrics.class_counts(scored.y, predicted, len(scored.names))
    hits = int(counts.hits.sum())
    known = scored.y < len(head.classes)
    sets = head.sets(answers, scored.jitter)
    return {
        "accuracy": hits / len(scored.y),
        "interval": list(wilson_interval(hits, len(scored.y))),
        "n": len(scored.y),
        "balanced_accuracy": metrics.balanced_accuracy(counts),
        "macro_f1": metrics.macro_f1(counts),
        **(
            measures.of_probabilities(answers[known], scored.y[known], sets[known])
            if known.any()
            else {}
        ),
        "per_class": dict(zip(scored.names, metrics.class_measures(*counts), strict=True)),
        "confusion": _confusion(scored, predicted),
    }


def _confusion(scored: _Scored, predicted: NDArray[np.int64]) -> dict[str, Any]:
    """Return what is taken for what; of many classes without the cells that are 0."""
    labels = list(scored.names)
    if len(labels) <= MATRIX_CLASSES:
        counts = metrics.confusion_matrix(scored.y, predicted, len(labels))
        return {"labels": labels, "counts": counts.tolist()}
    return {
        "labels": labels,
        "cells": metrics.confusion_cells(scored.y, predicted).tolist(),
        "note": f"{len(labels):,} classes: 'cells' are those of the matrix that are not 0, each as "
        "the place of the true label, that of the predicted one, and the count",
    }


def _tags(head: Head, scored: _Scored, answers: NDArray[np.float64]) -> dict[str, Any]:
    # Tags that the head does not know are never given.
    unknown = np.zeros((len(answers), len(scored.names) - len(head.classes)))
    answers = np.hstack([answers, unknown])
    table = multilabel.per_tag(scored.y > 0, answers > 0.5, answers)
    of_tags = measures.of_tags(answers, scored.y)
    return of_tags | {"per_class": dict(zip(scored.names, table, strict=True))}


def _values(head: Head, scored: _Scored, answers: NDArray[np.float64]) -> dict[str, Any]:
    spreads = np.broadcast_to(head.arrays["spread"], answers.shape)
    table = regression.per_output(scored.y, answers)
    of_values = measures.of_values(answers, scored.y, spreads)
    return of_values | {"per_class": dict(zip(scored.names, table, strict=True))}


_OF_TASK = {"classify": _classes, "multilabel": _tags, "regress": _values}


def _baselines(
    head: Head, scored: _Scored, modality: str, contents: Fetch | None
) -> tuple[dict[str, float], list[str]]:
    """Return what a guess reaches, and a ridge head on raw features of the trained rows."""
    found = guess(head.task, scored.y)
    if contents is None or not has_raw_baseline(modality) or len(scored.trained) < 2:
        return found, []
    names, known = label_numbers(scored.trained.labels.tolist(), head.task, scored.names)
    if len(names) > len(scored.names):  # relabelled since
        return found, []
    fitting, scoring = _sample(known), _sample(scored.y)
    if head.task == "classify" and len(np.unique(known[fitting])) < 2:
        return found, []
    raw = RawBaseline(modality, head.task)
    raw.fit(contents(scored.trained.rows[fitting].tolist()), known[fitting])
    predicted = raw.predict(contents(scored.rows.rows[scoring].tolist()))
    reached = {"raw": _headline(head, predicted, scored.y[scoring])}
    notes = sampled(len(fitting), len(scoring), (len(known), len(scored.y)))
    return found | reached, notes


def _sample(y: NDArray[Any]) -> NDArray[np.int64]:
    return stratified_sample(y if y.ndim == 1 else np.zeros(len(y), dtype=np.int64), RAW_ROWS)


def _headline(head: Head, predicted: NDArray[Any], y: NDArray[Any]) -> float:
    if head.task == "classify":
        return float((predicted == y).mean())
    if head.task == "multilabel":
        return multilabel.micro_f1(y > 0, predicted > 0)
    return float(regression.r2(y, predicted.reshape(y.shape)).mean())


def _leaks(head: Head, scored: _Scored, answers: NDArray[Any]) -> dict[str, Any]:
    """Return how many scored rows are nearly rows that the head was trained on."""
    if not len(scored.trained):
        return {"n": None}
    is_leak = np.zeros(len(scored.y), dtype=bool)
    is_leak[between(scored.rows.X, scored.trained.X).queries] = True
    return _counted(head, scored, answers, is_leak)


def _counted(
    head: Head, scored: _Scored, answers: NDArray[Any], is_such: NDArray[np.bool_]
) -> dict[str, Any]:
    """Return how many scored rows are of a kind, and the accuracy of classes without them."""
    found: dict[str, Any] = {"n": int(is_such.sum())}
    if is_such.any() and not is_such.all() and head.task == "classify":
        found["accuracy_without"] = float((answers.argmax(axis=1) == scored.y)[~is_such].mean())
    return found


def _warnings(head: Head, found: dict[str, Any], scored: _Scored) -> list[str]:
    notes = []
    if unknown := found["unknown_labels"]:
        notes.append(f"the head knows no {', '.join(unknown[:10])}")
    if n := found["leaks"]["n"]:
        items = "item is nearly an item" if n == 1 else "items are nearly items"
        notes.append(f"{n} scored {items} trained on{_without(found['leaks'])}")
    if n := found["adapted_to"]["n"]:
        which = f"{n} of {len(scored.y)} scored items" if n < len(scored.y) else "these items"
        rest = _without(found["adapted_to"])
        notes.append(f"the head was adapted to {which}, without their labels{rest}")
    if head.task == "classify":
        counts = np.bincount(scored.y, minlength=len(scored.names))
        tiny = [name for name, n in zip(scored.names, counts, strict=True) if 0 < n < TINY]
        if tiny:
            few = (
                f"{len(tiny)} of {len(scored.names)} classes {'has' if len(tiny) == 1 else 'have'}"
            )
            notes.append(f"{few} fewer than {TINY} scored items: {', '.join(tiny[:10])}")
    if note := measures.beaten(head.task, found):
        notes.append(note)
    return notes


def _without(counted: dict[str, Any]) -> str:
    rest = counted.get("accuracy_without")
    return "" if rest is None else f"; without them the accuracy is {rest:.3f}"
