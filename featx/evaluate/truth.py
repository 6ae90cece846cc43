"""Labels as numbers: codes of classes, indicators of tags, values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.types import Task

SEPARATOR = "|"


def label_numbers(
    labels: Sequence[str], task: Task, names: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], NDArray[Any]]:
    """Return the names of the columns, and labels as numbers.

    Parameters
    ----------
    labels : sequence of str
        Classes; tags joined by ``|``, which alone stands for no tag; numbers, those of several
        outputs joined by ``|``.
    task : {"classify", "multilabel", "regress"}
    names : tuple of str, optional
        Those of a head; classes and tags beyond them get further columns.

    Returns
    -------
    names : tuple of str
    y : ndarray
        Class codes (N,) of int64, tags (N, C) of 0 and 1, or values (N, C); the latter two are
        float64.

    Raises
    ------
    InputError
        If the labels do not suit the task.
    """
    if task == "regress":
        return _values(labels, names)
    if task == "multilabel":
        return _tags(labels, names)
    found = list(names or [])
    found += sorted(set(labels) - set(found))
    if len(found) < 2:
        message = (
            f"embedding set: its {len(labels)} labelled rows hold one class, {found[0]!r};"
            " expected two classes or more; run: featx label SET labels.csv"
        )
        raise InputError(message)
    position = {name: code for code, name in enumerate(found)}
    return tuple(found), np.array([position[label] for label in labels], dtype=np.int64)


def _tags(
    labels: Sequence[str], names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    of_row = [{tag.strip() for tag in label.split(SEPARATOR)} - {""} for label in labels]
    found = list(names or [])
    found += sorted(set().union(*of_row) - set(found))
    if not found:
        message = "embedding set: no row has a tag; expected labels such as 'red|round'"
        raise InputError(message)
    y = np.array([[tag in tags for tag in found] for tags in of_row], dtype=np.float64)
    if len(found) < 2:
        message = f"embedding set: one tag, {found[0]!r:.80}; expected two or more"
        raise InputError(f"{message}; label the other rows too and train on classes instead")
    if names is None and ((y.min(axis=0) == y.max(axis=0)).all()):
        message = f"embedding set: every row has the same tags, {', '.join(found)[:100]}"
        raise InputError(f"{message}; expected rows with and without a tag")
    return tuple(found), y


def _values(
    labels: Sequence[str], names: tuple[str, ...] | None
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    parts = [label.split(SEPARATOR) for label in labels]
    n_outputs = len(parts[0]) if names is None else len(names)
    values = np.empty((len(parts), n_outputs))
    for row, texts in zip(values, parts, strict=True):
        try:
            row[:] = [float(text) for text in texts] if len(texts) == n_outputs else [np.nan]
        except ValueError:
            row[:] = np.nan
        if not np.isfinite(row).all():
            wanted = "a number" if n_outputs == 1 else f"{n_outputs} numbers joined by |"
            needs = (
                "the task regress needs numbers; leave --task out to train on classes"
                if names is None
                else "the head's task is regress; score a set whose labels are such"
            )
            message = f"embedding set: label {SEPARATOR.join(texts)!r:.80} is not {wanted}; {needs}"
            raise InputError(message)
    if names is None and (values.min(axis=0) == values.max(axis=0)).all():
        message = f"embedding set: every label is {labels[0]!r:.80}; expected different numbers"
        raise InputError(message)
    if names is None:
        names = ("value",) if n_outputs == 1 else tuple(f"value {i + 1}" for i in range(n_outputs))
    return names, values
