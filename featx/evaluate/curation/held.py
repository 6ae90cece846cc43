"""The rows of a set that an inspection looks at."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from featx.data.segment import RowView
from featx.errors import InputError
from featx.evaluate.labelled import LabelledSet, named
from featx.heads.moments import BLOCK_ROWS
from featx.types import Rows, Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Rows with a finite vector, and facts of all rows.

    Attributes
    ----------
    n : int
        Rows of the set.
    rows : ndarray of int64, shape (M,)
        Numbers of those with a finite vector, ascending.
    X : ndarray of float32 or RowView, shape (M, D)
        Their vectors; those of the set, uncopied, where all are finite.
    unfit : ndarray of int64, shape (n - M,)
        The other rows.
    labels, splits : ndarray of object, shape (n,)
        Of all rows: str or None.
    digests : ndarray of object, shape (n,)
        Of the contents, in hex; empty where there is none.
    """

    n: int
    rows: Rows
    X: Vectors | RowView
    unfit: Rows
    labels: NDArray[np.object_]
    splits: NDArray[np.object_]
    digests: NDArray[np.object_]

    @classmethod
    def of(cls, embedding_set: LabelledSet) -> Self:
        """Read a set.

        Raises
        ------
        InputError
            If it is empty, or none of its vectors is finite.
        """
        X, where = embedding_set.X, named(embedding_set)
        if not len(X):
            raise InputError(f"{where}: holds no item; at least one is needed")
        parts = (slice(at, at + BLOCK_ROWS) for at in range(0, len(X), BLOCK_ROWS))
        is_finite = np.concatenate([np.isfinite(X[part]).all(axis=1) for part in parts])
        if not is_finite.any():
            message = f"{where}: all {len(X):,} vectors are NaN or infinite"
            raise InputError(f"{message}; delete it and embed it again")
        rows = np.flatnonzero(is_finite)
        column = embedding_set.items.column
        return cls(
            n=len(X),
            rows=rows,
            X=X if is_finite.all() else np.ascontiguousarray(X[rows], dtype=np.float32),
            unfit=np.flatnonzero(~is_finite),
            labels=embedding_set.y,
            splits=np.array(column("split").to_pylist(), dtype=object),
            digests=np.array([each or "" for each in column("digest").to_pylist()], dtype=object),
        )
