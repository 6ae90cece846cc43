"""Embedding sets at URLs: read from a copy, by every command that reads sets."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, objects, refused
from featx.data.cache import contents, keep_within
from featx.data.places import keeping, open_place
from featx.data.places.copies import local_copy
from featx.data.sources import open_source
from featx.data.statindex import StatIndex
from featx.data.store import EmbeddingSet
from featx.errors import InputError, StoreError, UnknownNameError
from featx.onboard.fetch.pulling import pull
from featx.onboard.placing import remove
from featx.types import Stored, Vectors
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry
from featx.zoo.writing import manifest_text
from gallery_sets import vectors, write_set
from objectstore import Proxy

pytestmark = pytest.mark.s3


@pytest.fixture(autouse=True)
def own_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def there(bucket: str, tmp_path: Path) -> str:
    """The URL of a set of 60 rows in three segments; the local one is ``x.emb``."""
    return uploaded(finished_set(tmp_path / "x.emb", vectors(60)), f"{bucket}/x.emb")


def finished_set(path: Path, X: Vectors) -> Path:
    write_set(path, X, segment=20)
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"finished": True}))
    return path


def uploaded(path: Path, url: str) -> str:
    place = open_place(url)
    for each in path.iterdir():
        if each.suffix in {".npy", ".parquet", ".json"}:
            place.put_file(each.name, each)
    return url


def test_a_set_at_a_url_is_the_set(there: str) -> None:
    far, near = featx.open(there), featx.open("x.emb")

    np.testing.assert_array_equal(np.asarray(far.X), np.asarray(near.X))
    assert far.items.equals(near.items)
    assert (far.where, near.where) == (there, "x.emb")
    assert repr(far).startswith(f"EmbeddingSet('{there}': 60 array items")


def test_a_second_opening_copies_nothing(there: str, proxy: Proxy) -> None:
    first = EmbeddingSet.open(there).path
    times = {path: path.stat().st_mtime_ns for path in first.glob("segment-*")}
    asked: list[bytes] = []
    proxy.answer = asked.append

    assert EmbeddingSet.open(there).path == first
    assert len(times) == 6
    assert {path: path.stat().st_mtime_ns for path in first.glob("segment-*")} == times
    assert len(asked) == 2  # the manifest, and a list


def test_a_set_that_was_made_anew_is_copied_anew(there: str, tmp_path: Path) -> None:
    before = np.asarray(EmbeddingSet.open(there).X).copy()
    uploaded(finished_set(tmp_path / "new" / "x.emb", vectors(60, seed=1)), there)

    after = EmbeddingSet.open(there)

    np.testing.assert_array_equal(np.asarray(after.X), vectors(60, seed=1))
    assert not np.array_equal(before, np.asarray(after.X))


def test_what_a_set_lacks_is_said(there: str, bucket: str) -> None:
    open_place(there).delete(["segment-00001.npy"])

    with pytest.raises(StoreError, match=r"x.emb/segment-00001.npy: no such file, which manifest"):
        EmbeddingSet.open(there)
    with pytest.raises(
        StoreError, match=f"^{bucket}/none.emb: no such embedding set: nothing lies there$"
    ):
        EmbeddingSet.open(f"{bucket}/none.emb")


def test_a_manifest_that_leads_elsewhere_is_refused(there: str, tmp_path: Path) -> None:
    place = open_place(there)
    manifest = json.loads(place.read("manifest.json")[0])
    manifest["segments"][0]["items"] = "../../escaped.parquet"
    place.put("manifest.json", json.dumps(manifest).encode())

    with pytest.raises(StoreError, match="which is no name of a file of it"):
        EmbeddingSet.open(there)

    assert not list(tmp_path.rglob("escaped*"))


def test_copies_are_kept_within_the_limit_but_not_those_in_use(there: str, tmp_path: Path) -> None:
    cache, path = tmp_path / "cache", local_copy(there)

    keep_within(cache, 0)
    assert path.is_dir()
    keeping.release()
    (copy,) = contents(cache)
    keep_within(cache, 0)

    assert (copy.kind, path.exists()) == ("copy", False)


def test_every_command_that_reads_a_set_takes_a_url(there: str, tmp_path: Path) -> None:
    assert done("cat", there, "-n", 3) == done("cat", "x.emb", "-n", 3)
    done("train", there, "-o", "far.head", "--head", "ridge", "--no-raw-baseline")
    done("train", "x.emb", "-o", "near.head", "--head", "ridge", "--no-raw-baseline")
    header = featx.load_head(Path("far.head")).header
    assert header["set"]["path"] == there
    for command in (["evaluate", "near.head"], ["predict", "near.head"]):
        assert done(*command, there, "--json") == done(*command, "x.emb", "--json")
    done("index", there, "-o", "far.knn", "--kind", "exact")
    done("index", "x.emb", "-o", "near.knn", "--kind", "exact")
    assert done("search", "far.knn", there, "--json") == done(
        "search", "near.knn", "x.emb", "--json"
    )
    assert objects(done("inspect", there, "--json"))[0]["items"] == 60
    for command in (["report", there, "-o", "r.html"], ["map", there, "-o", "m.parquet"]):
        done(*command)
        assert (tmp_path / command[-1]).is_file()
    finished_set(tmp_path / "y.emb", vectors(30, seed=2))
    assert objects(done("merge", there, "y.emb", "-o", "both.emb", "--json"))[0]["items"] == 60
    done("export", there, "-o", "x.parquet")
    sets = ["--target", there, "--source", there]
    adapted = call("adapt", "far.head", *sets, "-o", "a.head", "--json")
    assert "adapted" in objects(adapted.stdout)[0]


def test_a_gallery_of_a_set_at_a_url_reads_the_copy_again(there: str, tmp_path: Path) -> None:
    done("index", there, "-o", "far.knn", "--kind", "exact")
    facts = json.loads((tmp_path / "far.knn" / "gallery.json").read_text())
    keeping.release()
    keep_within(tmp_path / "cache", 0)

    found = objects(done("search", "far.knn", "x.emb", "--json"))

    assert facts["set"]["path"] == there
    assert found[0]["neighbours"][0]["id"] == "i0"


@pytest.mark.parametrize(
    "command",
    [["label", "{}", "x.csv"], ["retry", "{}"]],
)
def test_a_set_at_a_url_is_not_changed_in_place(there: str, command: list[str]) -> None:
    Path("x.csv").write_text("id,label\ni0,new\n")

    line = refused(*(each.format(there) for each in command))

    assert line.startswith(f"{there}: is changed in place, which only a set on this machine is")


def test_what_is_no_set_is_said_in_one_line(bucket: str) -> None:
    said = "no such embedding set: nothing lies there"
    assert refused("cat", f"{bucket}/none.emb") == f"{bucket}/none.emb: {said}"


def test_unchanged_files_are_not_read_again(bucket: str, tmp_path: Path) -> None:
    place = open_place(bucket)
    for number in range(4):
        np.save(tmp_path / "one.npy", np.full(6, number, np.float32))
        place.put_file(f"photos/{number}.npy", tmp_path / "one.npy")
    index = StatIndex(tmp_path / "cache")
    source = open_source(f"{bucket}/photos", modality="array")
    files = [item.content for item in source if isinstance(item.content, Stored)]
    stats = [seen.stat for seen in index.look(files)]
    index.remember([(file, stats[n], b"%d" % n) for n, file in enumerate(files)])
    place.put_file("photos/2.npy", tmp_path / "one.npy")

    listed = open_source(f"{bucket}/photos", modality="array")
    again = [item.content for item in listed if isinstance(item.content, Stored)]

    assert [seen.digest for seen in index.look(again)] == [b"0", b"1", None, b"3"]


def test_a_prefix_is_embedded_and_a_second_run_reads_nothing(bucket: str, tmp_path: Path) -> None:
    texts = {"pos/a.txt": "good and kind", "pos/b.txt": "a joy", "neg/c.txt": "a bore"}
    for name, text in texts.items():
        (tmp_path / "texts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / name).write_text(text)
        open_place(f"{bucket}/texts").put(name, text.encode())

    done("embed", "texts", "-m", "minilm-l6", "-o", "near.emb", "--no-cache")
    done("embed", f"{bucket}/texts", "-m", "minilm-l6", "-o", "far.emb")
    far, near = featx.open("far.emb"), featx.open("near.emb")
    again = objects(done("embed", f"{bucket}/texts", "-m", "minilm-l6", "-o", "far2.emb", "--json"))

    assert (far.ids, far.y.tolist()) == (near.ids, near.y.tolist())
    np.testing.assert_allclose(np.asarray(far.X), np.asarray(near.X), atol=1e-5)
    assert far.items["uri"].to_pylist()[0] == f"{bucket}/texts/neg/c.txt"
    assert again[0]["cached"] == 3


def test_a_zoo_in_a_bucket_is_pulled(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    raw = {"files/model #1.onnx": b"graph" * 99, "files/tokenizer.json": b"{}"}
    entries = [
        FileEntry(path=name, sha256=hashlib.sha256(held).hexdigest(), size_bytes=len(held))
        for name, held in raw.items()
    ]
    shared = replace(catalog.find("minilm-l6"), name="team")
    shared = replace(shared, files={"graph": entries[0], "tokenizer": entries[1]})
    place = open_place(f"{bucket}/zoo")
    for name, content in raw.items():
        place.put(name, content)
    place.put("team.toml", manifest_text(shared).encode())
    monkeypatch.setenv("FEATX_ZOO", f"{bucket}/zoo")

    pulled, is_new = pull("team")

    assert is_new
    assert [check.problem for check in catalog.check_files(pulled)] == ["", ""]
    assert pulled.file("graph").read_bytes() == b"graph" * 99
    with pytest.raises(UnknownNameError, match=r"has s3://team/.*/zoo one of that name"):
        pull("other")
    place.put("files/tokenizer.json", b"[]")
    remove("team", catalog.user_zoo())
    with pytest.raises(InputError, match="it is another file, or the sha256 is wrong"):
        pull("team")
