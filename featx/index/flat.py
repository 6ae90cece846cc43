"""Exact search in plain NumPy: the oracle, and the index where faiss is absent."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from featx.errors import InputError
from featx.index.metric import MetricName, divisors
from featx.index.neighbours import Neighbours
from featx.index.settle import Asked, ask, search_exactly
from featx.index.stack import Stack
from featx.types import Rows, Vectors

COPIED_NUMBERS = 1 << 23
"""Up to this size (32 MiB) rows that must be scaled are kept scaled; more are scaled in passing."""

GATHERED_ROWS = 1 << 14
"""If at most so many rows may be answered, they are copied and searched by themselves."""

FEW_QUERIES = 20
"""Below this many queries a copy of rows takes longer than all products, corrected one by one."""

OVERFETCHED = 256
"""Rows of a block that may be left out by finding that many more, which takes no longer."""

_CELLS = 1 << 24  # similarities held at once: 64 MiB


def largest(near: Vectors, rows: Rows, n: int) -> tuple[Vectors, Rows]:
    """Return the `n` columns of the largest `near`, in any order; all where there are no more."""
    if near.shape[1] <= n:
        return near, rows
    best = np.argpartition(near, near.shape[1] - n, axis=1)[:, -n:]
    return np.take_along_axis(near, best, axis=1), np.take_along_axis(rows, best, axis=1)


def refuse_empty(stack: Stack) -> None:
    """Refuse a stack without rows or dimensions, and one with a row that is not finite.

    Raises
    ------
    InputError
        Naming the first such row; only where lengths of rows are unknown yet.
    """
    if not len(stack) or not stack.dim:
        raise InputError(f"gallery: shape {stack.shape}; needs at least one row and one dimension")
    _ = stack.norms


class NumpyFlat:
    """Exact search by matrix products; an `Index` without training and without a file.

    Parameters
    ----------
    stack : Stack
        Kept by reference.
    metric : "cosine", "dot" or "l2"
    """

    has_file: ClassVar[bool] = False

    def __init__(self, stack: Stack, metric: MetricName = "cosine") -> None:
        self.stack = stack
        self.metric: MetricName = metric
        self.settings: dict[str, int] = {}

    @classmethod
    def build(cls, stack: Stack, metric: MetricName = "cosine", *, seed: int = 0) -> Self:
        """Check the rows; `seed` changes nothing."""
        refuse_empty(stack)
        return cls(stack, metric)

    @classmethod
    def read(
        cls,
        path: Path,
        stack: Stack,
        metric: MetricName,
        settings: Mapping[str, int],
    ) -> Self:
        """Open without a file and without a look at the rows."""
        return cls(stack, metric)

    def write(self, path: Path) -> None:
        """Write nothing: there is nothing but the rows."""

    def extended(self, stack: Stack) -> Self:
        """Return an index over `stack`."""
        return type(self)(stack, self.metric)

    def search(self, Q: Vectors, k: int, *, keep: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the `k` nearest rows of each query; see `Index.search`."""
        return search_exactly(ask(self.stack, self.metric, Q, k, keep), self._shortlist)

    @property
    def size_bytes(self) -> int:
        """Memory held apart from the rows: their scaled copy, where there is one."""
        held = self.__dict__.get("_scanned", self.stack)
        return 0 if held is self.stack else 4 * held.shape[0] * held.shape[1]

    def scan(self, Q: Vectors, X: Vectors, n: int) -> tuple[Vectors, Rows]:
        """Return the `n` rows of `X` that are nearest by float32, in any order, n <= N.

        Parameters
        ----------
        Q : ndarray of float32, shape (M, D)
        X : ndarray of float32, shape (N, D)
        n : int

        Returns
        -------
        near : ndarray of float32, shape (M, n)
            Inner products, or minus squared distances for l2.
        rows : ndarray of int64, shape (M, n)
        """
        near = np.empty((len(Q), n), np.float32)
        rows = np.empty((len(Q), n), np.int64)
        step = max(1, _CELLS // len(X))
        for start in range(0, len(Q), step):
            part = slice(start, start + step)
            all_near = self._near(Q[part], X)
            rows[part] = np.argpartition(all_near, len(X) - n, axis=1)[:, -n:]
            near[part] = np.take_along_axis(all_near, rows[part], axis=1)
        return near, rows

    def _near(self, Q: Vectors, X: Vectors) -> Vectors:
        products: Vectors = Q @ X.T
        if self.metric == "l2":
            products *= 2
            products -= np.einsum("nd,nd->n", X, X)
            products -= np.einsum("md,md->m", Q, Q)[:, None]
        return products

    @cached_property
    def _scanned(self) -> Stack:
        stack = self.stack
        if self.metric != "cosine" or stack.is_unit or len(stack) * stack.dim > COPIED_NUMBERS:
            return stack
        return Stack([np.concatenate([block for _, block in stack.unit_blocks()])], "unit")

    def _shortlist(self, asked: Asked, n: int) -> tuple[Vectors, Rows]:
        if asked.keep is not None and asked.allowed <= GATHERED_ROWS:
            kept = np.flatnonzero(asked.keep)
            stack = self._scanned
            X = stack.unit_take(kept) if self.metric == "cosine" else stack.take(kept)
            near, rows = self.scan(asked.ready, X, n)
            return near, kept[rows]
        self._scanned.expect(random=False)
        found = list(self._found(asked, n))
        near = np.hstack([near for near, _ in found])
        return largest(near, np.hstack([rows for _, rows in found]), n)

    def _found(self, asked: Asked, n: int) -> Iterator[tuple[Vectors, Rows]]:
        """Yield the nearest rows of each part, or of each block where rows must be handled."""
        stack, is_few = self._scanned, len(asked) < FEW_QUERIES
        is_scaled = self.metric != "cosine" or stack.is_unit
        if is_scaled or is_few:
            blocks = stack.blocks(len(stack) if is_scaled and asked.keep is None else 0)
        else:
            blocks = stack.unit_blocks()
        for first, block in blocks:
            if is_few and not (is_scaled and _dropped(asked, first, block) <= OVERFETCHED):
                yield self._weighed(asked, n, first, block)
            else:
                yield self._scan_kept(asked, n, first, block)

    def _weighed(self, asked: Asked, n: int, first: int, block: Vectors) -> tuple[Vectors, Rows]:
        """Return up to `n` nearest rows of a block by all products with it, which is not copied."""
        rows = np.arange(first, first + len(block))
        near = self._near(asked.ready, block)
        if self.metric == "cosine" and not self._scanned.is_unit:
            near /= divisors(self._scanned.lengths(rows)).astype(np.float32)
        if asked.keep is not None:
            near[:, ~asked.keep[rows]] = -np.inf
        return largest(near, np.broadcast_to(rows, near.shape), n)

    def _scan_kept(self, asked: Asked, n: int, first: int, block: Vectors) -> tuple[Vectors, Rows]:
        """Return up to `n` nearest rows of a block that may be answered."""
        if asked.keep is None:
            near, rows = self.scan(asked.ready, block, min(n, len(block)))
            return near, rows + first
        keep = asked.keep[first : first + len(block)]
        if (dropped := _dropped(asked, first, block)) <= OVERFETCHED:
            near, rows = self.scan(asked.ready, block, min(n + dropped, len(block)))
            return np.where(keep[rows], near, np.float32(-np.inf)), rows + first
        kept = np.flatnonzero(keep)
        if not len(kept):
            return np.empty((len(asked), 0), np.float32), np.empty((len(asked), 0), np.int64)
        near, rows = self.scan(asked.ready, block[kept], min(n, len(kept)))
        return near, kept[rows] + first


def _dropped(asked: Asked, first: int, block: Vectors) -> int:
    """Return how many rows of a block may not be answered."""
    if asked.keep is None:
        return 0
    return len(block) - int(np.count_nonzero(asked.keep[first : first + len(block)]))
