"""The source of a head: its training rows where they can be found, else what it remembers."""

from pathlib import Path
from typing import Any

import numpy as np

from featx.data.places import is_url
from featx.data.store import EmbeddingSet
from featx.errors import FeatxError, InputError
from featx.evaluate.labelled import (
    LabelledRows,
    LabelledSet,
    digest_keys,
    labelled_rows,
    made_of,
    named,
)
from featx.heads import HEADS
from featx.heads.folds import stratified_sample
from featx.heads.predict import Head, check_space
from featx.train.candidates import fit
from featx.train.material import Material
from featx.train.twins import find_twins, one_of_each
from featx.transfer.adapt.domains import Source, source_of_moments, source_of_rows
from featx.transfer.adapt.linear import Linear
from featx.transfer.adapt.remembered import remembered_moments
from featx.transfer.adapt.target import MOST_ROWS
from featx.types import Rows

LINEAR = ("lda", "logreg", "ridge")
"""Kinds of heads whose coefficients can be moved; for others a ridge head stands in."""

SET = "set"
"""Key of a head's header that names the set it was trained on: ``path`` and ``set_id``."""


def find_source(head: Head, beside: Path) -> EmbeddingSet | None:
    """Return the set that a head was trained on, if it still lies where the head says.

    The path in a head is a hint: a set is only taken if it is the same one, by its id, and holds
    items that the head was trained on.

    Parameters
    ----------
    head : Head
    beside : Path
        Of the head: a set that was moved with it is found there.
    """
    hint: Any = head.header.get(SET)
    if not isinstance(hint, dict) or not isinstance(hint.get("path"), str):
        return None
    path = Path(hint["path"])
    if is_url(path):  # a head may come from anyone, and names no bucket to read from
        return None
    for place in (path, beside.parent / path.name):
        try:
            found = EmbeddingSet.open(place)
            if found.set_id == hint.get("set_id") and _trained(head, labelled_rows(found)).size:
                return found
        except FeatxError:
            continue
    return None


def read_source(head: Head, embedding_set: LabelledSet, *, seed: int = 0) -> Source:
    """Return what is known of the rows that a head was trained on, from the set that holds them.

    Of nearly equal rows one counts, and of more than 20,000 so many are drawn.  A head that is no
    matrix of coefficients is replaced by a ridge head of the same rows.

    Raises
    ------
    InputError
        If the set holds no row that the head was trained on, or none of one of its classes.
    SpaceError
        If another backbone made its vectors.
    """
    name = named(embedding_set)
    made = made_of(embedding_set)
    check_space(head, embedding_set.fingerprint, embedding_set.space, where=name, made=made)
    rows = labelled_rows(embedding_set, splits=("train",))
    rows = rows.take(_trained(head, rows))
    position = {label: code for code, label in enumerate(head.classes)}
    codes = np.array([position.get(label, -1) for label in rows.labels], dtype=np.int64)
    rows, codes = rows.take(codes >= 0), codes[codes >= 0]
    missing = np.setdiff1d(np.arange(len(head.classes)), codes)
    if not len(rows) or len(missing):
        found = f"no row of class {head.classes[missing[0]]!r}" if len(rows) else "no row"
        message = (
            f"{name}: {found} that the head was trained on;"
            " give the set that it was trained on with --source"
        )
        raise InputError(message)
    material = Material(task="classify", rows=rows, names=head.classes, y=codes)
    material, _ = one_of_each(material, find_twins(rows.X).groups)
    material = material.take(stratified_sample(material.y, MOST_ROWS, seed=seed))
    X, y, n_classes = material.rows.X, material.y, len(head.classes)
    if head.kind not in HEADS:
        return source_of_rows(X, y, n_classes)
    held_out = fit(head.kind, material, seed=seed, options=_tuned(head)).logits
    base = linear_of(head) if head.kind in LINEAR else None
    return source_of_rows(X, y, n_classes, base=base, held_out=held_out)


def remembered_source(head: Head) -> Source:
    """Return what a head itself remembers of the rows that it was trained on.

    Raises
    ------
    InputError
        If that is too little.
    """
    moments = remembered_moments(head)
    if moments is None or head.kind not in LINEAR:
        message = (
            f"head: of kind {head.kind!r}, it remembers too little of the rows that it was trained"
            " on; give their set with --source"
        )
        raise InputError(message)
    return source_of_moments(moments, linear_of(head))


def remembers(head: Head) -> bool:
    """Return whether `remembered_source` can do with what the head holds."""
    return head.kind in LINEAR and remembered_moments(head) is not None


def linear_of(head: Head) -> Linear:
    """Return the coefficients of a head of a linear kind."""
    return Linear(
        coef=head.arrays["coef"], intercept=head.arrays["intercept"], temperature=head.temperature
    )


def _trained(head: Head, rows: LabelledRows) -> Rows:
    """Return the places of the rows that the head was trained on; all where it names none."""
    digests = head.arrays.get("trained_digests", np.empty((0, 32), np.uint8))
    if not digests.any():
        return np.arange(len(rows))
    return np.flatnonzero(np.isin(digest_keys(rows.digests), digest_keys(digests)))


def _tuned(head: Head) -> dict[str, Any]:
    """Return the options with which the head's estimator is fitted anew, as it was tuned."""
    chosen: Any = head.header.get("chosen")
    facts = chosen if isinstance(chosen, dict) else {}
    options = {"ridge": ("alpha", "alphas"), "lda": ("shrinkage",) * 2, "logreg": ("C", "C")}
    key, option = options.get(head.kind, ("", ""))
    value = facts.get(key)
    if not isinstance(value, float) or not value > 0:
        return {}
    return {option: (value,) if option == "alphas" else value}
