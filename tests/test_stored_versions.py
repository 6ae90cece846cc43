"""What lies at a URL changes: what was listed, copied or opened before, and what is now."""

import io
import json
import resource
import tarfile
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from featx.backbone.backbone import Backbone, identity
from featx.data.places import bucket as buckets
from featx.data.places import keeping, open_place
from featx.data.places.bucket import BucketPlace
from featx.data.places.copies import local_copy, names_set
from featx.data.sources import Columns, open_source
from featx.data.store import EmbeddingSet
from featx.embedding import Run
from featx.errors import StoreError
from featx.scale.cutting import cut
from featx.types import Stored

stores = pytest.importorskip("obstore.store")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty bucket in memory."""
    monkeypatch.setattr(BucketPlace, "_store", stores.MemoryStore())
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    return f"s3://{uuid4().hex}"


def tar_of(*texts: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for number, text in enumerate(texts):
            member = tarfile.TarInfo(f"{number}.txt")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


def keys(argument: str, modality: str = "text", columns: Columns | None = None) -> list[str]:
    source = open_source(argument, modality=modality, columns=columns)
    return [unit.key for unit in cut(source, size=8, seed="s")]


@pytest.mark.parametrize("argument", ["x.tar", ""])
def test_a_tar_has_the_keys_of_its_version_wherever_its_copy_lies(
    memory: str, tmp_path: Path, argument: str
) -> None:
    place, url, found = open_place(f"{memory}/t"), f"{memory}/t/{argument}".rstrip("/"), []
    place.put("x.tar", tar_of("cat", "dog"))

    for cache in ("one", "two"):
        with keeping.using(tmp_path / cache):
            found.append(keys(url))
    place.put("x.tar", tar_of("cat", "cow"))

    assert found[0] == found[1]
    assert set(keys(url)).isdisjoint(found[0])


@pytest.mark.parametrize("name", ["x.lst", "x.csv"])
def test_a_file_that_is_named_has_the_key_of_its_version(memory: str, name: str) -> None:
    place, columns = open_place(memory), Columns(image_col="image")
    place.put(name, b"image\na.jpg\ngone.jpg\n" if name == "x.csv" else b"a.jpg\ngone.jpg\n")
    place.put("a.jpg", b"cat")

    before = keys(f"{memory}/{name}", "image", columns if name == "x.csv" else None)
    same = keys(f"{memory}/{name}", "image", columns if name == "x.csv" else None)
    place.put("a.jpg", b"dog")
    after = keys(f"{memory}/{name}", "image", columns if name == "x.csv" else None)

    assert before == same
    assert set(before).isdisjoint(after)


def test_a_unit_says_which_version_of_a_file_is_meant(memory: str, tmp_path: Path) -> None:
    place = open_place(memory)
    place.put("a.jpg", b"cat")
    (tmp_path / "b.jpg").write_bytes(b"dog")
    lines = [f"{memory}/a.jpg", "b.jpg", f"{memory}/gone.jpg"]
    (tmp_path / "x.lst").write_text("\n".join(lines))

    (unit,) = cut(open_source(str(tmp_path / "x.lst"), modality="image"), size=8, seed="s")
    first, second, third = (item.content for item in unit.items)

    assert [item.id for item in unit.items] == lines
    assert isinstance(first, Stored)
    assert (first.tag, first.size_bytes, first.read()) == (place.entry("a.jpg").tag, 3, b"cat")
    assert second == tmp_path / "b.jpg"
    assert isinstance(third, Stored)
    assert (third.url, third.tag, third.size_bytes) == (f"{memory}/gone.jpg", "", 0)


def made(path: Path, ids: Sequence[str], shift: float) -> Path:
    path.parent.mkdir()
    X = np.arange(12, dtype=np.float32).reshape(3, 4) + np.float32(shift)
    np.savez(path.with_suffix(".npz"), X=X, ids=np.array(list(ids)))
    source = open_source(str(path.with_suffix(".npz")), modality="array")
    list(Run(source, Backbone(identity(4)), path).steps())
    return path


def upload(path: Path, url: str) -> None:
    place = open_place(url)
    for each in path.iterdir():
        if each.suffix in {".npy", ".parquet", ".json"}:
            place.put_file(each.name, each)


def test_a_set_that_is_open_stays_what_it_was(memory: str, tmp_path: Path) -> None:
    url = f"{memory}/x.emb"
    upload(made(tmp_path / "1" / "x.emb", "abc", 0), url)
    first = EmbeddingSet.open(url)
    upload(made(tmp_path / "2" / "x.emb", "xyz", 100), url)
    second = EmbeddingSet.open(url)

    assert (np.asarray(first.X)[0].tolist(), first.ids) == ([0, 1, 2, 3], ["a", "b", "c"])
    assert (np.asarray(second.X)[0].tolist(), second.ids) == ([100, 101, 102, 103], [*"xyz"])


def test_a_set_that_changes_while_it_is_looked_at_is_looked_at_again(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, read = f"{memory}/x.emb", BucketPlace.read
    old, new = (made(tmp_path / n / "x.emb", ids, 0) for n, ids in (("1", "abc"), ("2", "xyz")))
    upload(old, url)

    def read_and_upload(self: BucketPlace, name: str) -> tuple[bytes, str]:
        found = read(self, name)
        if found[0] == (old / "manifest.json").read_bytes():
            upload(new, url)
        return found

    monkeypatch.setattr(BucketPlace, "read", read_and_upload)
    opened = EmbeddingSet.open(url)

    assert opened.set_id == EmbeddingSet.open(new).set_id
    assert opened.ids == ["x", "y", "z"]


def test_files_of_another_version_are_not_copied_again(memory: str, tmp_path: Path) -> None:
    path, url = made(tmp_path / "1" / "x.emb", "abc", 0), f"{memory}/x.emb"
    upload(path, url)
    first = local_copy(url)
    inodes = {each.name: each.stat().st_ino for each in first.glob("segment-*")}
    manifest = json.loads((path / "manifest.json").read_text())
    open_place(url).put("manifest.json", json.dumps(manifest | {"command": "new"}).encode())

    second = local_copy(url)
    keeping.release()
    third = local_copy(url)

    assert len(inodes) == 2
    assert {each.name: each.stat().st_ino for each in second.glob("segment-*")} == inodes
    assert EmbeddingSet.open(second).manifest["command"] == "new"
    assert (third, first.exists()) == (second, False)  # nobody used that any more


def test_only_a_manifest_of_that_very_name_makes_a_set(memory: str) -> None:
    open_place(f"{memory}/x").put("manifest.json.bak", b"{}")
    assert not names_set(f"{memory}/x")

    open_place(f"{memory}/x").put("manifest.json", b"{}")
    assert names_set(f"{memory}/x")


def test_a_disk_that_takes_only_a_piece_of_a_part_is_full(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(buckets, "PART_BYTES", 1 << 16)
    place = open_place(memory)
    place.put("x", bytes(range(256)) * 1024)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, before[1]))
    try:
        with pytest.raises(StoreError, match="copy"):
            place.get_file("x", tmp_path / "copy", listed=place.entry("x"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert list(tmp_path.glob("*copy*")) == []
