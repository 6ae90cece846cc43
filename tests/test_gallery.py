"""Galleries on disk: built from a set, opened with checks, searched and asked for a vote."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter, relabelled
from featx.errors import InputError, StoreError, UnknownNameError
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery
from featx.index.metric import METRICS, MetricName
from gallery_sets import (
    DIM,
    EXACT,
    MODEL,
    build,
    expected,
    label_of,
    pairs,
    similarities,
    split_of,
    vectors,
    write_set,
)

MEND = r"; run: featx index .*a\.emb -o .*a\.knn"


@pytest.mark.parametrize("segment", [99, 25])
@pytest.mark.parametrize("standalone", [False, True])
def test_a_search_gives_the_nearest_items_with_their_facts(
    tmp_path: Path, segment: int, standalone: bool
) -> None:
    recipe = GalleryRecipe(kind="exact", standalone=standalone)
    X, gallery = vectors(), build(tmp_path, recipe, segment=segment)
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


@pytest.mark.parametrize("kind", ["exact", "numpy", "pq", "auto"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_kind_and_metric_agrees_with_numpy(
    tmp_path: Path, kind: str, metric: MetricName
) -> None:
    gallery = build(tmp_path, GalleryRecipe(kind=kind, metric=metric, recall=1.0))
    content = {f"i{r}": x for r, x in enumerate(vectors())}

    for q, found in zip(vectors(5, seed=1), gallery.search(vectors(5, seed=1), 7), strict=True):
        assert pairs(found) == expected(content, q, 7, metric)


@pytest.mark.parametrize("segment", [99, 25])
def test_a_filter_leaves_the_items_of_a_label_or_split(tmp_path: Path, segment: int) -> None:
    X, gallery = vectors(), build(tmp_path, segment=segment)
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


def test_a_vote_is_taken_among_labelled_items_only(tmp_path: Path) -> None:
    X, gallery = vectors(), build(tmp_path)
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


def test_a_vote_that_is_not_clear_enough_gives_no_label(tmp_path: Path) -> None:
    gallery = build(tmp_path)
    answers = gallery.classify(vectors(), 9)
    limit = float(np.median([answer.probability for answer in answers]))

    careful = gallery.classify(vectors(), 9, abstain_below=limit)

    assert [answer.label for answer in careful] == [
        answer.label if answer.probability >= limit else None for answer in answers
    ]
    assert None in [answer.label for answer in careful]


def test_a_query_far_from_all_items_is_novel(tmp_path: Path) -> None:
    X = np.abs(vectors(150))
    gallery = build_gallery(write_set(tmp_path / "a.emb", X, segment=200), tmp_path / "a.knn")
    labelled = np.array([r for r in range(150) if label_of(r) is not None])
    others = np.stack([similarities(X[labelled], X[r]) for r in labelled])
    np.fill_diagonal(others, -1)

    near, far = gallery.classify(np.stack([X[0], -X[0]]))

    limit = gallery.facts["novel_below"]
    assert limit == pytest.approx(np.quantile(others.max(axis=1), 0.01), abs=1e-5)
    assert (near.novel, far.novel) == (False, True)


def test_a_small_gallery_does_not_say_what_is_novel(tmp_path: Path) -> None:
    (answer,) = build(tmp_path).classify(vectors()[:1])

    assert answer.novel is None


def test_the_file_says_what_the_gallery_is(tmp_path: Path) -> None:
    recipe = GalleryRecipe(kind="exact", command="featx index a.emb", versions={"featx": "1"})
    gallery = build(tmp_path, recipe)

    facts = json.loads((tmp_path / "a.knn" / "gallery.json").read_text())

    embedding_set = EmbeddingSet.open(tmp_path / "a.emb")
    assert (facts["format"], facts["version"]) == ("featx-gallery", 2)
    assert facts["set"] == {
        "path": "a.emb",
        "set_id": embedding_set.set_id,
        "segments": ["segment-00000"],
        "items": ["segment-00000.parquet"],
        "rows": 60,
    }
    assert (facts["model"], facts["dim"], facts["metric"]) == ("identity", DIM, "cosine")
    assert (facts["index"]["kind"], facts["index"]["asked"]) == ("exact", "exact")
    assert (facts["command"], facts["versions"]) == ("featx index a.emb", {"featx": "1"})
    assert (facts["metrics"]["n"], facts["metrics"]["recall"]) == (48, 1.0)
    assert facts["k"] == gallery.k
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.emb", "a.knn"]
    named = {"gallery.json", "lock", "log.sqlite", *facts["files"]}
    assert {p.name for p in gallery.path.iterdir()} - {"log.sqlite-wal", "log.sqlite-shm"} == named


def test_the_chosen_vote_has_the_accuracy_it_claims(tmp_path: Path) -> None:
    X, gallery = vectors(), build(tmp_path)
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


def test_the_log_is_empty_and_in_wal_mode(tmp_path: Path) -> None:
    log = sqlite3.connect(build(tmp_path).path / "log.sqlite")

    columns = [column[1] for column in log.execute("PRAGMA table_info(log)")]
    rows, mode = log.execute("SELECT * FROM log").fetchall(), log.execute("PRAGMA journal_mode")

    assert columns == ["seq", "action", "id", "facts", "thumbnail", "vector"]
    assert (rows, mode.fetchone()) == ([], ("wal",))
    assert log.execute("SELECT generation FROM state").fetchall() == [(1,)]
    log.close()


@pytest.mark.parametrize("segment", [99, 25])
def test_vectors_are_not_copied(tmp_path: Path, segment: int) -> None:
    X = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    embedding_set = write_set(tmp_path / "a.emb", X, normalize=True, segment=segment)

    stack = build_gallery(embedding_set, tmp_path / "a.knn", EXACT).snapshot.base.stack

    assert not any(part.flags.owndata or part.flags.writeable for part in stack.parts)
    assert not list((tmp_path / "a.knn").glob("vectors-*"))


def test_opening_does_not_read_the_vectors(tmp_path: Path) -> None:
    path = build(tmp_path).path
    segment = tmp_path / "a.emb" / "segment-00000.npy"
    segment.write_bytes(segment.read_bytes()[:128] + b"\xff" * (60 * DIM * 4))  # all are NaN

    assert len(Gallery.open(path)) == 60


def test_both_folders_can_be_moved_together(tmp_path: Path) -> None:
    expected_answer = build(tmp_path / "here").search(vectors()[:3])
    shutil.move(tmp_path / "here", tmp_path / "there")

    assert Gallery.open(tmp_path / "there" / "a.knn").search(vectors()[:3]) == expected_answer


@pytest.mark.parametrize("metric", METRICS)
def test_a_gallery_that_stands_alone_needs_no_set(tmp_path: Path, metric: MetricName) -> None:
    recipe = GalleryRecipe(kind="exact", standalone=True, metric=metric)
    answer = build(tmp_path, recipe, segment=25).search(vectors()[:3])
    shutil.rmtree(tmp_path / "a.emb")

    gallery = Gallery.open(tmp_path / "a.knn")

    assert gallery.search(vectors()[:3]) == answer
    assert gallery.stats()["standalone"]


def test_thumbnails_are_stored_with_their_items(tmp_path: Path) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors(), segment=25)

    def picture(rows: list[int]) -> list[bytes | None]:
        return [None if row == 7 else b"JPEG%d" % row for row in rows]

    gallery = build_gallery(embedding_set, tmp_path / "a.knn", EXACT, thumbnails=picture)

    assert [gallery.thumbnail(row) for row in (0, 7, 59)] == [b"JPEG0", None, b"JPEG59"]
    with pytest.raises(InputError, match="row: found 60; the gallery has rows 0 to 59"):
        gallery.thumbnail(60)


def test_zero_vectors_and_zero_queries_have_similarity_zero(tmp_path: Path) -> None:
    X = vectors()
    X[7] = 0
    gallery = build_gallery(write_set(tmp_path / "a.emb", X), tmp_path / "a.knn", EXACT)

    (found,) = gallery.search(np.ones((1, DIM), np.float32), 60)
    (of_zero,) = gallery.search(np.zeros((1, DIM), np.float32), 3)

    assert [n.similarity for n in found if n.row == 7] == [0.0]
    assert [(n.row, n.similarity) for n in of_zero] == [(0, 0.0), (1, 0.0), (2, 0.0)]


def test_vectors_and_queries_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    X = vectors()
    X[7, 2] = np.nan
    embedding_set = write_set(tmp_path / "bad.emb", X)
    gallery = build(tmp_path)

    with pytest.raises(InputError, match=r"bad\.emb: row 7 is NaN or infinite: item 'i7'; restore"):
        build_gallery(embedding_set, tmp_path / "bad.knn", EXACT)
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


def test_what_cannot_be_built_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors())
    with SetWriter(tmp_path / "b.emb", model=MODEL):
        pass
    out = tmp_path / "a.knn"

    with pytest.raises(InputError, match=r"b\.emb: holds no embedding; run featx embed first"):
        build_gallery(EmbeddingSet.open(tmp_path / "b.emb"), out)
    with pytest.raises(UnknownNameError, match="unknown index 'exakt'; did you mean 'exact'"):
        build_gallery(embedding_set, out, GalleryRecipe(kind="exakt"))
    with pytest.raises(InputError, match=r"recall: found 1\.5; must be above 0 and at most 1"):
        build_gallery(embedding_set, out, GalleryRecipe(recall=1.5))
    assert not out.exists()


def test_a_set_without_labels_can_be_searched_but_not_asked(tmp_path: Path) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors()[4:5])
    with SetWriter(tmp_path / "a.emb", model=MODEL) as writer:
        embedding_set = writer.update(relabelled(embedding_set.items, {"i0": None}, {}))
    gallery = build_gallery(embedding_set, tmp_path / "a.knn", EXACT)

    assert (gallery.facts["metrics"]["accuracy"], gallery.facts["metrics"]["n"]) == (None, 0)
    assert [n.id for n in gallery.search(vectors()[:1])[0]] == ["i0"]
    with pytest.raises(InputError, match=r"no item is labelled; run: featx label"):
        gallery.classify(vectors()[:1])


def test_of_rows_with_one_id_the_last_counts(tmp_path: Path) -> None:
    X = vectors(3)
    model, ids = MODEL, ["a", "b", "a"]
    with SetWriter(tmp_path / "a.emb", model=model) as writer:
        writer.append([Row(id=item_id, digest="00") for item_id in ids], X)
        writer.seal()

    gallery = build_gallery(EmbeddingSet.open(tmp_path / "a.emb"), tmp_path / "a.knn", EXACT)

    assert pairs(gallery.search(X[:1], 9)[0]) == expected({"b": X[1], "a": X[2]}, X[0], 9)
    assert len(gallery) == 2


def test_items_are_described_and_their_neighbours_listed(tmp_path: Path) -> None:
    X, gallery = vectors(), build(tmp_path)
    X[1] = X[30] = X[40]
    gallery = build_gallery(write_set(tmp_path / "b.emb", X), tmp_path / "b.knn", EXACT)

    ((rows, near),) = gallery.neighbours_of_items(2)
    ((alike, twins),) = gallery.neighbours_of_items(1, threshold=0.9999)

    assert rows.tolist() == list(range(60))
    for row, others in zip(rows, near.rows, strict=True):
        similar = similarities(X, X[row]).astype(np.float32)
        similar[row] = -2
        assert others.tolist() == np.argsort(-similar, kind="stable")[:2].tolist()
    assert (alike.tolist(), twins.rows.ravel().tolist()) == ([1, 30, 40], [30, 1, 1])
    assert [n.id for n in gallery.describe([3, 1])] == ["i3", "i1"]


def test_a_gallery_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    build(tmp_path)
    embedding_set = EmbeddingSet.open(tmp_path / "a.emb")

    again = build_gallery(embedding_set, tmp_path / "a.knn", GalleryRecipe(command="again"))

    assert again.facts["command"] == "again"
    assert set(again.facts["files"]) < {p.name for p in again.path.iterdir()}
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for stranger in (tmp_path / "photos", tmp_path / "photos" / "cat.jpg"):
        with pytest.raises(StoreError, match="exists and is no gallery"):
            build_gallery(embedding_set, stranger)
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.emb", "a.knn", "photos"]


def test_a_build_that_fails_leaves_the_old_gallery_whole(tmp_path: Path) -> None:
    gallery = build(tmp_path)
    before = {p.name: p.read_bytes() for p in gallery.path.iterdir() if p.suffix != ".sqlite"}
    X = vectors()
    X[7] = np.inf

    with pytest.raises(InputError, match="row 7 is NaN or infinite"):
        build_gallery(write_set(tmp_path / "b.emb", X), gallery.path, EXACT)

    after = {p.name: p.read_bytes() for p in gallery.path.iterdir() if p.suffix != ".sqlite"}
    assert {name: after[name] for name in before} == before
    assert pairs(gallery.search(vectors()[:1], 1)[0]) == [("i0", 1.0)]


def files_of(path: Path) -> list[str]:
    return [*json.loads((path / "gallery.json").read_text())["files"], "gallery.json"]


@pytest.mark.parametrize("kind", ["exact", "pq"])
def test_a_missing_file_is_named_with_the_command_that_mends_it(tmp_path: Path, kind: str) -> None:
    whole = build(tmp_path, GalleryRecipe(kind=kind, standalone=True)).path
    for name in [*files_of(whole), "log.sqlite"]:
        path = tmp_path / "copy" / "a.knn"
        shutil.copytree(whole, path)
        (path / name).unlink()

        for writable in (False, True):
            with pytest.raises(StoreError, match=rf"{name} is missing.*; run: featx index .* -o "):
                Gallery.open(path, writable=writable)
        shutil.rmtree(path)


@pytest.mark.parametrize("kind", ["exact", "pq"])
def test_a_damaged_file_is_named_with_the_command_that_mends_it(tmp_path: Path, kind: str) -> None:
    whole = build(tmp_path, GalleryRecipe(kind=kind, standalone=True)).path
    for name in [*files_of(whole), "log.sqlite"]:
        path = tmp_path / "copy" / "a.knn"
        shutil.copytree(whole, path)
        for ending in ("-wal", "-shm"):
            (path / f"log.sqlite{ending}").unlink(missing_ok=True)
        (path / name).write_bytes(b"foreign" * 30)

        for writable in (False, True):
            with pytest.raises(StoreError, match=rf"{name}.*; run: featx index .* -o .*a\.knn"):
                Gallery.open(path, writable=writable)
        shutil.rmtree(path)


@pytest.mark.parametrize("noun", ["items", "order", "index", "norms"])
def test_a_foreign_file_of_the_right_size_is_not_taken_for_ours(tmp_path: Path, noun: str) -> None:
    path = build(tmp_path, GalleryRecipe(kind="pq")).path
    (file,) = path.glob(f"{noun}-*")
    content = bytearray(file.read_bytes())
    content[:64] = content[-64:] = b"?" * 64
    file.write_bytes(content)

    with pytest.raises(StoreError, match=rf"{file.name} is .*damaged.*; run: featx index"):
        Gallery.open(path)


def test_galleries_of_other_versions_are_refused_by_name(tmp_path: Path) -> None:
    path = build(tmp_path).path
    facts = json.loads((path / "gallery.json").read_text())

    (path / "gallery.json").write_text(json.dumps(facts | {"version": 3}))
    with pytest.raises(StoreError, match=r"featx-gallery version 3 is newer than 2; upgrade"):
        Gallery.open(path)
    (path / "gallery.json").write_text(json.dumps(facts | {"version": 1}))
    with pytest.raises(StoreError, match=r"version 1 is older than 2; run: featx index SET -o"):
        Gallery.open(path)


def test_a_gallery_of_version_1_is_built_anew_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.knn"
    path.mkdir()
    (path / "gallery.json").write_text('{"format": "featx-gallery", "version": 1}')
    (path / "items.parquet").write_bytes(b"PAR1")
    log = sqlite3.connect(path / "log.sqlite")
    log.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, action TEXT, id TEXT, label TEXT)")
    log.close()

    gallery = build(tmp_path)

    assert pairs(gallery.search(vectors()[:1], 1)[0]) == [("i0", 1.0)]
    assert not (path / "items.parquet").exists()


def test_a_gallery_that_is_damaged_beyond_reading_is_built_anew(tmp_path: Path) -> None:
    path = build(tmp_path).path
    for name in ("gallery.json", "log.sqlite"):
        (path / name).write_bytes(b"damaged" * 999)
    for ending in ("-wal", "-shm"):
        (path / f"log.sqlite{ending}").unlink(missing_ok=True)

    embedding_set = EmbeddingSet.open(tmp_path / "a.emb")
    with pytest.raises(
        StoreError, match=r"log\.sqlite: file is not a database; give --drop-changes"
    ):
        build_gallery(embedding_set, path, EXACT)
    gallery = build_gallery(embedding_set, path, GalleryRecipe(drop_changes=True))

    assert pairs(gallery.search(vectors()[:1], 1)[0]) == [("i0", 1.0)]


def test_what_is_no_gallery_is_not_opened(tmp_path: Path) -> None:
    for writable in (False, True):
        with pytest.raises(StoreError, match="no such gallery; build one with: featx index SET"):
            Gallery.open(tmp_path / "none.knn", writable=writable)
    assert not (tmp_path / "none.knn").exists()


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    path = build(tmp_path).path
    shutil.rmtree(tmp_path / "a.emb")

    with pytest.raises(
        StoreError, match=r"its set .*a\.emb is gone; put it back; run: featx index SET -o"
    ):
        Gallery.open(path)


def test_a_set_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path).path
    with SetWriter(tmp_path / "a.emb", model=MODEL) as writer:
        writer.append([Row(id="new", digest="00")], vectors()[:1])
        writer.seal()

    with pytest.raises(StoreError, match=r"a\.emb has changed since .*" + MEND):
        Gallery.open(path)


def test_another_set_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path).path
    shutil.rmtree(tmp_path / "a.emb")
    write_set(tmp_path / "a.emb", vectors())

    with pytest.raises(StoreError, match=r"changed since \(set_id differs\)"):
        Gallery.open(path)


def test_classes_are_those_of_the_items(tmp_path: Path) -> None:
    assert build(tmp_path).classes == ["even", "odd"]
    assert len(Gallery.open(tmp_path / "a.knn")) == 60
