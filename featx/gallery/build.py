"""Building a gallery over an embedding set."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from featx.data.files import explained
from featx.data.mirror import facts_of
from featx.data.store import EmbeddingSet
from featx.errors import StoreError
from featx.gallery.base import Base
from featx.gallery.changelog import ChangeLog, DamagedLogError
from featx.gallery.draft import Draft
from featx.gallery.fitting import Wanted, fit
from featx.gallery.folder import (
    LOCK,
    LOG,
    clean,
    open_set,
    read_facts,
    refuse_strangers,
    require_backend,
    require_readable,
)
from featx.gallery.generation import commit, next_number
from featx.gallery.items import names_of
from featx.gallery.lock import lock_gallery
from featx.gallery.recipe import (
    GalleryRecipe,
    Thumbnails,
    check,
    items_of,
    naming_items,
    record,
)
from featx.index.stack import Stack

if TYPE_CHECKING:
    from featx.gallery.gallery import Gallery

__all__ = ["GalleryRecipe", "Thumbnails", "build_gallery"]


def build_gallery(
    embedding_set: EmbeddingSet | str | Path,
    out: str | Path,
    recipe: GalleryRecipe | None = None,
    *,
    thumbnails: Thumbnails | None = None,
) -> "Gallery":
    """Write a gallery over an embedding set and return it, opened for reading.

    `k` and the temperature are the most accurate by leave-one-out on at most 5,000 labelled rows;
    ``metrics`` of ``gallery.json`` holds that accuracy, the number of rows, and the measured
    recall, latency and memory of the index.

    Parameters
    ----------
    embedding_set : EmbeddingSet, str or Path
        Unless the gallery stands alone it is referred to by its path relative to the folder of
        `out`; move both together.
    out : str or Path
        Replaced where it is a gallery; a failure leaves that as it was.
    recipe : GalleryRecipe, optional
    thumbnails : callable, optional
        Rows of the set → a small picture of each, or None.

    Raises
    ------
    StoreError
        If `out` exists and is no gallery, holds changes made online, or another process writes
        to it; or the disk is full.
    InputError
        If the set is empty or has a row that is not finite.
    UnknownNameError
        If there is no index of that kind.
    """
    from featx.gallery.gallery import Gallery

    if not isinstance(embedding_set, EmbeddingSet):
        embedding_set = EmbeddingSet.open(embedding_set)
    out, recipe = Path(out), recipe or GalleryRecipe()
    check(embedding_set, recipe)
    refuse_strangers(out)
    require_backend(out, "files")
    require_readable(out, drop_changes=recipe.drop_changes)
    with _writing(out, recipe) as log:
        _refuse_changes(out, log, embedding_set, recipe)
        number = next_number(out, log)
        draft = Draft(out, number, embedding_set.dim)
        with naming_items(embedding_set):
            base = _written(embedding_set, draft, recipe, thumbnails)
        base.facts["folded"] = max(log.last(), _folded(out))
        commit(out, log, base.facts)
    return Gallery.open(out)


@contextmanager
def _writing(out: Path, recipe: GalleryRecipe) -> Iterator[ChangeLog]:
    """Hold the lock of the gallery and give its log; after a failure it is as it was."""
    existed = out.exists()
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
    held = lock_gallery(out)
    # Asked while it is locked: another first build may have ended just before.
    is_new = not existed and [entry.name for entry in out.iterdir()] == [LOCK]
    try:
        log = _opened_log(out, recipe)
        try:
            yield log
        finally:
            log.close()
    except BaseException:
        if is_new:
            shutil.rmtree(out, ignore_errors=True)
        else:
            with suppress(StoreError):
                clean(out, read_facts(out)["files"])
        raise
    finally:
        os.close(held)


def _opened_log(out: Path, recipe: GalleryRecipe) -> ChangeLog:
    try:
        return ChangeLog.writing(out / LOG, make=True)
    except DamagedLogError as cause:
        if not recipe.drop_changes:
            message = f"{cause}; give --drop-changes to lose the changes in it"
            raise StoreError(message) from cause
    for ending in ("", "-wal", "-shm"):
        (out / f"{LOG}{ending}").unlink(missing_ok=True)
    return ChangeLog.writing(out / LOG, make=True)


def _refuse_changes(
    out: Path, log: ChangeLog, embedding_set: EmbeddingSet, recipe: GalleryRecipe
) -> None:
    """Refuse to lose what was added and removed online."""
    try:
        changes = int(read_facts(out)["changes"])
    except StoreError:  # nothing is there, or nothing that can be read
        changes = 0
    changes += log.count(_folded(out))
    if changes and not recipe.drop_changes:
        raise StoreError(
            f"{out}: items were added or removed online ({changes:,}), of which "
            f"{embedding_set.where} knows nothing; {_instead(out, embedding_set)}give "
            "--drop-changes to lose them, or choose another name with -o"
        )


def _instead(out: Path, embedding_set: EmbeddingSet) -> str:
    """Name the command that adds a set to a gallery as it is; nothing where that cannot be done."""
    try:
        facts = read_facts(out)
        if any(part["vectors"] is None for part in facts["parts"]):
            open_set(out, facts)
    except StoreError:  # the set that it refers to has changed, as a rule
        return ""
    if facts["space"] != embedding_set.space:
        return ""
    command = f"featx index add {out} {embedding_set.where} --skip-existing"
    return f"{command} keeps what was added and adds what {out.name} lacks; or "


def _folded(out: Path) -> int:
    """Return the number of the last change that is in the parts."""
    try:
        return int(read_facts(out)["folded"])
    except StoreError:
        return 0


def _written(
    embedding_set: EmbeddingSet, draft: Draft, recipe: GalleryRecipe, thumbnails: Thumbnails | None
) -> Base:
    """Write the files of a gallery but for ``gallery.json``."""
    stack = Stack.of(embedding_set.X)
    names = names_of(facts_of(embedding_set, ("label", "split")))
    batches = items_of(embedding_set, thumbnails)
    if recipe.standalone:
        blocks = (block for _, block in stack.blocks())
        draft.add(batches, names, blocks, is_unit=False)
    else:
        draft.refer(batches, names, stack.parts, ["unknown"] * len(stack.parts))
    (table,) = draft.tables
    alive = np.ones(len(table), np.bool_)
    alive[table.repeated()] = False  # rows that a run which goes on has replaced
    wanted = Wanted(kind=recipe.kind, recall=recipe.recall, metric=recipe.metric)
    labels = table.codes("label")
    index, facts = fit(draft.stack, wanted, labels, None if alive.all() else alive)
    facts |= record(embedding_set, draft.path, recipe) | {"changes": 0}
    return draft.finish(index, facts, alive, blanked=0)
