"""A real object store: what is written is read, what goes wrong is said, nothing is lost."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from featx.data.places import Place, open_place
from featx.data.places import bucket as buckets
from featx.errors import ChangedError, MissingError, StoreError
from objectstore import READER, READER_SECRET, Proxy

pytestmark = pytest.mark.s3

MIB = 1 << 20


@pytest.fixture
def place(bucket: str) -> Place:
    return open_place(f"{bucket}/folder")


def noise(size_bytes: int) -> bytes:
    return np.random.default_rng(size_bytes).bytes(size_bytes)


@pytest.mark.parametrize("name", ["a.txt", "deep/er/ä ö.txt", "100%25 of #1?.txt", "a+b&c=d.txt"])
def test_what_was_put_is_read(place: Place, name: str) -> None:
    place.put(name, b"one")

    assert place.read(name)[0] == b"one"
    assert place.read_range(name, 1, 2) == b"ne"
    assert [entry.name for entry in place.list()] == [name]


def test_a_tag_is_the_same_wherever_it_is_told(place: Place, tmp_path: Path) -> None:
    tag = place.put_if("a", b"one", None)

    assert {place.read("a")[1], place.entry("a").tag, place.get_file("a", tmp_path / "a"), tag} == {
        next(iter(place.list())).tag
    }


@pytest.mark.parametrize("size_bytes", [0, 1, 16 * MIB, 16 * MIB + 1, 40 * MIB])
def test_a_file_of_any_size_comes_back_whole(place: Place, tmp_path: Path, size_bytes: int) -> None:
    (tmp_path / "there").write_bytes(noise(size_bytes))

    place.put_file("x", tmp_path / "there")
    place.get_file("x", tmp_path / "back")

    assert (tmp_path / "back").read_bytes() == noise(size_bytes)


def test_names_are_listed_by_their_beginning(place: Place) -> None:
    for name in ["segment-1.npy", "segment-2.npy", "segments/a", "other/segment-1"]:
        place.put(name, b"1")

    assert [entry.name for entry in place.list("segment-")] == ["segment-1.npy", "segment-2.npy"]
    assert [entry.name for entry in place.list("segments/")] == ["segments/a"]


def test_what_is_deleted_twice_is_gone(place: Place) -> None:
    place.put("a", b"1")

    place.delete(["a", "b"])
    place.delete(["a"])

    assert list(place.list()) == []


def test_of_two_writers_the_second_is_told(place: Place) -> None:
    first = place.put_if("manifest.json", b"1", None)

    with pytest.raises(ChangedError, match=r"manifest\.json: another process wrote it meanwhile"):
        place.put_if("manifest.json", b"2", None)
    second = place.put_if("manifest.json", b"3", first)
    with pytest.raises(ChangedError, match="another process"):
        place.put_if("manifest.json", b"4", first)

    assert place.read("manifest.json") == (b"3", second)


def test_a_condition_on_a_file_that_is_gone_is_not_met(place: Place) -> None:
    tag = place.put_if("a", b"1", None)
    place.delete(["a"])

    with pytest.raises(ChangedError, match="another process"):
        place.put_if("a", b"2", tag)


def test_a_place_travels_to_another_process(place: Place) -> None:
    place.put("a", b"1")

    assert pickle.loads(pickle.dumps(place)).read("a")[0] == b"1"


def test_a_missing_file_is_said(place: Place) -> None:
    with pytest.raises(MissingError, match=r"folder/nothing: no such file$"):
        place.read("nothing")
    with pytest.raises(MissingError, match=r"folder/nothing: no such file$"):
        place.entry("nothing")


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_said() -> None:
    place = open_place("s3://there-is-none/x")

    for look in (lambda: place.read("a"), lambda: list(place.list()), lambda: place.entry("a")):
        with pytest.raises(
            StoreError, match=r"^s3://there-is-none: no such bucket; check its name"
        ):
            look()


def test_a_denied_request_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)

    with pytest.raises(StoreError, match="/folder/a: denied; credentials are read from the envi"):
        place.put("a", b"1")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("AWS_ACCESS_KEY_ID", "the access key is unknown there"),
        ("AWS_SECRET_ACCESS_KEY", "the secret key does not belong to the access key"),
    ],
)
def test_a_wrong_key_is_said_and_never_shown(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    monkeypatch.setenv(name, "no-such-key-at-all")

    with pytest.raises(StoreError, match=words) as raised:
        place.read("a")

    assert "no-such-key-at-all" not in str(raised.value)
    assert "AWS_SECRET_ACCESS_KEY is set" in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://127.0.0.1:1", "cannot reach http://127.0.0.1:1: nothing answers there"),
        ("http://a.invalid", "cannot reach http://a.invalid: there is no such host"),
    ],
)
def test_an_endpoint_that_is_none_is_said(
    place: Place, monkeypatch: pytest.MonkeyPatch, endpoint: str, words: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setitem(buckets.RETRIES, "max_retries", 1)

    with pytest.raises(StoreError, match=words):
        place.read("a")


def test_an_endpoint_without_tls_is_said(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", os.environ["AWS_ENDPOINT_URL"].replace("http", "https"))
    monkeypatch.setitem(buckets.RETRIES, "max_retries", 1)

    with pytest.raises(StoreError, match="it does not speak TLS; write http://"):
        place.read("a")


def refusal(status: str, code: str, more: str = "") -> bytes:
    body = f"<Error><Code>{code}</Code><Message>no</Message>{more}</Error>"
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return (head + body).encode()


def test_a_store_that_asks_to_slow_down_is_asked_again(place: Place, proxy: Proxy) -> None:
    place.put("a", b"1")
    busy = [refusal("503 Slow Down", "SlowDown")] * 3
    proxy.answer = lambda _: busy.pop() if busy else None

    assert open_place(place.url).read("a")[0] == b"1"
    assert not busy


def test_a_store_that_never_stops_asking_to_slow_down_is_said(
    place: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(buckets.RETRIES, "max_retries", 2)
    proxy.answer = lambda _: refusal("503 Slow Down", "SlowDown")

    with pytest.raises(StoreError, match="folder/a: the store asks to slow down, 3 times; run th"):
        open_place(place.url).read("a")


def test_a_bucket_of_another_region_is_said(place: Place, proxy: Proxy) -> None:
    wrong = "<Region>eu-west-1</Region>"
    proxy.answer = lambda _: refusal("400 Bad Request", "AuthorizationHeaderMalformed", wrong)

    with pytest.raises(StoreError, match="the bucket lies in region 'eu-west-1'; AWS_REGION is '"):
        open_place(place.url).read("a")


def test_twenty_lost_connections_lose_nothing(place: Place, proxy: Proxy, tmp_path: Path) -> None:
    rng = np.random.default_rng(20)
    content = noise(40 * MIB)
    (tmp_path / "there").write_bytes(content)
    place = open_place(place.url)

    for turn in range(2):
        proxy.cuts = sorted(rng.integers(1000, 12 * MIB, 10).tolist())
        place.put_file("x", tmp_path / "there")
        for number in range(20):
            place.put(f"small-{number}", noise(number))
        place.get_file("x", tmp_path / f"back-{turn}")
        proxy.cuts, left = [], proxy.cuts
        assert left == []

    assert proxy.lost == 20
    assert (tmp_path / "back-0").read_bytes() == (tmp_path / "back-1").read_bytes() == content
    assert [place.read(f"small-{number}")[0] for number in range(20)] == [*map(noise, range(20))]


def test_a_file_that_changes_while_it_is_read_is_read_again(
    place: Place, proxy: Proxy, tmp_path: Path
) -> None:
    old, new = noise(40 * MIB), noise(40 * MIB + 1)
    place.put("x", old)
    changes = [lambda: place.put("x", new)]

    def change(head: bytes) -> None:
        if b"GET" in head[:4] and b"bytes=0-" not in head and changes:
            changes.pop()()

    proxy.answer = change
    tag = open_place(place.url).get_file("x", tmp_path / "x")

    assert (tmp_path / "x").read_bytes() == new
    assert (tag, changes) == (place.entry("x").tag, [])


def test_a_listing_goes_on_after_a_lost_connection(place: Place, proxy: Proxy) -> None:
    names = [f"{number:04}" for number in range(1500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: place.put(name, b""), names))
    proxy.cuts = [20_000, 150_000]

    assert [entry.name for entry in open_place(place.url).list()] == names
    assert proxy.lost == 2


def test_missing_credentials_are_said_at_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")

    with pytest.raises(StoreError, match=r"^s3://team: no credentials; credentials are read from"):
        place.read("a")


def test_a_commit_whose_answer_is_lost_is_taken_for_done(place: Place, proxy: Proxy) -> None:
    place = open_place(place.url)
    tag = place.put_if("m", b"one", None)

    for number in range(5):
        proxy.lost_answers = 1
        tag = place.put_if("m", b"run %d " % number * 100, tag)

    assert place.read("m") == (b"run 4 " * 100, tag)
    assert proxy.lost == 5


def test_a_connection_that_is_always_lost_is_said(
    place: Place, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(buckets.RETRIES, "max_retries", 1)
    monkeypatch.setattr(buckets, "TRIES", 2)
    proxy.cuts = [1] * 100

    with pytest.raises(StoreError, match="folder/a: the connection was lost again and again; run"):
        open_place(place.url).read("a")
