"""The labelled rows of an embedding set."""

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.data.space import Made
from featx.data.spool import take_rows
from featx.errors import InputError
from featx.heads.conformal import item_jitter, row_jitter
from featx.heads.moments import row_blocks
from featx.types import Rows, Vectors


class LabelledSet(Protocol):
    """What training and scoring read of an `EmbeddingSet`."""

    @property
    def X(self) -> Vectors | RowView:  # noqa: N802 - the field's name
        """Embeddings (N, D)."""
        ...

    @property
    def y(self) -> NDArray[np.object_]:
        """Labels (N,), str or None."""
        ...

    @property
    def items(self) -> pa.Table:
        """Facts of the rows; ``split``, ``digest`` and, where there is one, ``id`` are read."""
        ...

    @property
    def fingerprint(self) -> str:
        """Names how the vectors were made."""
        ...

    @property
    def space(self) -> str:
        """Names what the vectors may be compared with."""
        ...

    @property
    def dim(self) -> int:
        """Width of a vector."""
        ...

    @property
    def model(self) -> str:
        """Name of the backbone."""
        ...

    @property
    def modality(self) -> str:
        """Kind of input."""
        ...


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """Rows of a set that have a label and a finite vector.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Their numbers in the set, ascending.
    X : ndarray of float32, shape (n, D)
    labels : ndarray of object, shape (n,)
        All str.
    digests : ndarray of uint8, shape (n, 32)
        Zeros where an item has none.
    unfit : ndarray of int64
        Numbers of labelled rows that are not among these, since their vectors are not finite.
    """

    rows: Rows
    X: Vectors
    labels: NDArray[np.object_]
    digests: NDArray[np.uint8]
    unfit: Rows = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, kept: Rows | NDArray[np.bool_]) -> "LabelledRows":
        """Return some of the rows."""
        return replace(
            self,
            rows=self.rows[kept],
            X=take_rows(self.X, kept),
            labels=self.labels[kept],
            digests=self.digests[kept],
        )


def labelled_rows(embedding_set: LabelledSet, *, splits: tuple[str, ...] = ()) -> LabelledRows:
    """Return the labelled rows of the first of `splits` that has any, else of the whole set.

    Raises
    ------
    InputError
        If no row has a label, or none of those has a finite vector.
    """
    labels = embedding_set.y
    is_labelled = np.array([label is not None for label in labels], dtype=bool)
    if not is_labelled.any():
        message = "embedding set: no labels; run: featx label SET labels.csv"
        raise InputError(message)
    held = np.array(embedding_set.items.column("split").to_pylist(), dtype=object)
    chosen = is_labelled
    for split in splits:
        if (is_labelled & (held == split)).any():
            chosen = is_labelled & (held == split)
            break
    rows = np.flatnonzero(chosen)
    X = _vectors(embedding_set.X, rows)
    hexes = embedding_set.items.column("digest").to_pylist()
    digests = b"".join(bytes.fromhex(hexes[row] or "").ljust(32, b"\0")[:32] for row in rows)
    table = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 32)
    everything = LabelledRows(rows, X, labels[rows], table)
    is_finite = np.concatenate([np.isfinite(X[part]).all(axis=1) for part in row_blocks(X)])
    if is_finite.all():
        return everything
    if not is_finite.any():
        found = f"all {len(rows):,} labelled vectors are NaN or infinite"
        message = f"{named(embedding_set)}: {found}; delete it and embed it again"
        raise InputError(message)
    return replace(everything.take(is_finite), unfit=rows[~is_finite])


def left_out(
    embedding_set: LabelledSet, unfit: Rows, *, noun: str = "labelled vector"
) -> list[str]:
    """Return a note on the rows that are left out since their vectors are not finite."""
    if not len(unfit):
        return []
    n, ids = len(unfit), item_ids(embedding_set, unfit[:1])
    which = repr(ids[0]) if ids else f"row {unfit[0]}"
    vectors = f"{noun} is" if n == 1 else f"{noun}s are"
    return [
        f"{n:,} {vectors} NaN or infinite and left out, first that of {which};"
        f" to mend it delete {named(embedding_set)} and embed it again"
    ]


def named(embedding_set: LabelledSet) -> str:
    """Return the path of a set, for messages; what it is where it lies in memory."""
    return str(getattr(embedding_set, "where", "embedding set"))


def made_of(embedding_set: LabelledSet) -> Made:
    """Return what made the vectors of a set, for messages."""
    return Made(
        model=embedding_set.model,
        space=embedding_set.space,
        dim=embedding_set.dim,
        prompt=str(getattr(embedding_set, "prompt", "")),
    )


def item_ids(embedding_set: LabelledSet, rows: Rows) -> list[str] | None:
    """Return the id of each row, or None where the set has none."""
    if "id" not in embedding_set.items.column_names:
        return None
    return [str(each) for each in embedding_set.items.column("id").take(rows).to_pylist()]


def row_names(embedding_set: LabelledSet) -> list[str]:
    """Return the id of every row; its number where the set has no ids."""
    rows = np.arange(len(embedding_set.y))
    return item_ids(embedding_set, rows) or list(map(str, rows.tolist()))


def set_jitter(embedding_set: LabelledSet, rows: LabelledRows) -> NDArray[np.float64]:
    """Return the chance in sets of kind ``aps`` that these items get when they are predicted."""
    ids = item_ids(embedding_set, rows.rows)
    return row_jitter(rows.X) if ids is None else item_jitter(ids)


def _vectors(X: Vectors | RowView, rows: Rows) -> Vectors:
    """Return some rows; the memory map itself, uncopied, if they are all, else see `take_rows`."""
    if len(rows) == len(X) and isinstance(X, np.ndarray) and X.dtype == np.float32:
        return X
    return take_rows(X, rows)


def digest_keys(digests: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return rows of 32 bytes as single values that can be compared and sorted."""
    return np.ascontiguousarray(digests).view("V32").ravel()
