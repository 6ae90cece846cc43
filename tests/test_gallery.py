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
from featx.errors import InputError, StoreError
from featx.index.gallery import Gallery, build_gallery
from featx.types import Vectors

DIM = 6
MODEL = {
    "name": "identity",
    "modality": "array",
    "dim": DIM,
    "normalize": False,
    "fingerprint": "f" * 64,
    "space": "5" * 64,
}


def vectors(n: int = 60) -> Vectors:
    X = np.random.default_rng(0).standard_normal((n, DIM)).astype(np.float32)
    X[::2, 0] += 3
    return X


def label_of(row: int) -> str | None:
    if row % 5 == 4:
        return None
    return "even" if row % 2 == 0 else "odd"


def write_set(
    path: Path, X: Vectors, *, normalize: bool = False, segment: int = 99
) -> EmbeddingSet:
    rows = [
        Row(id=f"i{r}", digest="00", uri=f"/x/{r}", label=label_of(r), preview=f"item {r}")
        for r in range(len(X))
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    with SetWriter(path, model=MODEL | {"normalize": normalize}, segment_rows=segment) as writer:
        for start in range(0, len(X), segment):
            writer.append(rows[start : start + segment], X[start : start + segment])
        writer.seal()
    return EmbeddingSet.open(path)


def build(folder: Path, segment: int = 99) -> Gallery:
    embedding_set = write_set(folder / "a.emb", vectors(), segment=segment)
    return build_gallery(embedding_set, folder / "a.knn", command="featx index a.emb -o a.knn")


def cosines(X: Vectors, q: Vectors) -> Vectors:
    similarities: Vectors = (X @ q) / np.linalg.norm(X, axis=1) / np.linalg.norm(q)
    return similarities


@pytest.mark.parametrize("segment", [99, 25])
def test_a_search_gives_the_items_nearest_by_cosine(tmp_path: Path, segment: int) -> None:
    X, gallery = vectors(), build(tmp_path, segment=segment)
    q = np.array([1, 2, 0, -1, 0, 3], np.float32)
    order = np.argsort(-cosines(X, q))[:4]

    (found,) = gallery.search(10 * q[None], 4)

    assert [n.row for n in found] == order.tolist()
    assert [n.id for n in found] == [f"i{r}" for r in order]
    assert [n.label for n in found] == [label_of(r) for r in order]
    assert [n.uri for n in found] == [f"/x/{r}" for r in order]
    assert [n.preview for n in found] == [f"item {r}" for r in order]
    np.testing.assert_allclose([n.similarity for n in found], cosines(X, q)[order], atol=1e-6)


def test_a_vote_is_taken_among_labelled_items_only(tmp_path: Path) -> None:
    X, gallery = vectors(), build(tmp_path)
    labelled = np.array([r for r in range(len(X)) if label_of(r) is not None])
    q = X[4]
    similarities = cosines(X[labelled], q)
    nearest = np.argsort(-similarities)[:9]
    weights = np.exp(similarities[nearest] / gallery.temperature)
    even = weights[labelled[nearest] % 2 == 0].sum() / weights.sum()

    (answer,) = gallery.classify(q[None], 9)

    assert [n.row for n in answer.neighbours] == labelled[nearest].tolist()
    assert answer.label == ("even" if even > 0.5 else "odd")
    assert answer.probability == pytest.approx(max(even, 1 - even), abs=1e-4)


def test_the_file_says_what_the_gallery_is(tmp_path: Path) -> None:
    gallery = build(tmp_path)

    facts = json.loads((tmp_path / "a.knn" / "gallery.json").read_text())

    embedding_set = EmbeddingSet.open(tmp_path / "a.emb")
    assert (facts["format"], facts["version"]) == ("featx-gallery", 1)
    assert facts["vectors"] == {
        "set": "a.emb",
        "set_id": embedding_set.set_id,
        "segments": ["segment-00000"],
        "items": ["segment-00000.parquet"],
        "rows": 60,
    }
    assert (facts["model"], facts["dim"], facts["kind"]) == ("identity", DIM, "exact")
    assert facts["command"] == "featx index a.emb -o a.knn"
    assert facts["metrics"]["n"] == 48
    assert facts["k"] == gallery.k
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.emb", "a.knn"]


def test_the_chosen_vote_has_the_accuracy_it_claims(tmp_path: Path) -> None:
    X, gallery = vectors(), build(tmp_path)
    rows = np.array([r for r in range(len(X)) if label_of(r) is not None])
    right = 0
    for row in rows:
        rest = rows[rows != row]
        similarities = cosines(X[rest], X[row])
        nearest = np.argsort(-similarities)[: gallery.k]
        weights = np.exp(similarities[nearest] / gallery.temperature)
        even = weights[rest[nearest] % 2 == 0].sum() / weights.sum()
        right += (even > 0.5) == (row % 2 == 0)

    assert gallery.facts["metrics"]["accuracy"] == pytest.approx(right / len(rows))


def test_the_log_is_empty_and_in_wal_mode(tmp_path: Path) -> None:
    log = sqlite3.connect(build(tmp_path).path / "log.sqlite")

    columns = [column[1] for column in log.execute("PRAGMA table_info(log)")]
    rows, mode = log.execute("SELECT * FROM log").fetchall(), log.execute("PRAGMA journal_mode")

    assert columns == ["seq", "action", "id", "label", "vector", "at"]
    assert (rows, mode.fetchone()) == ([], ("wal",))
    log.close()


def test_unit_vectors_are_not_copied(tmp_path: Path) -> None:
    X = vectors() / np.linalg.norm(vectors(), axis=1, keepdims=True)
    embedding_set = write_set(tmp_path / "a.emb", X, normalize=True)
    gallery = build_gallery(embedding_set, tmp_path / "a.knn", command="")

    gallery.search(X[:1])

    searched = vars(vars(gallery)["_index"])["X"]
    assert not searched.flags.owndata
    assert not searched.flags.writeable


def test_both_folders_can_be_moved_together(tmp_path: Path) -> None:
    expected = build(tmp_path / "here").search(vectors()[:3])
    shutil.move(tmp_path / "here", tmp_path / "there")

    assert Gallery.open(tmp_path / "there" / "a.knn").search(vectors()[:3]) == expected


def test_zero_vectors_have_similarity_zero(tmp_path: Path) -> None:
    X = vectors()
    X[7] = 0
    gallery = build_gallery(write_set(tmp_path / "a.emb", X), tmp_path / "a.knn", command="")

    (found,) = gallery.search(np.ones((1, DIM), np.float32), 60)

    assert [n.similarity for n in found if n.row == 7] == [0.0]


def test_vectors_and_queries_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    X = vectors()
    X[7, 2] = np.nan
    embedding_set = write_set(tmp_path / "bad.emb", X)

    with pytest.raises(InputError, match=r"^gallery: row 7 is NaN"):
        build_gallery(embedding_set, tmp_path / "bad.knn", command="")
    with pytest.raises(InputError, match=r"^query: row 7 is NaN"):
        build(tmp_path).search(X)
    assert not (tmp_path / "bad.knn").exists()


def test_a_set_without_labels_can_be_searched_but_not_asked(tmp_path: Path) -> None:
    embedding_set = write_set(tmp_path / "a.emb", vectors()[4:5])
    with SetWriter(tmp_path / "a.emb", model=MODEL) as writer:
        embedding_set = writer.update(relabelled(embedding_set.items, {"i0": None}, {}))
    gallery = build_gallery(embedding_set, tmp_path / "a.knn", command="")

    assert gallery.facts["metrics"] == {"accuracy": None, "n": 0}
    assert [n.id for n in gallery.search(vectors()[:1])[0]] == ["i0"]
    with pytest.raises(InputError, match=r"no item is labelled; run: featx label"):
        gallery.classify(vectors()[:1])


def test_a_gallery_is_replaced_and_anything_else_is_not(tmp_path: Path) -> None:
    build(tmp_path)
    embedding_set = EmbeddingSet.open(tmp_path / "a.emb")

    again = build_gallery(embedding_set, tmp_path / "a.knn", command="again")

    assert again.facts["command"] == "again"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for stranger in (tmp_path / "photos", tmp_path / "photos" / "cat.jpg"):
        with pytest.raises(StoreError, match="exists and is no gallery"):
            build_gallery(embedding_set, stranger, command="")
    assert (tmp_path / "photos" / "cat.jpg").read_bytes() == b"cat"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.emb", "a.knn", "photos"]


@pytest.mark.parametrize("name", ["gallery.json", "items.parquet", "log.sqlite"])
def test_a_missing_file_is_named_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    path = build(tmp_path).path
    (path / name).unlink()

    with pytest.raises(StoreError, match=rf"{name} is missing.*; run: featx index .* -o .*a\.knn"):
        Gallery.open(path)


@pytest.mark.parametrize("name", ["gallery.json", "items.parquet"])
def test_a_damaged_file_is_named_with_the_command_that_mends_it(tmp_path: Path, name: str) -> None:
    path = build(tmp_path).path
    (path / name).write_bytes((path / name).read_bytes()[:40])

    with pytest.raises(StoreError, match=rf"{name}.*damaged.*run: featx index .* -o .*a\.knn"):
        Gallery.open(path)


def test_a_newer_gallery_is_refused_by_name(tmp_path: Path) -> None:
    path = build(tmp_path).path
    facts = json.loads((path / "gallery.json").read_text())
    (path / "gallery.json").write_text(json.dumps(facts | {"version": 2}))

    with pytest.raises(StoreError, match=r"featx-gallery version 2 is newer than 1; upgrade"):
        Gallery.open(path)


def test_a_missing_set_is_named(tmp_path: Path) -> None:
    path = build(tmp_path).path
    shutil.rmtree(tmp_path / "a.emb")

    with pytest.raises(StoreError, match=r"its set cannot be opened .*; run: featx index .*a\.emb"):
        Gallery.open(path)


def test_a_set_that_changed_since_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path).path
    with SetWriter(tmp_path / "a.emb", model=MODEL) as writer:
        writer.append([Row(id="new", digest="00")], vectors()[:1])
        writer.seal()

    with pytest.raises(StoreError, match=r"a\.emb has changed since .*; run: featx index"):
        Gallery.open(path)


def test_another_set_of_the_same_name_is_refused(tmp_path: Path) -> None:
    path = build(tmp_path).path
    shutil.rmtree(tmp_path / "a.emb")
    write_set(tmp_path / "a.emb", vectors())

    with pytest.raises(StoreError, match=r"changed since \(set_id differs\)"):
        Gallery.open(path)
