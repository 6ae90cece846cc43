"""Places: URLs taken apart, and local folders as a place."""

import pickle
import sys
import threading
from pathlib import Path

import pytest

from command_line import refused
from featx.data.places import Address, is_url, open_place, url_of
from featx.data.places.trouble import require_endpoints
from featx.errors import (
    ChangedError,
    InputError,
    MissingError,
    MissingPackageError,
    StoreError,
)


@pytest.mark.parametrize(
    ("url", "scheme", "bucket", "key"),
    [
        ("s3://team/x.emb", "s3", "team", "x.emb"),
        ("s3:/team/x.emb", "s3", "team", "x.emb"),
        ("gs://team", "gs", "team", ""),
        ("az://team/a/b/", "az", "team", "a/b"),
        ("abfs://team@lake.dfs.core.windows.net/a", "abfs", "team@lake.dfs.core.windows.net", "a"),
        ("s3://team/100%25 #1?", "s3", "team", "100%25 #1?"),
        ("file:///data/a%20b", "file", "", "/data/a b"),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, bucket: str, key: str) -> None:
    assert Address.parse(url) == Address(scheme, bucket, key)
    assert Address.parse(Path(url)) == Address(scheme, bucket, key)
    assert is_url(url)


@pytest.mark.parametrize("path", ["x.emb", "/data/x.emb", "s3", "./s3:/x", "https://host/x", "-"])
def test_a_path_is_no_url(path: str) -> None:
    assert not is_url(path)
    assert url_of(path) == path


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:hidden@team/x",
        "gs://me@team/x",
        "abfs://me:hidden@lake.net/x",
        "az://:hidden@b/c",
        "s3://me:hid/hidden@team/x",
        "s3:///me:hid/hidden@team/x",
        "s3://me:hidden/../x",
        "s3://hidden@hid/hidden@team/x",
        "abfs://me:hid/hidden@lake.dfs.core.windows.net/x",
    ],
)
def test_a_url_with_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="holds a user name or a password; leave it") as raised:
        open_place(url)

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3:///x", "^s3:///x: names no bucket"),
        ("s3://team/a/../b", "an empty, '.' or '..' part"),
        ("s3://team/a//b", "an empty, '.' or '..' part"),
        ("file://host/x", "names a host; expected file:///PATH"),
    ],
)
def test_a_url_that_names_nothing_is_refused(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        open_place(url)


ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AWS_METADATA_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


@pytest.mark.parametrize(
    ("scheme", "name"), [(scheme, name) for scheme in ENDPOINTS for name in ENDPOINTS[scheme]]
)
@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:9000", "http://", "http://host:65536", "http://a b", "ftp://host", "https://ho<st"],
)
def test_an_endpoint_that_is_no_address_is_told_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, scheme: str, name: str, address: str
) -> None:
    pytest.importorskip("obstore", reason="obstore is not installed: pip install 'featx[s3]'")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "any")
    monkeypatch.setenv(name, address)

    with pytest.raises(StoreError) as raised:
        open_place(f"{scheme}://team/x.emb").read("manifest.json")

    assert str(raised.value) == (
        f"{name}: {address!r} is no address; expected https://HOST, or http://HOST:PORT"
    )


@pytest.mark.parametrize("address", ["me:hidden@host:1", "http://me:hidden@ho st"])
def test_a_password_in_an_endpoint_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)

    with pytest.raises(StoreError, match=r"^AWS_ENDPOINT_URL: .*\.\.\.@ho.* is no addr") as raised:
        require_endpoints("s3")

    assert "hidden" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:9000", "https://s3.eu-west-1.amazonaws.com/", "http://[::1]:9000/v1/s3", ""],
)
def test_an_endpoint_that_is_an_address_is_taken(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", address)

    require_endpoints("s3")


def test_a_password_in_the_url_of_a_file_is_not_repeated() -> None:
    with pytest.raises(InputError, match=r"^file://\.\.\.@host/x: names a host") as raised:
        open_place("file://me:hid/hidden@host/x")

    assert "hid" not in str(raised.value)


def test_a_file_url_is_a_local_place(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()

    open_place(f"file://{tmp_path}/a%20b").put("x", b"1")

    assert (tmp_path / "a b" / "x").read_bytes() == b"1"


def test_what_was_put_is_read(tmp_path: Path) -> None:
    place = open_place(tmp_path / "new")

    place.put("deep/er/a", b"one two")
    place.put_file("b", tmp_path / "new" / "deep" / "er" / "a")
    tag = place.get_file("b", tmp_path / "copy")

    assert place.read("b") == (b"one two", tag)
    assert (tmp_path / "copy").read_bytes() == b"one two"
    assert place.read_range("b", 4, 3) == b"two"
    assert [(e.name, e.size_bytes) for e in place.list()] == [("b", 7), ("deep/er/a", 7)]
    assert {entry.tag for entry in place.list("b")} == {tag, place.entry("b").tag}


def test_names_are_listed_by_their_beginning(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    for name in ["segment-2.npy", "segment-1.npy", "segments/a", "other/segment-1", ".x.tmp"]:
        place.put(name, b"1")
    place.put_if("segment-3.npy", b"1", None)

    numbered = [f"segment-{number}.npy" for number in (1, 2, 3)]
    assert [entry.name for entry in place.list("segment-")] == numbered
    assert [entry.name for entry in place.list("segments/")] == ["segments/a"]
    assert [e.name for e in place.list()] == ["other/segment-1", *numbered, "segments/a"]


def test_of_two_writers_the_second_is_told(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    first = place.put_if("m", b"1", None)

    with pytest.raises(ChangedError, match="m: another process wrote it meanwhile"):
        place.put_if("m", b"2", None)
    second = place.put_if("m", b"3", first)
    with pytest.raises(ChangedError, match="m: another process wrote it meanwhile"):
        place.put_if("m", b"4", first)

    assert place.read("m") == (b"3", second)


def test_of_many_writers_at_once_none_is_overwritten(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    place.put("m", b"")

    def append(letter: bytes) -> None:
        for _ in range(20):
            while True:
                raw, tag = place.read("m")
                try:
                    place.put_if("m", raw + letter, tag)
                except ChangedError:
                    continue
                break

    threads = [threading.Thread(target=append, args=(bytes([65 + n]),)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(place.read("m")[0]) == sorted(b"ABCD" * 20)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    place.put("a", b"one")

    for look in (place.read, place.entry, lambda name: place.get_file(name, tmp_path / "y")):
        with pytest.raises(MissingError, match="nothing: no such file"):
            look("nothing")
    with pytest.raises(StoreError, match="a: ends at byte 3; 5 expected"):
        place.read_range("a", 1, 4)
    place.delete(["nothing", "a"])
    assert list(place.list()) == []


@pytest.mark.parametrize("name", ["", "../a", "/etc/passwd", "a//b", "a/./b", "a\0b"])
def test_a_name_that_leaves_its_place_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="no name of a file of a place; refused"):
        open_place(tmp_path).put(name, b"1")


def test_without_its_package_a_bucket_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(MissingPackageError, match=r"run: pip install 'featx\[s3\]'"):
        open_place("s3://team/x")
    assert refused("cat", "s3://team/x.emb") == (
        "obstore is not installed; run: pip install 'featx[s3]'"
    )


def test_a_place_travels_to_another_process(tmp_path: Path) -> None:
    place = pickle.loads(pickle.dumps(open_place(tmp_path)))
    place.put("a", b"1")

    assert (tmp_path / "a").read_bytes() == b"1"
