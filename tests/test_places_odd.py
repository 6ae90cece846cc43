"""Object stores that do not do what they should."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from featx.data.places import bucket as buckets
from featx.data.places import open_place
from featx.data.places.place import Entry
from featx.errors import ChangedError, StoreError

pytest.importorskip("obstore")

CONTENT = bytes(range(256)) * 512


class Odd(ThreadingHTTPServer):
    """A store of one file, which passes over conditions.

    Attributes
    ----------
    short : int
        How many of the next answers lack their last ten bytes.
    tag : str
    listed : str
        The name of the one file in a listing.
    """

    daemon_threads = True

    def __init__(self) -> None:
        self.short = 0
        self.tag = '"1"'
        self.listed = "x"
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(BaseHTTPRequestHandler):
    server: Odd
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if "list-type" in self.path:
            self._list()
            return
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        last = min(last, len(CONTENT) - 1)
        raw = CONTENT[first : last + 1]
        if first and self.server.short:
            self.server.short, raw = self.server.short - 1, raw[:-10]
        where = {"Content-Range": f"bytes {first}-{last}/{len(CONTENT)}"}
        self._say(206, raw, where | {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"})

    def _list(self) -> None:
        facts = "<LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>1</ETag><Size>3</Size>"
        file = f"<Contents><Key>{self.server.listed}</Key>{facts}</Contents>"
        whole = f"<ListBucketResult><IsTruncated>false</IsTruncated>{file}</ListBucketResult>"
        self._say(200, whole.encode(), {})

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._say(200, b"", {})

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _say(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        tag = {"ETag": self.server.tag} if self.server.tag else {}
        for key, value in (headers | tag | {"Content-Length": str(len(raw))}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(raw)


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch) -> Iterator[Odd]:
    """Give an odd store, which the environment names."""
    with Odd() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setattr(buckets, "PART_BYTES", 1 << 16)
        monkeypatch.setattr(buckets, "FIRST_WAIT_S", 0.001)
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("listed", [None, Entry("x", len(CONTENT), '"1"', 0.0)])
def test_a_part_that_is_short_is_asked_for_again(
    odd: Odd, tmp_path: Path, listed: Entry | None
) -> None:
    odd.short = 2

    open_place("s3://team").get_file("x", tmp_path / "x", listed=listed)

    assert (tmp_path / "x").read_bytes() == CONTENT
    assert odd.short == 0


def test_parts_that_are_always_short_are_no_file(odd: Odd, tmp_path: Path) -> None:
    odd.short = 100

    with pytest.raises(StoreError, match=r"s3://team/x: ends at byte 131062 of 131072; run"):
        open_place("s3://team").get_file("x", tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tag", [None, '"1"'])
@pytest.mark.usefixtures("odd")
def test_a_store_that_passes_over_conditions_is_refused(tag: str | None) -> None:
    with pytest.raises(StoreError, match="s3://team: the store passes over If-None-Match"):
        open_place("s3://team").put_if("manifest.json", b"{}", tag)


def test_a_store_that_tells_no_versions_is_refused(odd: Odd, tmp_path: Path) -> None:
    odd.tag = ""

    with pytest.raises(StoreError, match="the store tells no ETag"):
        open_place("s3://team").get_file("x", tmp_path / "x")


@pytest.mark.parametrize("name", ["a//b.jpg", "a/../b.jpg", "a/\nb.jpg"])
def test_an_object_whose_name_cannot_be_read_is_named(odd: Odd, name: str) -> None:
    odd.listed = name
    said = name.replace("\n", r"\n")

    with pytest.raises(StoreError) as caught:
        list(open_place("s3://team").list())

    assert str(caught.value) == (
        f"s3://team: an object is named '{said}', with an empty part, '.' or a control character, "
        "which the store's client cannot read; rename it, or name a prefix that does not hold it"
    )


def test_a_range_is_of_the_version_that_is_asked_for(tmp_path: Path) -> None:
    place = open_place(tmp_path)
    place.put("a", b"one")
    tag = place.entry("a").tag

    assert place.read_range("a", 1, 2, tag=tag) == b"ne"
    place.put("a", b"two")
    with pytest.raises(ChangedError, match="a: changed since it was listed"):
        place.read_range("a", 1, 2, tag=tag)
