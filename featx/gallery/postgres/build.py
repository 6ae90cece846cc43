"""Building a gallery in PostgreSQL over an embedding set."""

import os
import secrets
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featx.data.files import explained
from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError
from featx.gallery.fitting import Wanted
from featx.gallery.folder import (
    FACTS,
    LOCK,
    read_facts,
    refuse_strangers,
    require_backend,
    write_facts,
)
from featx.gallery.gallery import Gallery
from featx.gallery.lock import lock_gallery
from featx.gallery.postgres.creating import creating, drop, fill, index, schema_of
from featx.gallery.postgres.dsn import Dsn
from featx.gallery.postgres.failures import GoneError
from featx.gallery.postgres.fitting import fit
from featx.gallery.postgres.locking import BusyError
from featx.gallery.postgres.reader import PostgresReader, opened
from featx.gallery.postgres.server import Server
from featx.gallery.postgres.shards import tables_of
from featx.gallery.postgres.state import put_facts
from featx.gallery.postgres.storage import AskedStorage, Needs, layout_for
from featx.gallery.postgres.writer import PostgresWriter
from featx.gallery.recipe import GalleryRecipe, Thumbnails, check, naming_items, record
from featx.index.approximate import TUNED_K
from featx.index.stack import Stack
from featx.index.tuning import Trial

KINDS = ("auto", "hnsw", "exact")
"""Of an index that pgvector has; ``"auto"`` is hnsw wherever vectors are not too wide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a gallery shall be kept.

    Attributes
    ----------
    dsns : sequence of Dsn
        Of the servers; ids are spread over them.
    storage : "auto", "halfvec" or "vector"
        Numbers of 16 or 32 bits; ``"auto"`` takes halves where these rank the nearest as they are.
    tell : callable
        Is given what was done otherwise than asked: a recall that is not reached, and tables that
        could not be deleted.
    """

    dsns: Sequence[Dsn]
    storage: AskedStorage = "auto"
    tell: Callable[[str], object] = warnings.warn


def build_postgres_gallery(
    embedding_set: EmbeddingSet | str | Path,
    out: str | Path,
    recipe: GalleryRecipe,
    placement: Placement,
    *,
    thumbnails: Thumbnails | None = None,
) -> Gallery:
    """Write a gallery into PostgreSQL and return it, opened for reading.

    Vectors and facts are read from the set in blocks and copied; the set may go then.  An exact
    search of 512 rows over the mapped set tells the true neighbours, by which the search is tuned.

    Parameters
    ----------
    embedding_set : EmbeddingSet, str or Path
    out : str or Path
        Folder for ``gallery.json``, which names the servers without any password.  Replaced where
        it is a gallery in PostgreSQL, whose tables are deleted then; a failure leaves that as it
        was.
    recipe : GalleryRecipe
        Of kind ``"auto"``, ``"hnsw"`` or ``"exact"``.
    placement : Placement
    thumbnails : callable, optional
        Rows of the set → a small picture of each, or None.

    Raises
    ------
    InputError
        If the set is empty, has a row that is not finite or cannot be stored, or servers are named
        twice.
    StoreError
        If `out` exists and is something else, or holds changes made online; or a server cannot be
        reached, is full, or lacks pgvector or a right.
    """
    if not isinstance(embedding_set, EmbeddingSet):
        embedding_set = EmbeddingSet.open(embedding_set)
    out = Path(out)
    _check(embedding_set, out, recipe, placement)
    existed = out.exists()
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    held, old = lock_gallery(out), None
    try:
        old = _old(out, placement, recipe)
        recall = _build(embedding_set, out, recipe, placement, thumbnails)
        if old is not None:
            drop(old.latest.shards.servers, placement.tell)
    except BaseException:
        if not existed:
            shutil.rmtree(out, ignore_errors=True)
        raise
    finally:
        if old is not None:
            old.close()
        os.close(held)
    if recall < recipe.recall:
        placement.tell(
            f"{out}: a recall of {recall:.4f} is reached, less than the {recipe.recall:g} that was "
            "asked for; --storage vector --kind exact finds all, more slowly"
        )
    return Gallery(out, PostgresReader(out, [dsn.secrets for dsn in placement.dsns]))


def _check(
    embedding_set: EmbeddingSet, out: Path, recipe: GalleryRecipe, placement: Placement
) -> None:
    if recipe.kind not in KINDS:
        raise InputError(f"kind: found {recipe.kind!r}; pgvector has {', '.join(KINDS)}")
    check(embedding_set, recipe)
    if not placement.dsns:
        raise InputError("--backend pgvector needs a server: --dsn postgresql://user@host/database")
    refuse_strangers(out)
    require_backend(out, "pgvector")


def _old(out: Path, placement: Placement, recipe: GalleryRecipe) -> PostgresWriter | None:
    """Return the gallery that is replaced, locked; refuse to lose changes made online."""
    try:
        facts = read_facts(out)
    except StoreError as cause:
        _refuse_damaged(out, cause, recipe)
        return None
    try:
        old = PostgresWriter(out, _known(facts, placement))
    except BusyError:
        raise
    except StoreError as cause:
        if recipe.drop_changes:
            if not isinstance(cause.__cause__, GoneError):
                tables = f"tables featx_{facts['id']}_*, which no gallery needs after this build"
                placement.tell(f"{cause}; its servers may still have {tables}")
            return None
        message = f"{cause}; give --drop-changes to lose what was changed online, if anything was"
        raise StoreError(message) from cause
    changes = old.latest.changes
    if changes and not recipe.drop_changes:
        old.close()
        raise StoreError(
            f"{out}: items were added or removed online ({changes:,}); give --drop-changes to lose "
            "them, or choose another name with -o"
        )
    return old


def _refuse_damaged(out: Path, cause: StoreError, recipe: GalleryRecipe) -> None:
    """Refuse to build in the place of a gallery that cannot be read."""
    names = {entry.name for entry in out.iterdir()} - {FACTS, LOCK}
    if any(not name.startswith(".") for name in names):
        raise StoreError(
            f"{cause}; it is a gallery in files, which is not replaced by one in PostgreSQL: "
            "choose another name with -o"
        )
    if (out / FACTS).is_file() and not recipe.drop_changes:
        raise StoreError(
            f"{cause}; give --drop-changes to lose what was changed online, if anything was"
        )


def _known(facts: Mapping[str, Any], placement: Placement) -> list[Mapping[str, str]]:
    """Return the secrets of the servers of a gallery, of those that were just given."""
    given = {tuple(sorted(dsn.params.items())): dsn.secrets for dsn in placement.dsns}
    return [given.get(tuple(sorted(each["dsn"].items())), {}) for each in facts["servers"]]


def _build(
    embedding_set: EmbeddingSet,
    out: Path,
    recipe: GalleryRecipe,
    placement: Placement,
    thumbnails: Thumbnails | None,
) -> float:
    """Create, fill and fit the tables, write ``gallery.json``; return the recall.

    It is 1 where each row is compared as it is, whatever else the order of equal rows may say.
    """
    schemas = [schema_of(dsn) for dsn in placement.dsns]  # a server that is down is told first
    stack = Stack.of(embedding_set.X)
    with naming_items(embedding_set):
        _ = stack.norms  # a look at each row: all are finite
        trial = Trial.of(stack, recipe.metric, TUNED_K, 0)
        needs = Needs(
            storage=placement.storage,
            metric=recipe.metric,
            recall=recipe.recall,
            is_exact=recipe.kind == "exact",
        )
        layout = layout_for(stack, trial, needs)
    facts: dict[str, Any] = {
        "backend": "pgvector",
        "id": secrets.token_hex(8),
        **record(embedding_set, out, recipe),
        "storage": layout.storage,
        "servers": [
            {"schema": schema, "dsn": dict(dsn.params)}
            for schema, dsn in zip(schemas, placement.dsns, strict=True)
        ],
    }
    servers = [
        Server(dsn, tables_of(facts, each["schema"]))
        for dsn, each in zip(placement.dsns, facts["servers"], strict=True)
    ]
    with creating(servers, facts["space"], placement.tell) as shards:
        fill(shards, embedding_set, stack, thumbnails)
        if layout.indexed:
            index(shards, layout.indexed)
        wanted = Wanted(kind=recipe.kind, recall=recipe.recall, metric=recipe.metric)
        held = opened(out, facts, shards)
        is_whole = len(held) == len(stack)  # else rows of one id were told apart
        fitted = fit(held, wanted, layout.indexed, trial if is_whole else None)
        shards.head.ask(lambda session: put_facts(session, shards.tables, fitted))
    try:
        write_facts(out, facts)
    except BaseException:
        if not _is_at(out, facts):
            drop(servers, placement.tell)
        raise
    is_all = layout.indexed is None and layout.storage == "vector"
    return 1.0 if is_all else float(fitted["metrics"]["recall"])


def _is_at(out: Path, facts: Mapping[str, Any]) -> bool:
    """Return whether ``gallery.json`` is that of a gallery, as far as it can be read."""
    try:
        return bool(read_facts(out).get("id") == facts["id"])
    except StoreError:
        return False
