"""Galleries that grow and forget: added, removed, folded, compacted, seen by readers."""

import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError
from featx.gallery import writer as gallerywriter
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts
from featx.index.metric import MetricName
from featx.types import Vectors
from gallery_sets import (
    DIM,
    EXACT,
    build,
    expected,
    label_of,
    pairs,
    similarities,
    vectors,
    write_set,
)

NEW = vectors(40, seed=9)


@dataclass
class Case:
    """A gallery, open for writing, and what it should hold."""

    path: Path
    gallery: Gallery
    content: dict[str, Vectors]

    def add(self, rows: range) -> None:
        ids = [f"n{r}" for r in rows]
        self.gallery.add(ids, NEW[rows], facts=[ItemFacts(label="new", uri=i) for i in ids])
        self.content |= dict(zip(ids, NEW[rows], strict=True))

    def remove(self, *ids: str) -> None:
        self.gallery.remove(ids)
        for item_id in ids:
            del self.content[item_id]

    def check(self, gallery: Gallery | None = None, metric: MetricName = "cosine") -> None:
        """Check a gallery, else the writer and a fresh reader."""
        for each in [gallery] if gallery else [self.gallery, Gallery.open(self.path)]:
            assert len(each) == len(self.content)
            for q, found in zip(
                vectors(4, seed=3), each.search(vectors(4, seed=3), 9), strict=True
            ):
                assert pairs(found) == expected(self.content, q, 9, metric)


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


def test_a_replaced_item_has_its_new_vector_and_facts(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(1))

    each.gallery.add(
        ["i3", "n0"], NEW[5:7], facts=[ItemFacts(label="x"), ItemFacts(split="val")], replace=True
    )

    each.content |= {"i3": NEW[5], "n0": NEW[6]}
    each.check()
    (first,) = each.gallery.search(NEW[5:6], 1)
    assert (first[0].id, first[0].label, first[0].uri) == ("i3", "x", "")
    assert each.gallery.stats()["removed"] == 2


def test_the_label_of_what_is_added_votes(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(10))
    labels = {f"i{r}": label_of(r) for r in range(60)} | {f"n{r}": "new" for r in range(10)}
    ids = [item_id for item_id in each.content if labels[item_id] is not None]
    q = NEW[3]
    near = similarities(np.stack([each.content[item_id] for item_id in ids]), q)
    nearest = np.argsort(-near)[:7]
    weights = np.exp(near[nearest] / each.gallery.temperature)
    shares = {
        name: sum(w for w, i in zip(weights, nearest, strict=True) if labels[ids[i]] == name)
        for name in ("even", "new", "odd")
    }

    for gallery in (each.gallery, Gallery.open(each.path)):
        (answer,) = gallery.classify(q[None], 7)

        assert answer.label == max(shares, key=lambda name: shares[name])
        assert answer.probability == pytest.approx(max(shares.values()) / weights.sum(), abs=1e-4)
        assert gallery.classes == ["even", "new", "odd"]
    assert [n.id for n in each.gallery.search(q[None], 99, label="new")[0]] == [
        item_id for item_id, _ in expected({f"n{r}": NEW[r] for r in range(10)}, q, 99)
    ]


def test_an_empty_label_or_split_is_none_before_and_after_reopening(tmp_path: Path) -> None:
    each = case(tmp_path)

    each.gallery.add(["a", "b"], NEW[:2], facts=[ItemFacts(label="", split=""), ItemFacts()])

    for gallery in (each.gallery, Gallery.open(each.path)):
        (found,) = gallery.search(NEW[:1], 1)
        assert (found[0].id, found[0].label, found[0].split) == ("a", None, None)
        assert gallery.classes == ["even", "odd"]
        assert "a" not in [n.id for n in gallery.classify(NEW[:1], 5)[0].neighbours]


def test_labels_that_differ_in_zero_bytes_only_are_told_apart(tmp_path: Path) -> None:
    each = case(tmp_path)
    labels = ["x\0\0", "x", "x\0", "w"]

    each.gallery.add(list("abcd"), NEW[:4], facts=[ItemFacts(label=label) for label in labels])

    for gallery in (each.gallery, Gallery.open(each.path)):
        assert [answer.label for answer in gallery.classify(NEW[:4], 1)] == labels


def test_removed_items_do_not_vote(tmp_path: Path) -> None:
    each = case(tmp_path)
    odd = [f"i{r}" for r in range(60) if label_of(r) == "odd"]

    each.remove(*odd)

    assert {answer.label for answer in each.gallery.classify(vectors())} == {"even"}
    assert each.gallery.classes == ["even"]


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("kind", ["exact", "pq"])
def test_an_empty_gallery_answers_nothing_and_can_be_filled_again(
    tmp_path: Path, standalone: bool, kind: str
) -> None:
    each = case(tmp_path, GalleryRecipe(kind=kind, standalone=standalone, recall=1.0))

    each.remove(*each.content)
    each.check()
    each.gallery.compact()
    each.check()
    assert each.gallery.search(vectors()[:2]) == [[], []]
    with pytest.raises(InputError, match="no item is labelled"):
        each.gallery.classify(vectors()[:1])
    with pytest.raises(InputError, match="query: 2 dimensions"):
        each.gallery.search(np.ones((1, 2), np.float32))
    each.add(range(20))
    each.check()
    each.gallery.fold()
    each.check()
    each.gallery.compact()
    each.check()


def refusals() -> list[tuple[list[str], Any, str]]:
    nan, zero = NEW[:2].copy(), NEW[:2].copy()
    nan[1, 3], zero[1] = np.nan, 0
    return [
        (["a", "i3"], NEW[:2], "add: 'i3' is in the gallery; choose another id, or replace it"),
        (["a", "a"], NEW[:2], "add: 'a' is given twice; give each id once"),
        (["a"], NEW[:2], "add: 1 ids, 2 vectors and 1 facts; needs one of each an item"),
        (["a", "b"], nan, "add: row 1 is NaN or infinite; drop it or embed it again"),
        (["a", "b"], zero, "add: row 1 is zero, which has no direction"),
        (["a", "b"], NEW[:2, :3], "add: vectors of 3 dimensions; the gallery has 6"),
        (["a", "b"], NEW[0], "must be (rows, dimensions)"),
        (["a", ""], NEW[:2], "add: '': ids and facts must be text, ids not empty"),
        (["a", "b\udcff"], NEW[:2], "ids and facts must be text"),
        (cast("list[str]", ["a", 3]), NEW[:2], "add: 3 is no id; ids are text"),
    ]


@pytest.mark.parametrize(("ids", "X", "message"), refusals())
def test_what_cannot_be_added_is_refused_as_a_whole(
    tmp_path: Path, ids: list[str], X: Vectors, message: str
) -> None:
    each = case(tmp_path)

    with pytest.raises(InputError) as caught:
        each.gallery.add(ids, X)

    assert message in str(caught.value)
    each.check()
    assert each.gallery.stats()["pending"] == 0


def test_what_is_not_there_is_not_removed_nor_anything_with_it(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.remove("i5")

    with pytest.raises(InputError, match="remove: no item has the id 'i5', 'x'; nothing was"):
        each.gallery.remove(["i1", "i5", "x"])
    with pytest.raises(InputError, match="remove: 'i1' is given twice"):
        each.gallery.remove(["i1", "i1"])
    with pytest.raises(InputError, match=r"remove: no item has the id 'x\\udcff'"):
        each.gallery.remove(["x\udcff"])
    with pytest.raises(InputError, match=r"remove: \[\] is no id; ids are text"):
        each.gallery.remove(["i1", []])  # type: ignore[list-item]

    each.check()


def test_nothing_to_add_or_remove_changes_nothing(tmp_path: Path) -> None:
    each = case(tmp_path)

    each.gallery.add([], np.empty((0, DIM), np.float32))
    each.gallery.remove([])
    each.gallery.fold()
    each.gallery.compact()

    assert each.gallery.stats()["generation"] == 1


def test_facts_and_thumbnails_stay_with_their_items(tmp_path: Path) -> None:
    each = case(tmp_path)
    facts = ItemFacts(label="é", split="val", uri="/n/0", preview="text", thumbnail=b"\0JPEG")
    each.gallery.add(["n0", "n1"], NEW[:2], facts=[facts, ItemFacts()])
    each.remove("i0")

    for step in ("stats", "fold", "compact"):
        getattr(each.gallery, step)()
        for gallery in (each.gallery, Gallery.open(each.path)):
            (found,) = gallery.search(NEW[:1], 1)
            row = found[0].row
            assert (found[0].id, found[0].label, found[0].split) == ("n0", "é", "val")
            assert (found[0].uri, found[0].preview) == ("/n/0", "text")
            assert (gallery.thumbnail(row), gallery.thumbnail(row + 1)) == (b"\0JPEG", None)
            assert [n.id for n in gallery.describe([row])] == ["n0"]


def test_items_are_listed_by_row_without_thumbnails(tmp_path: Path) -> None:
    each = case(tmp_path)
    facts = ItemFacts(label="é", split="val", uri="/n/0", preview="text", thumbnail=b"\0JPEG")
    each.gallery.add(["n0", "i1"], NEW[:2], facts=[facts, ItemFacts()], replace=True)
    each.gallery.remove(["i0"])
    listed = each.gallery.items()
    each.gallery.remove(["i2"])

    held = list(each.gallery.items())

    ids = [*(f"i{r}" for r in range(3, 60)), "n0", "i1"]
    assert [item_id for item_id, _ in held] == ids
    assert held[0][1] == ItemFacts(label="odd", split="test", uri="/x/3", preview="item 3")
    assert [facts for _, facts in held[-2:]] == [replace(facts, thumbnail=None), ItemFacts()]
    assert [item_id for item_id, _ in listed] == ["i2", *ids]
    for step in ("fold", "compact"):
        getattr(each.gallery, step)()
        for gallery in (each.gallery, Gallery.open(each.path)):
            assert list(gallery.items()) == held


def test_folding_keeps_the_numbers_of_rows(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(8))
    each.remove("i2", "n3")
    before = each.gallery.search(NEW, 9)

    each.gallery.fold()

    assert each.gallery.search(NEW, 9) == before
    assert [n.row for n in each.gallery.search(NEW[7:8], 1)[0]] == [67]


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


def test_compacting_twice_does_nothing_the_second_time(tmp_path: Path) -> None:
    each = case(tmp_path)
    each.add(range(4))
    each.remove("i7", "n2")
    each.gallery.compact()
    before = each.gallery.stats()

    each.gallery.compact()

    assert each.gallery.stats() == before


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
    thread = each.gallery._source._folding  # type: ignore[union-attr]
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


def test_a_reader_sees_changes_folds_and_compactions_of_a_writer(tmp_path: Path) -> None:
    each = case(tmp_path)
    reader = Gallery.open(each.path)

    each.add(range(5))
    each.check(reader)
    each.gallery.fold()
    each.check(reader)
    each.remove("n2", "i9")
    each.check(reader)
    each.gallery.compact()
    each.check(reader)
    each.add(range(5, 9))
    each.gallery.close()
    each.check(reader)


def test_a_reader_sees_that_the_gallery_is_built_anew(tmp_path: Path) -> None:
    each = case(tmp_path)
    reader = Gallery.open(each.path)
    each.add(range(5))
    each.gallery.close()
    each.check(reader)
    other = write_set(tmp_path / "b.emb", NEW)

    with pytest.raises(StoreError, match=r"added or removed online .5.*--drop-changes"):
        build_gallery(other, each.path, EXACT)
    each.check(reader)
    build_gallery(other, each.path, replace(EXACT, drop_changes=True))

    each.content = {f"i{r}": x for r, x in enumerate(NEW)}
    each.check(reader)
    shutil.rmtree(each.path)
    with pytest.raises(StoreError, match=r"no such gallery; build one with: featx index"):
        reader.search(NEW[:1])
    build_gallery(other, each.path, EXACT)
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


def test_there_is_one_writer(tmp_path: Path) -> None:
    each = case(tmp_path)

    with pytest.raises(StoreError, match="another process is writing to it; wait for it to end"):
        Gallery.open(each.path, writable=True)
    with pytest.raises(StoreError, match="another process is writing to it"):
        build_gallery(EmbeddingSet.open(tmp_path / "a.emb"), each.path, EXACT)
    each.gallery.close()
    with Gallery.open(each.path, writable=True) as second:
        second.remove(["i0"])
    with Gallery.open(each.path, writable=True) as third:
        assert len(third) == 59


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


def test_a_reader_cannot_write_and_what_is_closed_does_nothing(tmp_path: Path) -> None:
    each = case(tmp_path)
    reader = Gallery.open(each.path)

    with pytest.raises(StoreError, match=r"opened for reading only; use .*writable=True"):
        reader.add(["a"], NEW[:1])
    with pytest.raises(StoreError, match=r"opened for reading only; use .*writable=True"):
        reader.remove(["i0"])
    reader.close()
    each.gallery.close()
    each.gallery.close()
    for closed in (reader, each.gallery):
        with pytest.raises(StoreError, match="is closed; open it again"):
            closed.search(NEW[:1])


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


def test_a_text_in_the_place_of_ids_or_of_vectors_is_refused(tmp_path: Path) -> None:
    each = case(tmp_path)

    with pytest.raises(InputError, match=r"remove: ids is the text 'i1'; .*: \['i1'\]"):
        each.gallery.remove("i1")
    with pytest.raises(InputError, match="add: ids is the text 'ab'"):
        each.gallery.add("ab", NEW[:2])
    with pytest.raises(InputError, match="query: not numbers; encode items first"):
        each.gallery.search(np.array(["a hailstorm"]))
    each.check()


def test_a_set_may_be_named_by_its_path(tmp_path: Path) -> None:
    write_set(tmp_path / "a.emb", vectors())

    with build_gallery(str(tmp_path / "a.emb"), tmp_path / "a.knn", EXACT) as built:
        assert [n.id for n in built.search(vectors()[3:4], 1)[0]] == ["i3"]
