"""Approximate search: candidates by codes, compared exactly with the rows themselves."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from featx.index.codes import Codes, Plan, lists_for, quantisers, refine
from featx.index.faiss import FaissFlat, one_thread
from featx.index.flat import refuse_empty
from featx.index.metric import MetricName, divisors
from featx.index.neighbours import Neighbours
from featx.index.settle import Asked, ask, nothing, settle
from featx.index.stack import Stack
from featx.types import Rows, Vectors

CANDIDATES = 200
"""Rows compared exactly where nothing was tuned; recall .995 of 10 among 100,000 real texts."""

TUNED_K = 10
"""Neighbours that settings are tuned for; more take more candidates in proportion."""

FEW_ROWS = 4096
"""Up to this many rows are all compared: codes would save nothing."""

MOST_CANDIDATES = 1 << 14
"""Candidates fetched where rows are left out; beyond that all that are left are compared."""

_CELLS = 1 << 20  # candidates held at once: 12 MiB and as many of the same kind
SPARE = 4  # neighbours of few rows lie further off, where codes tell less: .99 for .91, no slower
_GROWTH = 4  # codes trained on a quarter of the rows are trained again


class Approximate:
    """Search by codes; an `Index`, and what its kinds share.

    Codes of all rows are scanned for `candidates`, these are compared in float32 with the rows
    where they lie, a memory map too, and the best settled as exact search does.

    Parameters
    ----------
    stack : Stack
        Kept by reference.
    metric : "cosine", "dot" or "l2"
    codes : Codes
        Of the rows of `stack`.
    settings : mapping of str to int
        ``candidates`` for the 10 nearest, ``trained``: rows when the codes were trained, and the
        effort of the plan.
    """

    has_file: ClassVar[bool] = True
    plan: ClassVar[Plan]

    def __init__(
        self, stack: Stack, metric: MetricName, codes: Codes, settings: Mapping[str, int]
    ) -> None:
        self.stack = stack
        self.metric: MetricName = metric
        self.codes = codes
        self.settings = dict(settings)
        self._flat = FaissFlat(stack, metric)

    @classmethod
    def build(cls, stack: Stack, metric: MetricName = "cosine", *, seed: int = 0) -> Self:
        """Train codes and code every row; see `Index.build`."""
        stack.expect(random=False)
        refuse_empty(stack)
        codes = Codes.trained(cls.plan, stack, metric, seed=seed).extended(stack, metric)
        settings = {"candidates": CANDIDATES, "trained": len(stack)}
        if cls.plan.effort:
            settings[cls.plan.effort] = min(16 * cls.plan.least_effort, codes.most_effort)
        return cls(stack, metric, codes, settings)

    @classmethod
    def read(
        cls, path: Path, stack: Stack, metric: MetricName, settings: Mapping[str, int]
    ) -> Self:
        """Open what `write` wrote; see `Index.read`."""
        return cls(stack, metric, Codes.read(cls.plan, path, stack, metric), settings)

    def write(self, path: Path) -> None:
        """Write the codes; see `Index.write`."""
        self.codes.write(path)

    def extended(self, stack: Stack) -> Self:
        """Return this index over a longer stack, with codes trained anew if it grew fourfold."""
        if len(stack) >= _GROWTH * self.settings["trained"]:
            new = type(self).build(stack, self.metric)
            new.settings["candidates"] = max(
                new.settings["candidates"], self.settings["candidates"]
            )
            return new
        codes = self.codes.extended(stack, self.metric)
        return type(self)(stack, self.metric, codes, self.settings)

    def search(self, Q: Vectors, k: int, *, keep: NDArray[np.bool_] | None = None) -> Neighbours:
        """Return the `k` nearest rows of each query, missing some; see `Index.search`."""
        asked = ask(self.stack, self.metric, Q, k, keep)
        if (empty := nothing(asked)) is not None:
            return empty
        wanted = ceil(self.settings["candidates"] * max(TUNED_K, asked.k) / TUNED_K)
        wanted = max(wanted, asked.k)
        if asked.allowed <= FEW_ROWS or 4 * wanted >= asked.allowed:
            return self._flat.search(Q, k, keep=keep)
        fetched = wanted
        if asked.keep is not None:
            fetched = ceil(SPARE * wanted * len(self.stack) / asked.allowed)
        step = max(1, _CELLS // fetched)
        if len(asked) <= step:
            with one_thread(when=len(asked) == 1):
                return self._settled(asked, wanted, fetched)
        starts = range(0, len(asked), step)
        return _joined(
            [self._settled(asked.only(slice(at, at + step)), wanted, fetched) for at in starts]
        )

    @property
    def size_bytes(self) -> int:
        """Memory held apart from the rows: the codes."""
        return self.codes.size_bytes + self._flat.size_bytes

    def _settled(self, asked: Asked, wanted: int, fetched: int) -> Neighbours:
        """Answer some queries; those that found too few candidates, from all rows."""
        rows = self._candidates(asked, wanted, fetched)
        if asked.keep is None:
            short = rows[:, asked.k - 1] < 0  # faiss puts what it lacks last
        else:
            short = np.count_nonzero(rows >= 0, axis=1) < wanted
        if not short.any():
            return settle(asked, self._near(asked, rows), rows)
        best = self._flat.search(asked.Q, asked.k, keep=asked.keep) if short.all() else None
        if best is not None:
            return best
        best = Neighbours(
            np.empty((len(asked), asked.k), np.float32), np.empty((len(asked), asked.k), np.int64)
        )
        some = asked.only(~short)
        near = settle(some, self._near(some, rows[~short]), rows[~short])
        far = self._flat.search(asked.Q[short], asked.k, keep=asked.keep)
        best.similarities[~short], best.rows[~short] = near.similarities, near.rows
        best.similarities[short], best.rows[short] = far.similarities, far.rows
        return best

    def _candidates(self, asked: Asked, wanted: int, fetched: int) -> Rows:
        """Return rows that look near and may be answered, -1 elsewhere; twice as many if few."""
        fetched = (
            min(fetched, MOST_CANDIDATES, len(self.stack)) if asked.keep is not None else fetched
        )
        effort = self.settings.get(self.plan.effort, 0)
        rows = self.codes.candidates(asked.ready, fetched, ceil(effort * fetched / wanted))
        if asked.keep is None:
            return rows
        rows[~asked.keep[rows]] = -1  # where there is none already, the last row is asked about
        short = np.count_nonzero(rows >= 0, axis=1) < wanted
        if not short.any() or fetched >= MOST_CANDIDATES:
            return rows
        more = self._candidates(asked.only(short), wanted, 2 * fetched)
        wider = np.full((len(rows), more.shape[1]), -1, np.int64)
        wider[:, : rows.shape[1]] = rows
        wider[short] = more
        return wider

    def _near(self, asked: Asked, rows: Rows) -> Vectors:
        """Return the float32 similarities that `settle` takes, -inf where the row is -1."""
        self.stack.expect(random=True)
        if len(self.stack.parts) == 1:
            near = refine(asked.ready, self.stack.parts[0], rows, self.metric)
        else:
            near = np.full(rows.shape, -np.inf, np.float32)
            for start, part in zip(self.stack.starts, self.stack.parts, strict=True):
                local = rows - start
                local[(local < 0) | (local >= len(part))] = -1
                np.maximum(near, refine(asked.ready, part, local, self.metric), out=near)
        if self.metric == "cosine" and not self.stack.is_unit:
            near /= divisors(self.stack.lengths(rows.ravel()).reshape(rows.shape))
        return near


class PQ(Approximate):
    """4-bit product quantisation, scanned fast (André, Kermarrec and Le Scouarnec 2017)."""

    plan = Plan(factory=lambda _, dim: quantisers(dim), made="IndexPQFastScan")


class IVF(Approximate):
    """The same codes in inverted lists, of which the nearest are scanned."""

    plan = Plan(
        factory=lambda n, dim: f"IVF{lists_for(n)},{quantisers(dim)}",
        made="IndexIVFPQFastScan",
        effort="nprobe",
    )


class HNSW(Approximate):
    """A navigable graph (Malkov and Yashunin 2020) over rows of 8 bits a dimension."""

    plan = Plan(
        factory=lambda _, dim: "HNSW32,SQ8",
        made="IndexHNSWSQ",
        effort="efSearch",
        least_effort=16,
        generous=40,
    )


def _joined(found: list[Neighbours]) -> Neighbours:
    return Neighbours(
        np.concatenate([each.similarities for each in found]),
        np.concatenate([each.rows for each in found]),
    )
