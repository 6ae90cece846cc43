"""Finished sets of one backbone, such as the shards of a run, joined into one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from featx.data.files import explained
from featx.data.ledger import NAME, Ledger
from featx.data.mirror import COPIED_BYTES, facts_of
from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import InputError, SpaceError, StoreError


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` made: items of the new set, sets that were read, items that stood in two."""

    items: int
    sets: int
    repeated: int


def merge(paths: Sequence[Path], out: Path, *, command: str = "") -> Merged:
    """Write the rows of several sets, in the order that they are given in, as one set.

    An item that stands in two sets with the same content is taken from the first.  What `out`
    holds already is kept, so that a merge that was ended early goes on; the sets are only read.

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
        If there is one set only, a set is named twice or is `out`, or an id stands in two sets
        with different contents.
    SpaceError
        If the sets, or `out`, are of different backbones or preprocessing.
    StoreError
        If a set is missing, damaged or unfinished, or `out` cannot be written.
    """
    _require_paths(paths, out)
    sets = [EmbeddingSet.open(path) for path in paths]
    for embedding_set in sets:
        _require_fit(embedding_set, sets[0])
    model, source = sets[0].manifest["model"], merged_source([s.manifest["source"] for s in sets])
    with SetWriter(out, model=model, command=command, source=source) as writer:
        repeated = sum(_copy(writer, sets, number) for number in range(len(sets)))
        _copy_errors(writer, sets)
        items = len(writer.finish())
    return Merged(items, len(sets), repeated)


def merged_source(sources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what describes all sources: the one that they are parts of, else kind ``merge``.

    Examples
    --------
    >>> parts = [{"kind": "folder", "shard": shard, "limit": None} for shard in ("1/2", "2/2")]
    >>> merged_source(parts)
    {'kind': 'folder'}
    """
    if all(source == sources[0] for source in sources):
        return dict(sources[0])
    parts = {"shard", "limit"}
    wholes = [{k: v for k, v in source.items() if k not in parts} for source in sources]
    if all(whole == wholes[0] for whole in wholes):
        return wholes[0]
    return {"kind": "merge", "sources": [dict(source) for source in sources]}


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
        found, wanted = (
            f"{s.path} holds vectors of {s.model!r} ({s.fingerprint[:12]})"
            for s in (embedding_set, first)
        )
        raise SpaceError(f"{found}, {wanted}; only sets made with the same settings can be merged")
    if not embedding_set.finished:
        again = embedding_set.manifest.get("command") or "its embed command again"
        message = f"{embedding_set.path}: unfinished, {len(embedding_set):,} items; first run: "
        raise StoreError(message + again)


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
    """List what no set could embed."""
    ledger = Ledger(writer.path)
    for embedding_set in sets:
        for entry in _errors(embedding_set.path / NAME):
            if not writer.held([entry[0]]):
                ledger.add([entry])
    ledger.close()


def _errors(path: Path) -> Iterator[tuple[str, str, str]]:
    if not path.is_file():
        return
    with explained(path), path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                entry = json.loads(line)
                yield str(entry["id"]), str(entry["uri"]), str(entry["problem"])
            except (ValueError, KeyError, TypeError) as cause:
                message = f"{path}: line {number}: damaged; run featx embed again"
                raise StoreError(message) from cause
