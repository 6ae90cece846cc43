"""Rewriting: the parts of a gallery with its changes in them, and without what was removed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from featx.gallery.base import Base, Mask
from featx.gallery.draft import Draft
from featx.gallery.fitting import Wanted, fit
from featx.gallery.items import BATCH_ROWS, Batches, blanked, names_of, only, to_batch
from featx.gallery.recent import Recent
from featx.gallery.snapshot import Snapshot
from featx.index.faiss import one_thread
from featx.index.neighbours import Index
from featx.index.opening import index_class
from featx.index.stack import Stack
from featx.types import Rows, Vectors

COPIED_ROWS = 1 << 14
"""Rows that are chosen from a memory map at once."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A base that is written but not the gallery's yet.

    Attributes
    ----------
    base : Base
    taken : int
        Recent rows of the snapshot that are in it.
    kept : ndarray of int64, shape (N,), or None
        Row of the snapshot that each row was; None where no number changed.
    """

    base: Base
    taken: int
    kept: Rows | None = None


def folded(snapshot: Snapshot, number: int) -> Rewritten:
    """Write the recent rows as one more part; rows keep their numbers, removed ones stay.

    Parts that were added before and are no longer than what follows them are written anew with
    it, so that their number grows with the logarithm of their rows.
    """
    base, recent = snapshot.base, snapshot.recent
    draft = Draft(base.path, number, base.stack.dim)
    first = _first_joined(base.facts["parts"], recent.count)
    draft.keep(base, first)
    if recent.count:
        later = range(first, len(base.tables))
        matrices, is_unit = _matrices(base, later)
        batches = _batches(base, later, recent)
        is_unit = is_unit and snapshot.metric == "cosine"
        blocks = _blocks([*matrices, recent.vectors])
        draft.add(batches, names_of(batches()), blocks, is_unit=is_unit)
    index = _extended(base, draft.stack) if recent.count else base.index
    alive = np.concatenate((snapshot.living.all, recent.alive))
    facts = _counted(snapshot)
    gone = base.facts["removed"] or {"blanked": 0}
    return Rewritten(draft.finish(index, facts, alive, blanked=gone["blanked"]), recent.count)


def _first_joined(parts: Sequence[dict[str, Any]], rows: int) -> int:
    """Return the first of the last parts that are written anew together with `rows` rows."""
    first = len(parts)
    while rows and first and parts[first - 1]["vectors"] and parts[first - 1]["rows"] <= rows:
        first -= 1
        rows += parts[first]["rows"]
    return first


def _matrices(base: Base, parts: range) -> tuple[list[Vectors], bool]:
    """Return the vectors of some parts, and whether they are of length one."""
    found = [base.matrices(part) for part in parts]
    is_unit = all(isinstance(norm, str) for _, norms in found for norm in norms)
    return [matrix for matrices, _ in found for matrix in matrices], is_unit


def _batches(base: Base, parts: range, recent: Recent | None = None) -> Batches:
    """Return the items of some parts and then the recent ones."""

    def give() -> Iterator[pa.RecordBatch]:
        for part in parts:
            yield from base.batches(part)
        count = 0 if recent is None else recent.count
        for start in range(0, count, BATCH_ROWS):
            some = slice(start, min(start + BATCH_ROWS, count))
            assert recent is not None
            yield to_batch(recent.store.ids[some], recent.store.facts[some])

    return give


def _extended(base: Base, stack: Stack) -> Index:
    if base.index is not None and base.index.has_file:
        with one_thread():  # searches go on meanwhile
            return base.index.extended(stack)
    if base.index is not None:
        return base.index.extended(stack)
    return index_class(base.facts["index"]["kind"]).build(stack, base.facts["metric"])


def _counted(snapshot: Snapshot) -> dict[str, Any]:
    changes = int(snapshot.base.facts["changes"]) + snapshot.pending
    return snapshot.base.facts | {"folded": snapshot.seq, "changes": changes}


def needs_compaction(base: Base) -> bool:
    """Return whether `compacted` would change anything."""
    facts = base.facts
    gone = facts["removed"] or {"count": 0, "blanked": 0}
    is_fitted = facts["index"]["rows"] == len(base)
    return gone["count"] > gone["blanked"] or not is_fitted or len(facts["parts"]) > 2


def compacted(snapshot: Snapshot, number: int) -> Rewritten:
    """Write what the last fold left anew as one part and fit index and vote.

    A first part whose vectors are those of the set stays, without the facts of removed rows.
    Changes since the fold stay in the log.
    """
    base = snapshot.base
    alive = np.ones(len(base), np.bool_) if base.alive is None else base.alive
    draft = Draft(base.path, number, base.stack.dim)
    is_referring = bool(base.facts["parts"]) and base.facts["parts"][0]["vectors"] is None
    split = base.starts[1] if is_referring else 0
    if is_referring:
        _blank_first(draft, base, alive[:split])
    if alive[split:].any():
        _join_rest(draft, base, range(int(is_referring), len(base.tables)), alive[split:])
    kept = np.concatenate((np.arange(split), split + np.flatnonzero(alive[split:])))
    alive = alive[kept]
    asked = base.facts["index"]
    wanted = Wanted(kind=asked["asked"], recall=asked["recall"], metric=snapshot.metric)
    index, facts = fit(draft.stack, wanted, base.labels[kept], None if alive.all() else alive)
    gone = int(np.count_nonzero(~alive))
    return Rewritten(draft.finish(index, base.facts | facts, alive, blanked=gone), 0, kept)


def _blank_first(draft: Draft, base: Base, alive: Mask) -> None:
    """Take the first part without the facts of removed rows; as it is where they are gone."""
    gone = int(np.count_nonzero(~alive))
    if gone == (base.facts["removed"] or {"blanked": 0})["blanked"]:
        draft.keep(base, 1)
        return
    batches = blanked(lambda: base.batches(0), alive)
    draft.refer(batches, names_of(batches()), *base.matrices(0))


def _join_rest(draft: Draft, base: Base, parts: range, alive: Mask) -> None:
    """Write the rows of some parts that can be found as one part."""
    matrices, is_unit = _matrices(base, parts)
    batches = only(_batches(base, parts), alive)
    draft.add(batches, names_of(batches()), _chosen(matrices, alive), is_unit=is_unit)


def _blocks(matrices: Sequence[Vectors]) -> Iterator[Vectors]:
    """Yield rows in blocks."""
    for matrix in matrices:
        for start in range(0, len(matrix), COPIED_ROWS):
            yield matrix[start : start + COPIED_ROWS]


def _chosen(matrices: Sequence[Vectors], alive: Mask) -> Iterator[Vectors]:
    """Yield the rows that `alive` marks, in blocks."""
    start = 0
    for block in _blocks(matrices):
        yield block[alive[start : start + len(block)]]
        start += len(block)
