"""From a source to an embedding set: what is missing is encoded, the rest is kept.

Yields progress and draws nothing.
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from featx.backbone.backbone import Backbone
from featx.data.cache import StatIndex, VectorCache
from featx.data.files import writing
from featx.data.rows import Row
from featx.data.sources.options import DescribedSource
from featx.data.store import EmbeddingSet
from featx.data.writer import Facts, SetWriter
from featx.errors import InputError, ItemError, StoreError
from featx.fingerprint import digest
from featx.types import Item, Sample, Vectors

WINDOW_ITEMS = {"text": 128, "image": 64, "audio": 16, "array": 256}
"""Items of a modality that are read, encoded and committed together."""

LOADING_THREADS = 2


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an embedding run is.

    Attributes
    ----------
    total : int
        Items of the source.
    kept : int
        Items that the set held already, unchanged.
    embedded, cached : int
        Items whose vector was computed now, or taken from the cache.
    errors : tuple of (id, uri, problem)
        Items that could not be embedded.
    truncated : int
        Items of which something was cut off.
    """

    total: int
    kept: int = 0
    embedded: int = 0
    cached: int = 0
    errors: tuple[tuple[str, str, str], ...] = ()
    truncated: int = 0

    @property
    def done(self) -> int:
        """Items that have been dealt with, one way or another."""
        return self.kept + self.embedded + self.cached + len(self.errors)


@dataclass(slots=True)
class _Work:
    """One item on its way through a window."""

    item: Item
    digest: bytes = b""
    sample: Sample | None = None
    vector: Vectors | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    is_kept: bool = False
    was_read: bool = False


@dataclass(slots=True)
class _Run:
    """What the stages of one run share."""

    backbone: Backbone
    writer: SetWriter
    vectors: VectorCache | None
    stats: StatIndex | None
    facts: list[Facts] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)


def embed(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    *,
    cache: Path | None = None,
    command: str = "",
) -> Iterator[Progress]:
    """Bring an embedding set in line with a source, and yield how far it is.

    Items that the set holds with the same digest are kept; changed and new items are encoded;
    items that are gone are dropped; labels and splits follow the source.  Whatever ends the run
    early, what was committed stays, and the next run goes on from there.

    Parameters
    ----------
    source : Source
    backbone : Backbone
    out : Path
        Folder of the set.
    cache : Path or None
        The user-wide cache; None works without one.
    command : str
        Recorded in the set.

    Raises
    ------
    SpaceError
        If `out` holds a set of another backbone.
    StoreError
        If the set cannot be written.
    InputError
        If not one item could be embedded.
    """
    progress = Progress(total=len(source))
    facts = backbone.facts
    writer = SetWriter(out, model=facts, command=command, source=source.describe())
    vectors = stats = None
    try:
        if cache is not None:
            vectors = VectorCache(cache, fingerprint=backbone.fingerprint, dim=backbone.dim)
            stats = StatIndex(cache)
        run = _Run(backbone, writer, vectors, stats)
        with ThreadPoolExecutor(LOADING_THREADS) as pool:
            items, length = iter(source), WINDOW_ITEMS.get(backbone.manifest.modality, 64)
            while window := list(islice(items, length)):
                progress = _add(progress, _embed_window(run, window, pool))
                yield progress
        _write_errors(out, progress)
        _require_any(progress)
        writer.finish(run.facts)
    finally:
        with suppress(StoreError):  # what is committed is kept, sealed or not
            writer.seal()
        writer.close()
        for store in (vectors, stats):
            if store is not None:
                store.close()


def embed_all(
    source: DescribedSource,
    backbone: Backbone,
    out: Path,
    *,
    cache: Path | None = None,
    command: str = "",
) -> EmbeddingSet:
    """Run `embed` to its end and open the set."""
    for _ in embed(source, backbone, out, cache=cache, command=command):
        pass
    return EmbeddingSet.open(out)


def _require_any(progress: Progress) -> None:
    """Raise before a source without one good item empties the set."""
    if progress.done == len(progress.errors):
        problems = [f"first problem: {name}: {problem}" for name, _, problem in progress.errors[:1]]
        message = f"nothing could be embedded; {(problems or ['the source is empty'])[0]}"
        raise InputError(message)


def _embed_window(run: _Run, window: Sequence[Item], pool: ThreadPoolExecutor) -> list[_Work]:
    started_s = time.time()
    works = [_unique(run, item) for item in window]
    for work in works:  # in this thread: SQLite's connections belong to the one that made them
        if run.stats is not None and isinstance(work.item.content, Path) and not work.problem:
            work.digest = run.stats.get(work.item.content) or b""
    list(pool.map(lambda work: _identify(run, work), works))
    for work in works:
        held = run.writer.digest_of(work.item.id)
        work.is_kept = bool(work.digest) and held == work.digest.hex()
    _look_up(run, works)
    missing = [w for w in works if not (w.problem or w.is_kept) and (w.vector is None)]
    list(pool.map(lambda work: _load(run, work), missing))
    ready = [work for work in missing if work.sample is not None]
    samples = [work.sample for work in ready if work.sample is not None]
    for work, row in zip(ready, run.backbone.encode_samples(samples), strict=True):
        _accept(work, row)
    _commit(run, works, started_s)
    return works


def _unique(run: _Run, item: Item) -> _Work:
    problem = item.problem
    if item.id in run.ids:
        problem = "its id occurs twice in the source; give each item its own"
    run.ids.add(item.id)
    return _Work(item, problem=problem)


def _identify(run: _Run, work: _Work) -> None:
    """Find the item's digest; an unchanged file is not opened."""
    if work.problem or work.digest:
        return
    try:
        raw = run.backbone.read(work.item.content)
    except ItemError as error:
        work.problem = str(error)
        return
    work.digest = digest(raw)
    work.was_read = True


def _look_up(run: _Run, works: Sequence[_Work]) -> None:
    if run.vectors is None:
        return
    wanted = [work.digest for work in works if work.digest and not work.is_kept]
    found, facts = run.vectors.get(wanted), run.vectors.facts(wanted)
    for work in works:
        if not work.is_kept and work.digest in found:
            work.vector, work.seen = found[work.digest], facts[work.digest]


def _load(run: _Run, work: _Work) -> None:
    try:
        raw = run.backbone.read(work.item.content)
        work.sample = run.backbone.load(raw)
    except ItemError as error:
        work.problem = str(error)
        return
    work.digest = digest(raw)
    work.seen = {
        "n_tokens": work.sample.n_tokens,
        "truncated": work.sample.truncated,
        "preview": run.backbone.modality.preview(raw),
    }


def _accept(work: _Work, row: Vectors) -> None:
    if np.isfinite(row).all():
        work.vector = row
    else:
        work.problem = "the backbone gave a vector that is not finite"


def _commit(run: _Run, works: Sequence[_Work], started_s: float) -> None:
    """Write the window's new rows in source order, then tell the cache."""
    fresh = [work for work in works if work.vector is not None and not work.is_kept]
    rows = [_row(work) for work in fresh]
    vectors = [work.vector for work in fresh if work.vector is not None]
    if vectors:
        run.writer.append(rows, np.stack(vectors))
    computed = [work for work in fresh if work.sample is not None]
    if run.vectors is not None and computed:
        made = np.stack([work.vector for work in computed if work.vector is not None])
        digests, facts = [work.digest for work in computed], [work.seen for work in computed]
        run.vectors.put(digests, made, facts)
    if run.stats is not None:
        seen = [
            (work.item.content, work.digest)
            for work in works
            if work.was_read and isinstance(work.item.content, Path) and not work.problem
        ]
        run.stats.put(seen, now_s=started_s)
    for work in works:
        if work.is_kept or work.vector is not None:
            item = work.item
            run.facts.append(Facts(item.id, item.uri, item.label, item.split))


def _row(work: _Work) -> Row:
    item = work.item
    return Row(
        id=item.id,
        digest=work.digest.hex(),
        uri=item.uri,
        label=item.label,
        split=item.split,
        **work.seen,
    )


def _add(progress: Progress, works: Sequence[_Work]) -> Progress:
    kept = sum(work.is_kept for work in works)
    computed = [work for work in works if work.sample is not None and work.vector is not None]
    failed = [
        (work.item.id, work.item.uri, work.problem)
        for work in works
        if work.problem and not work.is_kept
    ]
    return replace(
        progress,
        kept=progress.kept + kept,
        embedded=progress.embedded + len(computed),
        cached=progress.cached + len(works) - kept - len(computed) - len(failed),
        errors=(*progress.errors, *failed),
        truncated=progress.truncated + sum(bool(w.seen.get("truncated")) for w in works),
    )


def _write_errors(out: Path, progress: Progress) -> None:
    """Write ``errors.jsonl``: what the last run could not embed, one object a line."""
    lines = [
        json.dumps({"id": item_id, "uri": uri, "problem": problem}, ensure_ascii=False)
        for item_id, uri, problem in progress.errors
    ]
    with writing(out / "errors.jsonl") as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
