"""What every gallery does, whatever it is kept by: searched, asked, changed and read meanwhile."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter, relabelled
from featx.errors import InputError, StoreError, UnknownNameError
from featx.gallery.build import GalleryRecipe
from featx.gallery.gallery import Gallery, ItemFacts
from featx.types import Vectors
from gallery_sets import (
    DIM,
    EXACT,
    MODEL,
    NEW,
    expected,
    label_of,
    pairs,
    similarities,
    split_of,
    vectors,
    write_set,
)
from postgres import Keeper


@pytest.mark.parametrize("segment", [99, 25])
@pytest.mark.parametrize("standalone", [False, True])
def test_a_search_gives_the_nearest_items_with_their_facts(
    tmp_path: Path, keeper: Keeper, segment: int, standalone: bool
) -> None:
    recipe = GalleryRecipe(kind="exact", standalone=standalone)
    X, gallery = vectors(), keeper.build(tmp_path, recipe, segment=segment)
    q = np.array([1, 2, 0, -1, 0, 3], np.float32)
    order = np.argsort(-similarities(X, q))[:4]

    (found,) = gallery.search(10 * q[None], 4)

    assert [n.row for n in found] == order.tolist()
    assert [n.id for n in found] == [f"i{r}" for r in order]
    assert [n.label for n in found] == [label_of(r) for r in order]
    assert [n.split for n in found] == [split_of(r) for r in order]
    assert [n.uri for n in found] == [f"/x/{r}" for r in order]
    assert [n.preview for n in found] == [f"item {r}" for r in order]
    np.testing.assert_allclose([n.similarity for n in found], similarities(X, q)[order], atol=1e-6)


@pytest.mark.parametrize("segment", [99, 25])
def test_a_filter_leaves_the_items_of_a_label_or_split(
    tmp_path: Path, keeper: Keeper, segment: int
) -> None:
    X, gallery = vectors(), keeper.build(tmp_path, segment=segment)
    odd = [r for r in range(60) if label_of(r) == "odd"]
    odd_test = [r for r in odd if split_of(r) == "test"]

    (found,) = gallery.search(X[:1], 60, label="odd")
    (both,) = gallery.search(X[:1], 60, label="odd", split="test")

    assert pairs(found) == expected({f"i{r}": X[r] for r in odd}, X[0], 60)
    assert pairs(both) == expected({f"i{r}": X[r] for r in odd_test}, X[0], 60)
    with pytest.raises(UnknownNameError, match="unknown label 'ood'; did you mean 'odd'"):
        gallery.search(X[:1], label="ood")
    with pytest.raises(UnknownNameError, match="unknown split 'val'"):
        gallery.search(X[:1], split="val")


def test_a_vote_is_taken_among_labelled_items_only(tmp_path: Path, keeper: Keeper) -> None:
    X, gallery = vectors(), keeper.build(tmp_path)
    labelled = np.array([r for r in range(len(X)) if label_of(r) is not None])
    near = similarities(X[labelled], X[4])
    nearest = np.argsort(-near)[:9]
    weights = np.exp(near[nearest] / gallery.temperature)
    even = weights[labelled[nearest] % 2 == 0].sum() / weights.sum()

    (answer,) = gallery.classify(X[4:5], 9)

    assert [n.row for n in answer.neighbours] == labelled[nearest].tolist()
    assert answer.label == ("even" if even > 0.5 else "odd")
    assert answer.probability == pytest.approx(max(even, 1 - even), abs=1e-4)
    votes = [n.vote for n in answer.neighbours]
    np.testing.assert_allclose(np.array(votes, float), weights / weights.sum(), atol=1e-4)


def test_a_vote_that_is_not_clear_enough_gives_no_label(tmp_path: Path, keeper: Keeper) -> None:
    gallery = keeper.build(tmp_path)
    answers = gallery.classify(vectors(), 9)
    limit = float(np.median([answer.probability for answer in answers]))

    careful = gallery.classify(vectors(), 9, abstain_below=limit)

    assert [answer.label for answer in careful] == [
        answer.label if answer.probability >= limit else None for answer in answers
    ]
    assert None in [answer.label for answer in careful]


def test_a_query_far_from_all_items_is_novel(tmp_path: Path, keeper: Keeper) -> None:
    X = np.abs(vectors(150))
    gallery = keeper.build_from(write_set(tmp_path / "a.emb", X, segment=200), tmp_path / "a.knn")
    labelled = np.array([r for r in range(150) if label_of(r) is not None])
    others = np.stack([similarities(X[labelled], X[r]) for r in labelled])
    np.fill_diagonal(others, -1)

    near, far = gallery.classify(np.stack([X[0], -X[0]]))

    limit = gallery.facts["novel_below"]
    assert limit == pytest.approx(np.quantile(others.max(axis=1), 0.01), abs=1e-5)
    assert (near.novel, far.novel) == (False, True)


def test_a_small_gallery_does_not_say_what_is_novel(tmp_path: Path, keeper: Keeper) -> None:
    (answer,) = keeper.build(tmp_path).classify(vectors()[:1])

    assert answer.novel is None


def test_the_chosen_vote_has_the_accuracy_it_claims(tmp_path: Path, keeper: Keeper) -> None:
    X, gallery = vectors(), keeper.build(tmp_path)
    rows = np.array([r for r in range(len(X)) if label_of(r) is not None])
    right = 0
    for row in rows:
        rest = rows[rows != row]
        near = similarities(X[rest], X[row])
        nearest = np.argsort(-near)[: gallery.k]
        weights = np.exp(near[nearest] / gallery.temperature)
        even = weights[rest[nearest] % 2 == 0].sum() / weights.sum()
        right += (even > 0.5) == (row % 2 == 0)

    assert gallery.facts["metrics"]["accuracy"] == pytest.approx(right / len(rows))


def test_thumbnails_are_stored_with_their_items(tmp_path: Path, keeper: Keeper) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors(), segment=25)

    def picture(rows: list[int]) -> list[bytes | None]:
        return [None if row == 7 else b"JPEG%d" % row for row in rows]

    gallery = keeper.build_from(embedding_set, tmp_path / "a.knn", EXACT, thumbnails=picture)

    assert [gallery.thumbnail(row) for row in (0, 7, 59)] == [b"JPEG0", None, b"JPEG59"]
    with pytest.raises(InputError, match="row: found 60; the gallery has "):
        gallery.thumbnail(60)


def test_zero_vectors_and_zero_queries_have_similarity_zero(tmp_path: Path, keeper: Keeper) -> None:
    X = vectors()
    X[7] = 0
    gallery = keeper.build_from(write_set(tmp_path / "a.emb", X), tmp_path / "a.knn", EXACT)

    (found,) = gallery.search(np.ones((1, DIM), np.float32), 60)
    (of_zero,) = gallery.search(np.zeros((1, DIM), np.float32), 3)

    assert [n.similarity for n in found if n.row == 7] == [0.0]
    assert [(n.row, n.similarity) for n in of_zero] == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_vectors_and_queries_that_cannot_be_compared_are_refused(
    tmp_path: Path, keeper: Keeper
) -> None:
    X = vectors()
    X[7, 2] = np.nan
    embedding_set = write_set(tmp_path / "bad.emb", X)
    gallery = keeper.build(tmp_path)

    with pytest.raises(InputError, match=r"bad\.emb: row 7 is NaN or infinite: item 'i7'; restore"):
        keeper.build_from(embedding_set, tmp_path / "bad.knn", EXACT)
    assert not (tmp_path / "bad.knn").exists()
    with pytest.raises(InputError, match=r"^query: row 7 is NaN"):
        gallery.search(X)
    with pytest.raises(InputError, match="query: 3 dimensions; the gallery has 6"):
        gallery.classify(np.ones((1, 3), np.float32))
    with pytest.raises(InputError, match="k: found 0; must be at least 1"):
        gallery.search(vectors()[:1], 0)
    with pytest.raises(InputError, match=r"k: found 2\.5; must be a whole number, at least 1"):
        gallery.search(vectors()[:1], 2.5)  # type: ignore[arg-type]
    assert gallery.search(vectors()[:1], np.int64(1)) == gallery.search(vectors()[:1], 1)  # type: ignore[arg-type]
    for share in (float("nan"), -0.1, 1.1):
        with pytest.raises(InputError, match=f"abstain_below: found {share}; must be from 0 to 1"):
            gallery.classify(vectors()[:1], abstain_below=share)
    assert "x\udcff" not in gallery
    assert gallery.search(np.empty((0, DIM), np.float32)) == []


def test_a_set_without_labels_can_be_searched_but_not_asked(tmp_path: Path, keeper: Keeper) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors()[4:5])
    with SetWriter(tmp_path / "a.emb", model=MODEL) as writer:
        embedding_set = writer.update(relabelled(embedding_set.items, {"i0": None}, {}))
    gallery = keeper.build_from(embedding_set, tmp_path / "a.knn", EXACT)

    assert (gallery.facts["metrics"]["accuracy"], gallery.facts["metrics"]["n"]) == (None, 0)
    assert [n.id for n in gallery.search(vectors()[:1])[0]] == ["i0"]
    with pytest.raises(InputError, match=r"no item is labelled; run: featx label"):
        gallery.classify(vectors()[:1])


def test_of_rows_with_one_id_the_last_counts(tmp_path: Path, keeper: Keeper) -> None:
    X = vectors(3)
    model, ids = MODEL, ["a", "b", "a"]
    with SetWriter(tmp_path / "a.emb", model=model) as writer:
        writer.append([Row(id=item_id, digest="00") for item_id in ids], X)
        writer.seal()

    gallery = keeper.build_from(EmbeddingSet.open(tmp_path / "a.emb"), tmp_path / "a.knn", EXACT)

    assert pairs(gallery.search(X[:1], 9)[0]) == expected({"b": X[1], "a": X[2]}, X[0], 9)
    assert len(gallery) == 2


def test_items_are_described_and_their_neighbours_listed(tmp_path: Path, keeper: Keeper) -> None:
    X, gallery = vectors(), keeper.build(tmp_path)
    X[1] = X[30] = X[40]
    gallery = keeper.build_from(write_set(tmp_path / "b.emb", X), tmp_path / "b.knn", EXACT)

    ((rows, near),) = gallery.neighbours_of_items(2)
    ((alike, twins),) = gallery.neighbours_of_items(1, threshold=0.9999)

    assert rows.tolist() == list(range(60))
    for row, others in zip(rows, near.rows, strict=True):
        similar = similarities(X, X[row]).astype(np.float32)
        similar[row] = -2
        assert others.tolist() == np.argsort(-similar, kind="stable")[:2].tolist()
    assert (alike.tolist(), twins.rows.ravel().tolist()) == ([1, 30, 40], [30, 1, 1])
    assert [n.id for n in gallery.describe([3, 1])] == ["i3", "i1"]


def test_classes_are_those_of_the_items(tmp_path: Path, keeper: Keeper) -> None:
    assert keeper.build(tmp_path).classes == ["even", "odd"]
    assert len(Gallery.open(tmp_path / "a.knn")) == 60


def test_a_replaced_item_has_its_new_vector_and_facts(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
    each.add(range(1))

    each.gallery.add(
        ["i3", "n0"], NEW[5:7], facts=[ItemFacts(label="x"), ItemFacts(split="val")], replace=True
    )

    each.content |= {"i3": NEW[5], "n0": NEW[6]}
    each.check()
    (first,) = each.gallery.search(NEW[5:6], 1)
    assert (first[0].id, first[0].label, first[0].uri) == ("i3", "x", "")
    assert each.gallery.stats()["removed"] == 2


def test_the_label_of_what_is_added_votes(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
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


def test_an_empty_label_or_split_is_none_before_and_after_reopening(
    tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)

    each.gallery.add(["a", "b"], NEW[:2], facts=[ItemFacts(label="", split=""), ItemFacts()])

    for gallery in (each.gallery, Gallery.open(each.path)):
        (found,) = gallery.search(NEW[:1], 1)
        assert (found[0].id, found[0].label, found[0].split) == ("a", None, None)
        assert gallery.classes == ["even", "odd"]
        assert "a" not in [n.id for n in gallery.classify(NEW[:1], 5)[0].neighbours]


def test_removed_items_do_not_vote(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
    odd = [f"i{r}" for r in range(60) if label_of(r) == "odd"]

    each.remove(*odd)

    assert {answer.label for answer in each.gallery.classify(vectors())} == {"even"}
    assert each.gallery.classes == ["even"]


@pytest.mark.parametrize("standalone", [False, True])
@pytest.mark.parametrize("kind", ["exact", "pq"])
def test_an_empty_gallery_answers_nothing_and_can_be_filled_again(
    tmp_path: Path, keeper: Keeper, standalone: bool, kind: str
) -> None:
    each = keeper.case(tmp_path, GalleryRecipe(kind=kind, standalone=standalone, recall=1.0))

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
    tmp_path: Path, keeper: Keeper, ids: list[str], X: Vectors, message: str
) -> None:
    each = keeper.case(tmp_path)

    with pytest.raises(InputError) as caught:
        each.gallery.add(ids, X)

    assert message in str(caught.value)
    each.check()
    assert each.gallery.stats()["pending"] == 0


def test_what_is_not_there_is_not_removed_nor_anything_with_it(
    tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)
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


def test_nothing_to_add_or_remove_changes_nothing(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)

    each.gallery.add([], np.empty((0, DIM), np.float32))
    each.gallery.remove([])
    each.gallery.fold()
    each.gallery.compact()

    assert each.gallery.stats()["generation"] == 1


def test_facts_and_thumbnails_stay_with_their_items(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
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


def test_items_are_listed_by_row_without_thumbnails(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
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


@pytest.mark.parametrize("most", [7, 1000])
def test_items_are_read_in_blocks_with_their_vectors(
    most: int, tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)
    each.add(range(5))
    each.remove("i0", "i13", "n2")
    held = each.gallery.snapshot

    blocks = list(held.blocks(most))

    sizes = [most] * (62 // most) + [62 % most]
    assert [len(block.rows) for block in blocks] == sizes
    np.testing.assert_array_equal(np.concatenate([b.rows for b in blocks]), held.rows)
    np.testing.assert_array_equal(np.concatenate([b.X for b in blocks]), held.vectors(held.rows))
    assert [item for block in blocks for item in block.items] == list(held.items())


def test_folding_keeps_the_numbers_of_rows(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
    each.add(range(8))
    each.remove("i2", "n3")
    before = each.gallery.search(NEW, 9)

    each.gallery.fold()

    assert each.gallery.search(NEW, 9) == before
    assert [n.row for n in each.gallery.search(NEW[7:8], 1)[0]] == [67]


def test_compacting_twice_does_nothing_the_second_time(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
    each.add(range(4))
    each.remove("i7", "n2")
    each.gallery.compact()
    before = each.gallery.stats()

    each.gallery.compact()

    assert each.gallery.stats() == before


def test_a_reader_sees_changes_folds_and_compactions_of_a_writer(
    tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)
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


def test_a_reader_sees_that_the_gallery_is_built_anew(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)
    reader = Gallery.open(each.path)
    each.add(range(5))
    each.gallery.close()
    each.check(reader)
    other = write_set(tmp_path / "b.emb", NEW)

    with pytest.raises(StoreError, match=r"added or removed online .5.*--drop-changes"):
        keeper.build_from(other, each.path, EXACT)
    each.check(reader)
    keeper.build_from(other, each.path, replace(EXACT, drop_changes=True))

    each.content = {f"i{r}": x for r, x in enumerate(NEW)}
    each.check(reader)
    shutil.rmtree(each.path)
    with pytest.raises(StoreError, match=r"no such gallery; build one with: featx index"):
        reader.search(NEW[:1])
    keeper.build_from(other, each.path, EXACT)
    each.check(reader)


def test_there_is_one_writer(tmp_path: Path, keeper: Keeper) -> None:
    each = keeper.case(tmp_path)

    with pytest.raises(StoreError, match="another process is writing to it; wait for it to end"):
        Gallery.open(each.path, writable=True)
    with pytest.raises(StoreError, match="another process is writing to it"):
        keeper.build_from(EmbeddingSet.open(tmp_path / "a.emb"), each.path, EXACT)
    each.gallery.close()
    with Gallery.open(each.path, writable=True) as second:
        second.remove(["i0"])
    with Gallery.open(each.path, writable=True) as third:
        assert len(third) == 59


def test_a_reader_cannot_write_and_what_is_closed_does_nothing(
    tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)
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


def test_a_text_in_the_place_of_ids_or_of_vectors_is_refused(
    tmp_path: Path, keeper: Keeper
) -> None:
    each = keeper.case(tmp_path)

    with pytest.raises(InputError, match=r"remove: ids is the text 'i1'; .*: \['i1'\]"):
        each.gallery.remove("i1")
    with pytest.raises(InputError, match="add: ids is the text 'ab'"):
        each.gallery.add("ab", NEW[:2])
    with pytest.raises(InputError, match="query: not numbers; encode items first"):
        each.gallery.search(np.array(["a hailstorm"]))
    each.check()
