"""Finished sets of one backbone, such as the shards of a run, joined into one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from featx.data.ledger import Ledger, read_ledger
from featx.data.mirror import COPIED_BYTES, facts_of
from featx.data.rows import Row
from featx.data.sources.part import Shard, parse_shard
from featx.data.space import SHOWN_DIGITS, Made
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import InputError, SpaceError, StoreError

SHOWN_SHARDS = 5


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` made: items of the new set, sets that were read, items that stood in two."""

    items: int
    sets: int
    repeated: int


def merge(paths: Sequence[Path], out: Path, *, command: str = "") -> Merged:
    """Write the rows of several sets, in the order that they are given in, as one set.

    Shards of one source come in the order of the source instead, and all have to be there.  An
    item that stands in two sets with the same content is taken from the first.  What `out` holds
    already is kept, so that a merge that was ended early goes on; the sets are only read.

    Parameters
    ----------
    paths : sequence of Path
        Two sets or more.
    out : Path
        Folder of the new set.
    command : str
        Recorded in the new set.

    Raises
    ------
    InputError
        If there is one set only, a set is named twice or is `out`, an id stands in two sets
        with different contents, or they are shards of one source and not all of them.
    SpaceError
        If the sets, or `out`, are of different backbones or preprocessing.
    StoreError
        If a set is missing, damaged or unfinished, or `out` cannot be written.
    """
    _require_paths(paths, out)
    sets: Sequence[EmbeddingSet] = [EmbeddingSet.open(path) for path in paths]
    for embedding_set in sets:
        _require_fit(embedding_set, sets[0])
    sets = _in_order(sets)
    model, source = sets[0].manifest["model"], merged_source([s.manifest["source"] for s in sets])
    with SetWriter(out, model=model, command=command, source=source) as writer:
        repeated = sum(_copy(writer, sets, number) for number in range(len(sets)))
        _copy_errors(writer, sets)
        items = len(writer.finish())
    return Merged(items, len(sets), repeated)


def merged_source(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what describes all sources: the one that they are all shards of, else kind ``merge``.

    Parameters
    ----------
    sources : sequence of mapping
        If they are shards of one source, all of its shards.

    Examples
    --------
    >>> parts = [{"kind": "folder", "shard": shard, "limit": None} for shard in ("1/2", "2/2")]
    >>> merged_source(parts)
    {'kind': 'folder'}
    """
    if all(source == sources[0] for source in sources):
        return dict(sources[0])
    has_limits = any(source.get("limit") is not None for source in sources)
    if _are_shards(sources) and not has_limits:
        return _whole(sources[0])
    return {"kind": "merge", "sources": [dict(source) for source in sources]}


def _are_shards(sources: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether the sources are shards of one source, cut into the same number of them."""
    if not all(source.get("shard") for source in sources):
        return False
    counts = {parse_shard(source["shard"])[1] for source in sources}
    return len(counts) == 1 and all(_whole(source) == _whole(sources[0]) for source in sources)


def _whole(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in source.items() if key not in {"shard", "limit"}}


def _in_order(sets: Sequence[EmbeddingSet]) -> Sequence[EmbeddingSet]:
    """Return the shards of one source in its order, and other sets as they are."""
    if not _are_shards([each.manifest["source"] for each in sets]):
        return sets
    ordered = sorted(sets, key=_shard)
    count, present = _shard(sets[0])[1], {_shard(each)[0] for each in sets}
    lacking = (number for number in range(1, count + 1) if number not in present)
    missing = [f"{number}/{count}" for number in islice(lacking, SHOWN_SHARDS)]
    if missing:
        more = ", ..." if count - len(present) > len(missing) else ""
        first = ordered[0]
        raise InputError(
            f"{first.path}: is shard {first.manifest['source']['shard']} of its source; missing: "
            f"{', '.join(missing)}{more}; make each, with another --shard and -o, as this one: "
            f"{first.manifest.get('command') or 'featx embed'}"
        )
    return ordered


def _shard(embedding_set: EmbeddingSet) -> Shard:
    return parse_shard(embedding_set.manifest["source"]["shard"])


def _require_paths(paths: Sequence[Path], out: Path) -> None:
    if len(paths) < 2:
        raise InputError(f"{len(paths)} set to merge; name two sets or more")
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise InputError(f"{path}: named twice; name each set once")
        seen.add(path.resolve())
    if out.resolve() in seen:
        raise InputError(f"{out}: is one of the sets to merge; choose another -o")


def _require_fit(embedding_set: EmbeddingSet, first: EmbeddingSet) -> None:
    if embedding_set.fingerprint != first.fingerprint:
        sides = (embedding_set, first), (first, embedding_set)
        found, wanted = (
            f"{s.path} holds vectors of {_made(s).beside(_made(other))}"
            f" ({s.fingerprint[:SHOWN_DIGITS]})"
            for s, other in sides
        )
        raise SpaceError(f"{found}, {wanted}; only sets made with the same settings can be merged")
    if not embedding_set.finished:
        again = embedding_set.manifest.get("command") or "its embed command again"
        message = f"{embedding_set.where}: unfinished, {len(embedding_set):,} items; first run: "
        raise StoreError(message + again)


def _made(embedding_set: EmbeddingSet) -> Made:
    return Made.of(embedding_set.manifest["model"])


def _copy(writer: SetWriter, sets: Sequence[EmbeddingSet], number: int) -> int:
    """Copy the rows of one set that earlier ones did not have; return how many they had."""
    start = copied = 0
    for batch in facts_of(sets[number]):
        copied += _copy_batch(writer, sets, number, batch=batch, start=start)
        start += batch.num_rows
    return start - copied


def _copy_batch(
    writer: SetWriter,
    sets: Sequence[EmbeddingSet],
    number: int,
    *,
    batch: pa.RecordBatch,
    start: int,
) -> int:
    rows = [Row(**facts) for facts in batch.to_pylist()]
    held = writer.held([row.id for row in rows])
    told = {item_id for item_id, facts in held.items() if facts.is_told}
    same = {row.id for row in rows if row.id in held and held[row.id].digest == row.digest}
    for item_id in (row.id for row in rows if row.id in told - same):
        raise _two_contents(item_id, sets, number)
    fresh = [(start + place, row) for place, row in enumerate(rows) if row.id not in same]
    length = max(1, COPIED_BYTES // (4 * sets[number].dim))
    for at in range(0, len(fresh), length):
        part = fresh[at : at + length]
        X = np.asarray(sets[number].X[[place for place, _ in part]])
        writer.append([row for _, row in part], X)
    untold = [row for row in rows if row.id not in told]
    writer.tell([Facts(row.id, row.uri, row.label, row.split) for row in untold])
    return len(untold)


def _two_contents(item_id: str, sets: Sequence[EmbeddingSet], number: int) -> InputError:
    holders = [s.path for s in sets[: number + 1] if any(item_id == found for found in _ids(s))]
    return InputError(
        f"{sets[number].path}: {item_id!r} is in {holders[0]} too, with another content; "
        "ids name one item each: merge sets of one source, or give the items other ids"
    )


def _ids(embedding_set: EmbeddingSet) -> Iterator[str]:
    for batch in facts_of(embedding_set, ["id"]):
        yield from map(str, batch.column("id").to_pylist())


def _copy_errors(writer: SetWriter, sets: Sequence[EmbeddingSet]) -> None:
    """List what no set could embed; a row that the merged set is about to drop does not count."""
    ledger = Ledger(writer.path)
    for embedding_set in sets:
        for failure in read_ledger(embedding_set.path):
            held = writer.held([failure.id]).get(failure.id)
            if held is None or not held.is_told:
                ledger.add([failure])
    ledger.close()
