"""Exact search in plain NumPy: the oracle, and the index where faiss is absent."""

import numpy as np

from featx.index.neighbours import Neighbours, checked_gallery, search_exactly
from featx.types import Rows, Vectors

_CELLS = 1 << 24  # similarities held at once: 64 MiB


class NumpyFlat:
    """Exact inner-product search by matrix products.

    Parameters
    ----------
    X : ndarray of float32, shape (N, D)
        The gallery; kept by reference.

    Raises
    ------
    InputError
        If there is no row, or one is not finite.
    """

    def __init__(self, X: Vectors) -> None:
        self.X, self._largest_norm = checked_gallery(X)

    def search(self, Q: Vectors, k: int) -> Neighbours:
        """Return the `k` nearest rows of each query; see `search_exactly`."""
        return search_exactly(self.X, self._largest_norm, Q, k, self._shortlist)

    def _shortlist(self, Q: Vectors, n: int) -> tuple[Vectors, Rows]:
        similarities = np.empty((len(Q), n), np.float32)
        rows = np.empty((len(Q), n), np.int64)
        step = max(1, _CELLS // len(self.X))
        for start in range(0, len(Q), step):
            part = slice(start, start + step)
            near = Q[part] @ self.X.T
            rows[part] = np.argpartition(near, len(self.X) - n, axis=1)[:, -n:]
            similarities[part] = np.take_along_axis(near, rows[part], axis=1)
        return similarities, rows
