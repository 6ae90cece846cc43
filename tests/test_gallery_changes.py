"""Galleries that grow and forget: added, removed, folded, compacted, seen by readers."""

import json
import os
import shutil
import sys
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from featx.data.store import EmbeddingSet
from featx.errors import StoreError
from featx.gallery import writer as gallerywriter
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts
from featx.index.metric import MetricName
from gallery_sets import (
    DIM,
    EXACT,
    NEW,
    Case,
    build,
    similarities,
    vectors,
    write_set,
)


def case(folder: Path, recipe: GalleryRecipe = EXACT, segment: int = 99) -> Case:
    path = build(folder, recipe, segment=segment).path
    content = {f"i{r}": x for r, x in enumerate(vectors())}
    return Case(path, Gallery.open(path, writable=True), content)


@pytest.mark.parametrize(
    ("kind", "metric", "standalone"),
    [
        ("exact", "cosine", False),
        ("exact", "l2", True),
        ("pq", "cosine", True),
        ("pq", "dot", False),
        ("hnsw", "cosine", False),
    ],
)
def test_what_is_added_and_removed_is_searched_at_once_and_ever_after(
    tmp_path: Path, metric: MetricName, standalone: bool, kind: str
) -> None:
    recipe = GalleryRecipe(kind=kind, metric=metric, standalone=standalone, recall=1.0)
    each = case(tmp_path, recipe, segment=25)

    each.add(range(20))
    each.remove("i3", "n4", "i59")
    each.check(metric=metric)
    each.gallery.fold()
    each.check(metric=metric)
    each.add(range(20, 30))
    each.remove("n25", "n7", "i8")
    each.gallery.fold()
    each.check(metric=metric)
    each.gallery.compact()
    each.check(metric=metric)
    each.add(range(30, 40))
    each.check(metric=metric)


def test_labels_that_differ_in_zero_bytes_only_are_told_apart(tmp_path: Path) -> None:
    each = case(tmp_path)
    labels = ["x\0\0", "x", "x\0", "w"]

    each.gallery.add(list("abcd"), NEW[:4], facts=[ItemFacts(label=label) for label in labels])

    for gallery in (each.gallery, Gallery.open(each.path)):
        assert [answer.label for answer in gallery.classify(NEW[:4], 1)] == labels


def test_compacting_forgets_what_was_removed(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.gallery.add(["secret"], NEW[:1], facts=[ItemFacts(uri="/secret", preview="secret")])
    vector = (NEW[0] / np.linalg.norm(NEW[0].astype(np.float64))).astype(np.float32).tobytes()
    each.gallery.remove(["i7", "secret"])
    del each.content["i7"]
    assert vector in b"".join(file.read_bytes() for file in each.path.glob("log*"))
    assert b"/x/7" in b"".join(file.read_bytes() for file in each.path.glob("items-*"))

    each.gallery.compact()

    content = b"".join(file.read_bytes() for file in each.path.iterdir())
    assert b"/x/7" not in content
    assert b"secret" not in content
    assert vector not in content
    assert b"/x/8" in content
    stats = each.gallery.stats()
    assert (stats["removed"], stats["blanked"]) == (1, 1)  # its vector is the set's
    each.check()


def test_compacting_what_stands_alone_drops_the_vectors_too(tmp_path: Path) -> None:
    each = case(tmp_path, GalleryRecipe(kind="exact", standalone=True))
    each.remove("i7", "i8")

    each.gallery.compact()

    stats = each.gallery.stats()
    assert (stats["items"], stats["removed"], stats["parts"]) == (58, 0, 1)
    assert [p.stat().st_size for p in each.path.glob("vectors-*")] == [128 + 58 * DIM * 4]
    each.check()


def test_many_folds_leave_few_parts(tmp_path: Path) -> None:
    each = case(tmp_path)

    for start in range(0, 32, 2):
        each.add(range(start, start + 2))
        each.gallery.fold()

    assert each.gallery.stats()["parts"] == 2  # 16 folds of equal size are one part
    each.add(range(32, 34))
    each.gallery.fold()
    assert each.gallery.stats()["parts"] == 3
    each.check()


def test_changes_are_folded_in_the_background(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallerywriter, "FOLD_AT", 10)
    each = case(tmp_path)

    for row in range(40):
        each.add(range(row, row + 1))
    each.gallery.close()

    gallery = Gallery.open(each.path)
    assert gallery.stats()["pending"] < 40
    assert gallery.stats()["generation"] > 1
    each.check(gallery)


def test_a_fold_that_fails_loses_nothing_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallerywriter, "FOLD_AT", 10)
    each = case(tmp_path)
    facts = each.path / "gallery.json"
    facts.rename(each.path / "kept.json")
    facts.mkdir()  # a folder where the file would go

    each.add(range(10))
    writer = each.gallery._source
    assert isinstance(writer, gallerywriter.GalleryWriter)
    thread = writer._folding
    assert thread is not None
    thread.join()

    assert "gallery.json: a folder is in the way" in each.gallery.stats()["fold_error"]
    each.check(each.gallery)
    facts.rmdir()
    (each.path / "kept.json").rename(facts)
    each.check()
    each.gallery.fold()
    each.check()
    assert each.gallery.stats()["pending"] == 0


def test_searches_while_items_are_added_folded_and_compacted_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallerywriter, "FOLD_AT", 7)
    each = case(tmp_path)
    reader, stop, wrong = Gallery.open(each.path), threading.Event(), list[str]()

    def search(gallery: Gallery) -> None:
        while not stop.is_set():
            (found,) = gallery.search(vectors()[:1], 5)
            known = {**each.content, **{f"n{r}": NEW[r] for r in range(40)}}
            near = [similarities(known[n.id][None], vectors()[0])[0] for n in found]
            if not np.allclose([n.similarity for n in found], near, atol=1e-5):
                wrong.append(str(found))

    threads = [threading.Thread(target=search, args=(g,)) for g in (each.gallery, reader)]
    for thread in threads:
        thread.start()
    for row in range(40):
        each.add(range(row, row + 1))
        if row % 13 == 0:
            each.gallery.compact()
    stop.set()
    for thread in threads:
        thread.join()

    assert not wrong
    each.check()
    each.check(reader)


def test_folded_changes_are_not_lost_to_a_build_either(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(5))
    each.remove("n1")
    each.gallery.compact()
    each.gallery.close()

    with pytest.raises(StoreError, match=r"added or removed online .6"):
        build_gallery(EmbeddingSet.open(tmp_path / "a.emb"), each.path, EXACT)
    each.check(Gallery.open(each.path))


def test_a_writer_leaves_another_gallery_at_its_place_alone(tmp_path: Path) -> None:
    gallery = build(tmp_path).path
    other = tmp_path / "other.knn"
    shutil.copytree(gallery, other)
    with Gallery.open(gallery, writable=True) as writer:
        writer.add(["n0"], NEW[:1])
        gallery.rename(tmp_path / "before.knn")
        other.rename(gallery)
        files = {path.name: path.read_bytes() for path in gallery.iterdir()}

        add = partial(writer.add, ["n1"], NEW[1:2])
        for change in (add, partial(writer.remove, ["n0"]), writer.fold, writer.compact):
            with pytest.raises(StoreError, match="was moved or replaced while it was open"):
                change()
        assert "n0" in writer
    assert {path.name: path.read_bytes() for path in gallery.iterdir()} == files


def test_killed_between_the_parts_and_the_log_nothing_counts_twice(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(5))
    each.remove("n1", "i1")
    earlier = tmp_path / "earlier"
    shutil.copytree(each.path, earlier)
    each.gallery.fold()
    each.gallery.close()
    for file in earlier.glob("log.sqlite*"):  # as it was before the fold
        shutil.copy(file, each.path)
    (each.path / "items-00009-0.arrow").write_bytes(b"half")
    (each.path / ".gallery.json.12345678.tmp").write_bytes(b"half")

    each.check(Gallery.open(each.path))
    each.gallery = Gallery.open(each.path, writable=True)
    each.check()
    each.add(range(5, 9))
    each.check()
    assert not (each.path / "items-00009-0.arrow").exists()
    assert not list(each.path.glob("*.tmp"))


@pytest.mark.parametrize("step", ["fold", "compact"])
def test_killed_at_any_write_of_a_fold_or_compaction_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    each = case(tmp_path, GalleryRecipe(kind="pq", recall=1.0))
    each.add(range(5))
    each.gallery.fold()
    each.add(range(5, 12))
    each.remove("n1", "n6", "i1")
    copies: list[Path] = []
    sync = os.fsync

    def copy_then_sync(descriptor: int) -> None:
        copies.append(tmp_path / f"{len(copies)}.knn")
        shutil.copytree(each.path, copies[-1])
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", copy_then_sync)
    getattr(each.gallery, step)()
    monkeypatch.undo()

    assert len(copies) > 8
    for copy in copies:
        reader = Gallery.open(copy)
        each.check(reader)
        with Gallery.open(copy, writable=True) as writer:
            each.check(writer)
            writer.fold()
            each.check(writer)
        each.check(reader)


def test_a_gallery_on_a_read_only_disk_is_read(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(5))
    each.gallery.close()
    for file in (*each.path.iterdir(), each.path):
        file.chmod(0o555 if file.is_dir() else 0o444)

    try:
        each.check(Gallery.open(each.path))
    finally:
        each.path.chmod(0o755)


def test_what_the_index_takes_is_the_same_for_every_reader(tmp_path: Path) -> None:
    each = case(tmp_path, GalleryRecipe(kind="pq"))
    built = each.gallery.stats()["index_bytes"]

    with Gallery.open(each.path) as reader:
        assert reader.stats()["index_bytes"] == built > 0
    each.add(range(6))
    each.gallery.fold()
    with Gallery.open(each.path) as reader:
        assert reader.stats()["index_bytes"] == round(1.1 * built)


def test_a_writer_leaves_the_settings_of_python_alone(tmp_path: Path) -> None:
    before = sys.getswitchinterval()

    each = case(tmp_path)

    each.add(range(2))
    assert sys.getswitchinterval() == before


def test_stats_say_what_there_is(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(5))
    each.remove("i4", "n0")

    stats = each.gallery.stats()

    assert (stats["items"], stats["removed"], stats["pending"], stats["changes"]) == (63, 2, 7, 7)
    assert (stats["kind"], stats["recall"], stats["parts"]) == ("exact", 1.0, 1)
    assert stats["classes"] == {"even": 24, "new": 4, "odd": 24}
    assert stats["disk_bytes"] == sum(p.stat().st_size for p in each.path.iterdir())
    assert json.loads(json.dumps(stats)) == stats


def test_a_set_may_be_named_by_its_path(tmp_path: Path) -> None:
    write_set(tmp_path / "a.emb", vectors())

    with build_gallery(str(tmp_path / "a.emb"), tmp_path / "a.knn", EXACT) as built:
        assert [n.id for n in built.search(vectors()[3:4], 1)[0]] == ["i3"]
