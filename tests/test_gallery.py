"""Galleries on disk: built from a set, opened with checks, searched and asked for a vote."""

import json
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from featx.data.rows import Row
from featx.data.store import EmbeddingSet
from featx.data.writer import SetWriter
from featx.errors import InputError, StoreError, UnknownNameError
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery
from featx.gallery.snapshot import Snapshot
from featx.index.metric import METRICS, MetricName
from gallery_sets import (
    DIM,
    EXACT,
    MODEL,
    build,
    expected,
    pairs,
    vectors,
    write_set,
)

MEND = r"; run: featx index .*a\.emb -o .*a\.knn"


@pytest.mark.parametrize("kind", ["exact", "numpy", "pq", "auto"])
@pytest.mark.parametrize("metric", METRICS)
def test_every_kind_and_metric_agrees_with_numpy(
    tmp_path: Path, kind: str, metric: MetricName
) -> None:
    gallery = build(tmp_path, GalleryRecipe(kind=kind, metric=metric, recall=1.0))
    content = {f"i{r}": x for r, x in enumerate(vectors())}

    for q, found in zip(vectors(5, seed=1), gallery.search(vectors(5, seed=1), 7), strict=True):
        assert pairs(found) == expected(content, q, 7, metric)


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

    held = build_gallery(embedding_set, tmp_path / "a.knn", EXACT).snapshot
    assert isinstance(held, Snapshot)
    stack = held.base.stack

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
