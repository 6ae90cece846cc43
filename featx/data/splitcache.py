"""Vectors of several backbones side by side, each part in the cache of its own fingerprint."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from featx.data.vectorcache import VectorCache
from featx.types import Vectors


class SplitCache:
    """Several caches that are asked and told as one, by the same digests.

    Parameters
    ----------
    parts : sequence of VectorCache
    columns : sequence of slice
        Where the vector of each lies.
    """

    def __init__(self, parts: Sequence[VectorCache], columns: Sequence[slice]) -> None:
        self._parts = parts
        self._columns = columns

    @property
    def problem(self) -> str:
        """As `VectorCache.problem`, of the first that has one."""
        return next(filter(None, (part.problem for part in self._parts)), "")

    def get_many(self, digests: Sequence[bytes]) -> dict[bytes, tuple[Vectors, dict[str, Any]]]:
        """Return the items that all parts hold, and the facts that the first has of them."""
        found = [part.get_many(digests) for part in self._parts]
        common = [each for each in found[0] if all(each in other for other in found[1:])]
        return {
            each: (np.concatenate([part[each][0] for part in found]), found[0][each][1])
            for each in common
        }

    def put(
        self, digests: Sequence[bytes], X: Vectors, facts: Sequence[dict[str, Any]] = ()
    ) -> None:
        """Remember vectors, shape (N, D in all), and JSON facts of each item."""
        for part, columns in zip(self._parts, self._columns, strict=True):
            part.put(digests, X[:, columns], facts)

    def close(self) -> None:
        """Close the databases."""
        for part in self._parts:
            part.close()
