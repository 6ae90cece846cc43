"""Parts of tars at a URL, read by whoever embeds them; stores that deny all of a unit."""

import io
import pickle
import shutil
import socket
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from denyingstore import denying_store
from featx.data.places import open_place, spans
from featx.data.places.bucket import BucketPlace
from featx.data.places.spans import StoredSpan
from featx.data.places.stored import StoredFile
from featx.data.sources import open_source
from featx.data.sources.cells import Cell
from featx.data.statindex import StatIndex
from featx.errors import ItemError, StoreError
from featx.modality.content import read_bytes
from featx.scale.cutting import cut
from featx.scale.unit import Unit
from featx.scale.worker import Worker
from featx.types import Item, Stored
from scaling import assigned, numbers

stores = pytest.importorskip("obstore.store")

CONTENTS = [np.random.default_rng(n).bytes(n * 37) for n in range(1, 60)]


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty bucket in memory."""
    monkeypatch.setattr(BucketPlace, "_store", stores.MemoryStore())
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    return f"s3://{uuid4().hex}"


def tar_of(contents: Sequence[bytes], suffix: str = "jpg", mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:  # type: ignore[call-overload]
        for number, raw in enumerate(contents):
            member = tarfile.TarInfo(f"{number}.{suffix}")
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return file.getvalue()


def listed(url: str, modality: str = "image") -> list[Item]:
    return list(open_source(url, modality=modality, names_contents=True))


@pytest.mark.parametrize("below", ["x.tar", ""])
def test_parts_of_a_tar_are_read_where_its_copy_is_not(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    monkeypatch.setattr(spans, "BLOCK_BYTES", 1000)
    url = f"{memory}/t/{below}".rstrip("/")
    open_place(f"{memory}/t").put("x.tar", tar_of(CONTENTS))
    plain = list(open_source(url, modality="image"))

    items = pickle.loads(pickle.dumps(listed(url)))
    shutil.rmtree(tmp_path / "cache")

    assert [read_bytes(item.content) for item in items] == CONTENTS
    assert [(i.id, i.uri) for i in items] == [(i.id, i.uri) for i in plain]
    assert not (tmp_path / "cache").exists()


def test_parts_have_the_keys_of_those_of_a_copy(memory: str) -> None:
    open_place(memory).put("x.tar", tar_of(CONTENTS))

    keys = [
        [unit.key for unit in cut(source, size=8, seed="s")]
        for source in (listed(f"{memory}/x.tar"), open_source(f"{memory}/x.tar", modality="image"))
    ]

    assert keys[0] == keys[1]


def test_neighbours_in_a_tar_are_one_request(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, read_range = list[tuple[int, int]](), BucketPlace.read_range
    raw = tar_of(CONTENTS)
    open_place(memory).put("x.tar", raw)

    def counted(self: BucketPlace, name: str, at: int, size: int, *, tag: str | None) -> bytes:
        asked.append((at, size))
        return read_range(self, name, at, size, tag=tag)

    monkeypatch.setattr(BucketPlace, "read_range", counted)
    for item in listed(f"{memory}/x.tar"):
        read_bytes(item.content)

    assert asked == [(0, len(raw))]


def test_a_part_of_a_tar_that_has_changed_is_an_error_of_its_item(memory: str) -> None:
    open_place(memory).put("x.tar", tar_of(CONTENTS))
    items = listed(f"{memory}/x.tar")
    open_place(memory).put("x.tar", tar_of(CONTENTS[::-1]))

    with pytest.raises(ItemError, match=r"changed since it was listed: s3://.*/x\.tar; run the"):
        read_bytes(items[0].content)


def test_a_tar_that_is_gone_is_an_error_of_its_items(memory: str) -> None:
    open_place(memory).put("x.tar", tar_of(CONTENTS))
    items = listed(f"{memory}/x.tar")
    open_place(memory).delete(["x.tar"])

    with pytest.raises(ItemError, match=r"does not exist: s3://.*/x\.tar"):
        read_bytes(items[0].content)


def test_a_worker_needs_no_copy_of_a_tar(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    X = numbers(6)
    raws = [npy(x) for x in X]
    open_place(memory).put("x.tar", tar_of(raws, "npy"))
    (unit,) = cut(listed(f"{memory}/x.tar", "array"), size=64, seed="")
    sent = pickle.dumps(unit)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "another"))

    outcome = Worker(assigned(tmp_path / "t.emb")).do(pickle.loads(sent))

    assert outcome.entry is not None
    np.testing.assert_array_equal(np.load(tmp_path / "t.emb" / f"{outcome.entry['name']}.npy"), X)
    assert not (tmp_path / "another" / "places").exists()


def npy(x: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(x))
    return file.getvalue()


def parts() -> list[Stored]:
    return [StoredSpan("s3://team/x.tar", 5, "tag", offset, 1000) for offset in range(0, 900, 5)]


def cells() -> list[Stored]:
    return [Cell.of(Path("/x.parquet"), "tag", "text", row=r, is_text=True) for r in range(1, 180)]


@pytest.mark.parametrize("made", [parts, cells])
def test_parts_of_one_file_are_remembered_each_by_itself(
    tmp_path: Path, made: Callable[[], list[Stored]]
) -> None:
    index, contents = StatIndex(tmp_path), made()
    digests = [bytes([n]) * 16 for n in range(len(contents))]

    stats = [seen.stat for seen in index.look(contents)]
    index.remember(list(zip(contents, stats, digests, strict=True)))

    assert [seen.digest for seen in index.look(contents)] == digests
    index.close()


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with denying_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


def unit_of(*names: str) -> Unit:
    items = [Item(id=n, content=StoredFile(f"s3://team/{n}", 3, '"1"')) for n in names]
    return Unit(0, "key", "facts", items)


@pytest.mark.usefixtures("denying")
def test_a_worker_that_is_denied_all_of_a_unit_refuses_it(tmp_path: Path) -> None:
    worker = Worker(assigned(tmp_path / "t.emb"))

    with pytest.raises(StoreError) as caught:
        worker.do(unit_of("gone", "secret1", "secret2"))

    assert "can read nothing of a unit: s3://team/secret1: denied; credentials" in str(caught.value)
    assert [path.name for path in (tmp_path / "t.emb").glob("segment-*")] == []


@pytest.mark.usefixtures("denying")
def test_a_worker_that_is_denied_the_destination_says_where_it_runs(tmp_path: Path) -> None:
    told = replace(assigned(tmp_path / "t.emb"), url="s3://team/secret.emb")

    with pytest.raises(StoreError) as caught:
        Worker(told).do(unit_of("bad"))

    assert str(caught.value).startswith(
        f"the worker on {socket.gethostname()}: s3://team/secret.emb/manifest.json: denied; "
    )


@pytest.mark.usefixtures("denying")
@pytest.mark.parametrize("names", [("gone", "gone2"), ("secret", "bad")])
def test_what_is_gone_or_denied_alone_is_a_problem_of_its_item(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    outcome = Worker(assigned(tmp_path / "t.emb")).do(unit_of(*names))

    assert outcome.failed == list(names)
    assert outcome.progress.errors == 2
    assert outcome.entry is not None
    assert (outcome.entry["rows"], outcome.entry["failed"]) == (0, 2)
