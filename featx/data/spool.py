"""Rows taken out of a matrix: in memory where they are few, else in a file that is mapped."""

import tempfile
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
from numpy.typing import NDArray

from featx.data.files import explained
from featx.data.segment import RowView
from featx.data.told import mapped
from featx.types import Rows, Vectors

MOST_BYTES = 1 << 30
"""Rows that are copied into memory; more go to a file without a name, where ``TMPDIR`` says."""

_BLOCK_BYTES = 8 << 20


def take_rows(X: Vectors | RowView, kept: Rows | NDArray[np.bool_]) -> Vectors:
    """Return some rows of a matrix, in their order; more than a gibibyte of them read-only.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D), or RowView
    kept : ndarray of int64 or bool
        Row numbers, or which rows.

    Raises
    ------
    StoreError
        If there is no room for the file.

    Examples
    --------
    >>> take_rows(np.eye(3, dtype=np.float32), np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    rows = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
    width = X.shape[1]
    if 4 * len(rows) * width <= MOST_BYTES:
        return np.ascontiguousarray(X[rows], dtype=np.float32)
    step = max(1, _BLOCK_BYTES // (4 * width))
    with explained(Path(tempfile.gettempdir())), TemporaryFile() as file:
        for start in range(0, len(rows), step):
            block = np.ascontiguousarray(X[rows[start : start + step]], dtype=np.float32)
            file.write(block.data)
        file.flush()
        return np.frombuffer(mapped(file), dtype=np.float32).reshape(len(rows), width)
