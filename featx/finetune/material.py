"""The labelled items that a backbone is tuned on, with their frozen embeddings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.evaluate.labelled import LabelledRows, digest_keys, labelled_rows
from featx.train.twins import find_twins
from featx.types import Content, Rows, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Distinct labelled items.

    Attributes
    ----------
    names : tuple of str
        Of the C classes.
    y : ndarray of int64, shape (N,)
        Class codes.
    X : ndarray of float32, shape (N, D)
        Embeddings of the frozen backbone.
    digests : ndarray of uint8, shape (N, 32)
    ids : list of str
    contents : list of Content
    splits : ndarray of object, shape (N,)
        ``"train"``, ``"val"``, ``"test"`` or None.
    groups : ndarray of int64, shape (N,)
        Rows of one group are nearly equal.
    tokens : int
        In all items, where they are texts; some may be cut off.
    rows, unlabelled : int
        Of the source; those without a label are not among the N.
    notes : tuple of str
        What a person should know.
    """

    names: tuple[str, ...]
    y: NDArray[np.int64]
    X: Vectors
    digests: NDArray[np.uint8]
    ids: list[str]
    contents: list[Content]
    splits: NDArray[np.object_]
    groups: Rows
    tokens: int
    rows: int
    unlabelled: int
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.y)

    def counts(self) -> dict[str, int]:
        """Return class → items."""
        counts = np.bincount(self.y, minlength=len(self.names))
        return dict(zip(self.names, counts.tolist(), strict=True))


def read_material(embedded: EmbeddingSet, contents: Mapping[str, Content]) -> Material:
    """Return the labelled rows of a set, each content once.

    Of equal contents the row of split ``test`` stays, then that of ``val``, then the first.

    Parameters
    ----------
    embedded : EmbeddingSet
        Of the frozen backbone.
    contents : mapping of str to Content
        Of the items that may have been embedded, by id.

    Raises
    ------
    InputError
        If no row has a label and a finite vector.
    """
    if all(label is None for label in embedded.y):
        message = (
            f"source: none of its {len(embedded):,} items has a label; name the column with"
            " --label-col, or put the items into a folder for each class"
        )
        raise InputError(message)
    found = labelled_rows(embedded)
    splits = _splits(embedded, found)
    kept = _distinct(found, splits)
    repeated = len(found) - len(kept)
    found, splits = found.take(kept), splits[kept]
    names = sorted(set(found.labels[may_train(splits)].tolist()))
    is_known = np.isin(found.labels, np.array(names, dtype=object))
    strange = sorted(set(found.labels[~is_known].tolist()))
    found, splits = found.take(is_known), splits[is_known]
    position = {name: code for code, name in enumerate(names)}
    ids = [embedded.ids[row] for row in found.rows]
    return Material(
        names=tuple(names),
        y=np.array([position[label] for label in found.labels], dtype=np.int64),
        X=found.X,
        digests=found.digests,
        ids=ids,
        contents=[contents[item_id] for item_id in ids],
        splits=splits,
        groups=find_twins(found.X).groups if ids else np.empty(0, np.int64),
        tokens=_tokens(embedded, found),
        rows=len(embedded),
        unlabelled=sum(label is None for label in embedded.y),
        notes=tuple(_notes(repeated, strange, splits)),
    )


def may_train(splits: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return which rows may train (N,): those of split ``train``, else those of no split."""
    is_train = splits == "train"
    return np.asarray(is_train if is_train.any() else np.array([each is None for each in splits]))


def _splits(embedded: EmbeddingSet, found: LabelledRows) -> NDArray[np.object_]:
    return np.array(embedded.items.column("split").to_pylist(), dtype=object)[found.rows]


def _tokens(embedded: EmbeddingSet, found: LabelledRows) -> int:
    counts = embedded.items.column("n_tokens").take(found.rows).to_pylist()
    return sum(count or 0 for count in counts)


def _distinct(found: LabelledRows, splits: NDArray[np.object_]) -> Rows:
    """Return positions, ascending, of one row for each content."""
    rank = np.where(splits == "test", 0, np.where(splits == "val", 1, 2))
    order = np.argsort(rank, kind="stable")
    _, first = np.unique(digest_keys(found.digests)[order], return_index=True)
    return np.sort(order[first])


def _notes(repeated: int, strange: list[str], splits: NDArray[np.object_]) -> list[str]:
    notes = []
    without = sum(split is None for split in splits)
    if without and (splits == "train").any():
        items = "item of no split is" if without == 1 else "items of no split are"
        notes.append(f"{without:,} labelled {items} left out beside a split train")
    if repeated:
        rows = "row holds" if repeated == 1 else "rows hold"
        notes.append(f"{repeated:,} {rows} the contents of another and count once")
    if strange:
        shown = ", ".join(strange[:10])
        notes.append(f"left out, since no training row is of such a class: {shown}")
    return notes
