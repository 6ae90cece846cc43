"""Galleries whose writers, readers and builders meet at the worst moment."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from featx.errors import InputError
from featx.gallery import build as gallerybuild
from featx.gallery import writer as gallerywriter
from featx.gallery.base import Base
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery
from featx.gallery.lock import lock_gallery
from featx.gallery.rewriting import Rewritten, needs_compaction
from featx.gallery.snapshot import Snapshot
from gallery_sets import EXACT, build, expected, pairs, vectors, write_set

NEW = vectors(9, seed=9)
NOBODY = 65_534


class Case:
    """A gallery with pending changes, which other changes come into the way of."""

    def __init__(self, folder: Path, *, standalone: bool) -> None:
        recipe = GalleryRecipe(kind="exact", standalone=standalone)
        self.path = build(folder, recipe).path
        self.gallery = Gallery.open(self.path, writable=True)
        self.content = {f"i{r}": x for r, x in enumerate(vectors())}
        self.gallery.add(["n0", "n1", "n2"], NEW[:3])
        self.gallery.remove(["i5", "n0"])
        self.content |= {"n1": NEW[1], "n2": NEW[2]}
        del self.content["i5"]

    def change(self) -> None:
        """Add, replace and remove items, of which some are of the set and some are pending."""
        self.gallery.add(["late", "gone", "i5"], NEW[3:6])
        self.gallery.add(["i9", "n1"], NEW[6:8], replace=True)
        self.gallery.remove(["i7", "n2", "gone"])
        self.content |= {"late": NEW[3], "i5": NEW[5], "i9": NEW[6], "n1": NEW[7]}
        for item_id in ("i7", "n2"):
            del self.content[item_id]

    def check(self) -> None:
        """Check the writer, a reader, and a writer that comes after it and does the rest."""
        self.agrees(self.gallery)
        self.agrees(Gallery.open(self.path))
        self.gallery.close()
        with Gallery.open(self.path, writable=True) as second:
            self.agrees(second)
            second.remove(["late"])
            del self.content["late"]
            for step in (second.fold, second.compact):
                step()
                self.agrees(second)
        self.agrees(Gallery.open(self.path))

    def agrees(self, gallery: Gallery) -> None:
        Q = vectors(3, seed=8)
        for q, found in zip(Q, gallery.search(Q, 99), strict=True):
            assert pairs(found) == expected(self.content, q, 99)


@pytest.mark.parametrize("standalone", [False, True])
def test_changes_between_the_fold_and_the_rest_of_a_compaction_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standalone: bool
) -> None:
    case = Case(tmp_path, standalone=standalone)

    def change_before(base: Base) -> bool:
        case.change()
        return needs_compaction(base)

    monkeypatch.setattr(gallerywriter, "needs_compaction", change_before)
    case.gallery.compact()
    monkeypatch.undo()

    assert case.gallery.stats()["pending"] == 8
    case.check()


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("step", ["folded", "compacted"])
def test_changes_while_the_parts_are_written_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standalone: bool, step: str
) -> None:
    case = Case(tmp_path, standalone=standalone)
    write = getattr(gallerywriter, step)

    def change_after(snapshot: Snapshot, number: int) -> Rewritten:
        rewritten: Rewritten = write(snapshot, number)
        case.change()
        return rewritten

    monkeypatch.setattr(gallerywriter, step, change_after)
    case.gallery.fold() if step == "folded" else case.gallery.compact()
    monkeypatch.undo()

    assert case.gallery.stats()["pending"] == 8
    case.check()


@contextmanager
def unwritable(path: Path) -> Iterator[None]:
    """Work as somebody who may only read a folder."""
    user = os.geteuid()
    path.chmod(0o555)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(0o755)


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """Return a folder that everybody may read, which `tmp_path` is not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_reader_that_may_not_write_sees_what_a_writer_does(open_to_all: Path) -> None:
    path = build(open_to_all).path
    for ending in ("-wal", "-shm"):
        (path / f"log.sqlite{ending}").unlink(missing_ok=True)
    with unwritable(path):
        reader = Gallery.open(path)
        assert len(reader) == 60

    with Gallery.open(path, writable=True) as writer:
        for row, step in enumerate((writer.stats, writer.fold, writer.compact)):
            writer.add([f"n{row}"], NEW[row : row + 1])
            with unwritable(path):
                assert len(reader) == 61 + row
            step()
            with unwritable(path):
                assert pairs(reader.search(NEW[row : row + 1], 1)[0]) == [(f"n{row}", 1.0)]
    with unwritable(path):
        assert len(reader) == 63


def test_a_first_build_that_fails_leaves_the_gallery_of_one_that_was_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = vectors()
    X[7] = np.nan
    bad, out = write_set(tmp_path / "bad.emb", X), tmp_path / "a.knn"

    def build_before(path: Path) -> int:
        monkeypatch.undo()
        build(tmp_path)
        return lock_gallery(path)

    monkeypatch.setattr(gallerybuild, "lock_gallery", build_before)
    with pytest.raises(InputError, match="row 7 is NaN"):
        build_gallery(bad, out, EXACT)

    assert pairs(Gallery.open(out).search(vectors()[:1], 1)[0]) == [("i0", 1.0)]
