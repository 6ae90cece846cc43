"""Vectors of a set that are not finite: embedding makes none, but a damaged file may hold some."""

import numpy as np

from featx.data.setmanifest import remade
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.types import Vectors

BLOCK_NUMBERS = 1 << 22
"""Numbers that are looked at together: 16 MiB."""


def require_finite(embedding_set: EmbeddingSet, X: Vectors | None = None) -> None:
    """Raise if a set holds NaN or infinity.

    Parameters
    ----------
    embedding_set : EmbeddingSet
    X : ndarray, optional
        Rows of it that are at hand; the others are read only if one of these is not finite.

    Raises
    ------
    InputError
        Naming the set, the first such row with its id, and how many there are.
    """
    if X is not None and np.isfinite(X).all():
        return
    step = max(1, BLOCK_NUMBERS // embedding_set.dim)
    parts = [
        start + np.flatnonzero(~np.isfinite(embedding_set.X[start : start + step]).all(axis=1))
        for start in range(0, len(embedding_set), step)
    ]
    bad = np.concatenate([np.empty(0, np.int64), *parts])
    if not len(bad):
        return
    item_id = embedding_set.items.column("id")[int(bad[0])].as_py()
    more = f", the first of {len(bad):,} such" if len(bad) > 1 else ""
    found = f"row {bad[0]} is NaN or infinite: item {item_id!r}{more}"
    mend = remade(embedding_set.path, embedding_set.manifest)
    message = f"{embedding_set.path}: {found}; {mend}"
    raise InputError(message)
