"""Galleries whose files are damaged: one line says what was found and the command that mends it."""

import json
import re
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.data.store import EmbeddingSet
from featx.errors import FeatxError, StoreError
from featx.gallery.build import GalleryRecipe, build_gallery
from featx.gallery.gallery import Gallery, ItemFacts
from gallery_sets import EXACT, build, vectors

MEND = r"; run: featx index .*a\.emb -o .*a\.knn"
VALUES: list[Any] = [None, 3, -1, "x", [], {}, [3], {"x": -1}, True, 2.5]


def use(path: Path) -> str:
    """Do what reads every file of a gallery; return the error in one line, if there is one."""
    try:
        _read(path)
    except FeatxError as error:
        return str(error)
    return ""


def _read(path: Path) -> None:
    with Gallery.open(path) as gallery:
        gallery.classify(vectors()[:2], 3)
        gallery.stats()
        for item_id in ("i3", "n1", "none"):
            gallery.snapshot.find(item_id)
        for row in gallery.snapshot.rows.tolist():
            gallery.thumbnail(row)


def changed(folder: Path, kind: str = "pq") -> Path:
    """Return a gallery of two parts with removed rows."""
    path = build(folder, GalleryRecipe(kind=kind, recall=1.0)).path
    with Gallery.open(path, writable=True) as gallery:
        gallery.add(["n0", "n1"], vectors(2, seed=4), facts=[ItemFacts(label="new")] * 2)
        gallery.remove(["i5", "n0"])
        gallery.fold()
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = changed(tmp_path_factory.mktemp("whole"))
    assert not use(path)
    return path


def copy_of(whole: Path, folder: Path) -> Path:
    shutil.copytree(whole.parent, folder, dirs_exist_ok=True)
    return folder / whole.name


def test_a_value_of_gallery_json_that_is_none_is_one_line(whole: Path, tmp_path: Path) -> None:
    path = copy_of(whole, tmp_path)
    facts = json.loads((path / "gallery.json").read_text())
    places: list[tuple[dict[str, Any], str]] = []
    for each in (facts, facts["set"], facts["index"], facts["metrics"], facts["removed"]):
        places += [(each, name) for name in each]
    for each in (*facts["parts"], facts["index"]["settings"]):
        places += [(each, name) for name in each]

    for each, name in places:
        kept = each[name]
        for value in VALUES:
            each[name] = value
            (path / "gallery.json").write_text(json.dumps(facts))
            said = use(path)
            assert not said or "; run: featx index" in said or "upgrade featx" in said
        each[name] = kept


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("k", "5", "'k' of 'gallery' is '5'"),
        ("metric", "cosinus", "'metric' of 'gallery' is 'cosinus'"),
        ("parts", [3], r"'parts\[0\]' is no object"),
        ("removed", {"file": "removed-1.npy"}, "'count' of 'removed' is missing"),
    ],
)
def test_a_wrong_value_of_gallery_json_is_named(
    whole: Path, tmp_path: Path, key: str, value: object, found: str
) -> None:
    path = copy_of(whole, tmp_path)
    facts = json.loads((path / "gallery.json").read_text())
    (path / "gallery.json").write_text(json.dumps(facts | {key: value}))

    with pytest.raises(StoreError, match=rf"gallery\.json: damaged: {found}; run: featx index SET"):
        Gallery.open(path)


@pytest.mark.parametrize("noun", ["order", "norms", "removed"])
@pytest.mark.parametrize("header", [b"{'descr': '<u8', 'fort", b"{'a': (1, \n", b"lambda: 0, \x00"])
def test_a_damaged_header_of_an_array_is_named(
    whole: Path, tmp_path: Path, noun: str, header: bytes
) -> None:
    path = copy_of(whole, tmp_path)
    file = min(path.glob(f"{noun}-*"))
    content = bytearray(file.read_bytes())
    content[10:127] = header.ljust(117)
    file.write_bytes(content)

    with pytest.raises(StoreError, match=rf"{file.name} is missing or damaged{MEND} --kind pq"):
        Gallery.open(path)


@pytest.mark.parametrize("row", [62, -1, 2**40])
def test_removed_rows_that_are_none_are_refused(whole: Path, tmp_path: Path, row: int) -> None:
    path = copy_of(whole, tmp_path)
    (file,) = path.glob("removed-*")
    np.save(file, np.array([5, row]))

    found = "names rows beyond the 62 that there are"
    with pytest.raises(StoreError, match=rf"{file.name} is damaged: {found}{MEND}"):
        Gallery.open(path)


@pytest.mark.parametrize("row", [60, 2**40, 2**63 + 1])
def test_an_order_of_rows_that_are_none_is_refused_where_it_is_read(
    whole: Path, tmp_path: Path, row: int
) -> None:
    path = copy_of(whole, tmp_path)
    file = min(path.glob("order-*"))
    order = np.load(file)
    order[1] = row
    np.save(file, order)

    with (
        Gallery.open(path) as gallery,
        pytest.raises(StoreError, match=rf"{file.name} is damaged{MEND}"),
    ):
        gallery.snapshot.find("i3")


def test_any_few_bytes_that_differ_are_found_or_do_no_harm(whole: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = copy_of(whole, tmp_path)

    for file in [file for file in path.iterdir() if file.suffix in {".npy", ".arrow"}]:
        content = file.read_bytes()
        for at in rng.integers(0, len(content), 8).tolist():
            bad = bytearray(content)
            bad[at : at + 8] = rng.bytes(len(bad[at : at + 8]))
            file.write_bytes(bad)
            with np.errstate(all="ignore"):
                said = use(path)
            assert not said or file.name in said or "row" in said
        file.write_bytes(content)


def compacting(path: Path) -> str:
    """Compact a gallery; return the error in one line, if there is one."""
    try:
        with Gallery.open(path, writable=True) as gallery:
            gallery.compact()
    except FeatxError as error:
        return str(error)
    return ""


def test_damage_that_a_compaction_meets_is_one_line(whole: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = copy_of(whole, tmp_path)

    said = []
    for name in sorted(file.name for file in path.glob("items-*")):
        content = (path / name).read_bytes()
        for at in rng.integers(0, len(content), 20).tolist():
            shutil.rmtree(path)
            copy_of(whole, tmp_path)
            bad = bytearray(content)
            bad[at : at + 8] = rng.bytes(len(bad[at : at + 8]))
            (path / name).write_bytes(bad)
            said.append(compacting(path))
            assert not said[-1] or (name in said[-1] and re.search(MEND, said[-1]))
    assert any(said)


def test_a_batch_that_cannot_be_read_is_named_by_a_compaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featx.gallery.items.BATCH_ROWS", 16)
    path = build(tmp_path, EXACT).path
    with Gallery.open(path, writable=True) as gallery:
        gallery.remove(["i5"])
    (file,) = path.glob("items-*")
    content = bytearray(file.read_bytes())
    # The schema, two dictionaries, four batches, of which the first and last are read on opening.
    starts = [found.start() for found in re.finditer(b"\xff\xff\xff\xff[^\xff]..\x00", content)]
    content[starts[4] + 8 : starts[4] + 64] = bytes(56)
    file.write_bytes(content)
    before = {each.name: each.read_bytes() for each in path.iterdir() if each.suffix == ".npy"}

    assert re.fullmatch(rf".*a\.knn: {file.name} is damaged{MEND} --kind exact", compacting(path))
    assert {name: (path / name).read_bytes() for name in before} == before


def test_the_command_that_mends_names_what_is_not_the_default(tmp_path: Path) -> None:
    embedding_set = EmbeddingSet.open(build(tmp_path).path.parent / "a.emb")
    cases = [
        (GalleryRecipe(), r"a\.knn$"),
        (GalleryRecipe(metric="l2"), r"a\.knn --metric l2$"),
        (GalleryRecipe(kind="pq", recall=0.9), r"a\.knn --kind pq --recall 0\.9$"),
    ]
    for recipe, ending in cases:
        path = build_gallery(embedding_set, tmp_path / "a.knn", recipe).path
        min(path.glob("items-*")).unlink()

        with pytest.raises(StoreError, match=rf"items-.* is missing; run: featx index .*{ending}"):
            Gallery.open(path)


@pytest.mark.parametrize("writable", [False, True])
def test_a_damaged_log_is_told_in_one_line_without_repeats(tmp_path: Path, writable: bool) -> None:
    path = build(tmp_path, EXACT).path
    (path / "log.sqlite").write_bytes(b"foreign" * 30)

    with pytest.raises(StoreError) as caught:
        Gallery.open(path, writable=writable)

    said = f"{path}: log.sqlite: file is not a database; run: featx index {tmp_path}/a.emb -o "
    assert str(caught.value) == f"{said}{path} --kind exact"


def test_a_change_that_is_none_is_told_with_the_command_that_mends_it(tmp_path: Path) -> None:
    path = build(tmp_path, EXACT).path
    reader = Gallery.open(path)
    log = sqlite3.connect(path / "log.sqlite")
    log.execute("INSERT INTO log VALUES (1, 'add', 'a', '{', NULL, x'00000000')")
    log.commit()
    log.close()

    with pytest.raises(StoreError, match=rf"log\.sqlite: holds a change that is none{MEND}"):
        len(reader)
    with pytest.raises(StoreError, match=rf"log\.sqlite: holds a change that is none{MEND}"):
        Gallery.open(path)
