"""The target: rows of another domain, mostly without labels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.evaluate.labelled import LabelledSet, digest_keys, made_of, named
from featx.heads.moments import row_blocks
from featx.heads.predict import Head, check_space
from featx.train.material import HELD_BACK
from featx.types import Rows, Vectors

MOST_ROWS = 20_000
"""Rows of either domain that are used; more change a mean or a covariance by nothing."""

SHOWN_NAMES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Rows that a head is to be adapted to.

    Attributes
    ----------
    name : str
        Of the set, for messages.
    rows : ndarray of int64, shape (M,)
        Their numbers in the set, ascending.
    X : ndarray of float32, shape (M, D)
    codes : ndarray of int64, shape (M,)
        Column of the head for each label; -1 where there is none, or none that the head knows.
    digests : ndarray of uint8, shape (M, 32)
    notes : tuple of str
        What a person should know of what was left out.
    """

    name: str
    rows: Rows
    X: Vectors
    codes: NDArray[np.int64]
    digests: NDArray[np.uint8]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)


def read_target(embedding_set: LabelledSet, head: Head, *, seed: int = 0) -> Target:
    """Return the rows of a set that a head may be adapted to.

    Rows of the splits ``test`` and ``val`` are left out, unless there are no others, and so are
    those that the head was trained on.  Of more than 20,000 rows so many are drawn.

    Raises
    ------
    SpaceError
        If the set lies in another space than the head.
    InputError
        If it has labels and the head knows none of them, or no row has a finite vector.
    """
    name, made = named(embedding_set), made_of(embedding_set)
    if not len(embedding_set.y):
        message = f"{name}: holds no items; embed some"
        raise InputError(message)
    note = check_space(head, embedding_set.fingerprint, made.space, where=name, made=made)
    notes = [note] if note else []
    is_held_back = _is_held_back(embedding_set)
    codes = np.where(is_held_back, -1, _codes(embedding_set, head, name, notes))
    rows = _open_rows(is_held_back, notes)
    digests = _digests(embedding_set)
    trained = head.arrays.get("trained_digests", np.empty((0, 32), np.uint8))
    is_known = digests.any(axis=1) & np.isin(digest_keys(digests), digest_keys(trained))
    if is_known[rows].any():
        notes.append(f"{is_known[rows].sum():,} rows that the head was trained on are left out")
        rows = rows[~is_known[rows]]
    if len(rows) > MOST_ROWS:
        notes.append(f"of {len(rows):,} rows of the target {MOST_ROWS:,} are used, drawn by chance")
        rows = np.sort(np.random.default_rng(seed).permutation(rows)[:MOST_ROWS])
    X = np.ascontiguousarray(embedding_set.X[rows], dtype=np.float32)
    is_finite = np.zeros(len(X), dtype=bool)
    for part in row_blocks(X):
        is_finite[part] = np.isfinite(X[part]).all(axis=1)
    if len(rows) and not is_finite.any():
        message = f"{name}: all {len(rows):,} vectors are NaN or infinite; embed it again"
        raise InputError(message)
    if not is_finite.all():
        notes.append(f"{(~is_finite).sum():,} rows that are NaN or infinite are left out")
        rows, X = rows[is_finite], X[is_finite]
    return Target(
        name=name, rows=rows, X=X, codes=codes[rows], digests=digests[rows], notes=tuple(notes)
    )


def _codes(
    embedding_set: LabelledSet, head: Head, name: str, notes: list[str]
) -> NDArray[np.int64]:
    """Return the head's column for the label of each row of the set; -1 where there is none."""
    labels = embedding_set.y.tolist()
    position = {label: code for code, label in enumerate(head.classes)}
    known = {label for label in labels if label is not None}
    strange = sorted(known - position.keys())
    shown = ", ".join(strange[:SHOWN_NAMES]) + (", ..." if len(strange) > SHOWN_NAMES else "")
    if known and len(strange) == len(known):
        ours = ", ".join(head.classes[:SHOWN_NAMES])
        message = (
            f"{name}: its labels are {shown}, and none is a class of the head ({ours});"
            " a head is adapted to items of the same classes; train one on the set"
        )
        raise InputError(message)
    if strange:
        notes.append(f"the target holds labels that the head does not know: {shown}")
    return np.array([position.get(label, -1) for label in labels], dtype=np.int64)


def _is_held_back(embedding_set: LabelledSet) -> NDArray[np.bool_]:
    """Return which rows are in splits whose labels are not looked at."""
    held = np.array(embedding_set.items.column("split").to_pylist(), dtype=object)
    return np.asarray(np.isin(held.astype(str), HELD_BACK))


def _open_rows(is_held_back: NDArray[np.bool_], notes: list[str]) -> Rows:
    if len(is_held_back) and is_held_back.all():
        notes.append(
            "all rows of the target are in splits val or test; they are used, without labels"
        )
        return np.arange(len(is_held_back))
    return np.flatnonzero(~is_held_back)


def _digests(embedding_set: LabelledSet) -> NDArray[np.uint8]:
    hexes = embedding_set.items.column("digest").to_pylist()
    joined = b"".join(bytes.fromhex(each or "").ljust(32, b"\0")[:32] for each in hexes)
    return np.frombuffer(joined, dtype=np.uint8).reshape(-1, 32)
