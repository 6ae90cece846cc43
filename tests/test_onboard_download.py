"""Downloads are checked, continued after a cut, bounded, and never lead a secret astray."""

import hashlib
from collections.abc import Iterator
from http.client import HTTPMessage
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.error import URLError
from urllib.request import Request

import pytest

from featx.errors import FeatxError, InputError, ServerError
from featx.onboard.fetch import download as downloads
from featx.onboard.fetch import web
from featx.onboard.fetch.download import download, small_file
from featx.onboard.fetch.files import open_files
from featx.onboard.fetch.kept import kept
from featx.onboard.fetch.origin import parse_origin
from websites import Site, served

RAW = bytes(range(256)) * 40
SHA256 = hashlib.sha256(RAW).hexdigest()


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATX_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(downloads, "FIRST_WAIT_S", 0.0)


@pytest.fixture
def site() -> Iterator[Site]:
    with served(Site(files={"/model.onnx": RAW})) as site:
        yield site


def fetch(
    site: Site, *, sha256: str = SHA256, path: str = "/model.onnx", limit_bytes: int = 1 << 20
) -> bytes:
    origin = parse_origin(f"{site.url}{path}#sha256={sha256}")
    with TemporaryDirectory() as folder:
        target = Path(folder) / "fetched"
        download(origin, target, limit_bytes=limit_bytes, say=lambda _: None)
        return target.read_bytes()


def refusal(site: Site, **how: object) -> str:
    with pytest.raises(FeatxError) as caught:
        fetch(site, **how)  # type: ignore[arg-type]
    return str(caught.value).replace(site.url, "URL")


def test_a_file_is_fetched_once(site: Site) -> None:
    assert fetch(site) == RAW
    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == [""]


def test_a_cut_connection_is_continued(site: Site) -> None:
    site.cuts["/model.onnx"] = [1000, 3000]

    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == ["", "bytes=1000-", "bytes=4000-"]


def test_what_a_killed_process_left_is_continued(site: Site) -> None:
    part = kept(f"{SHA256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(RAW[:7000])

    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == ["bytes=7000-"]


def test_a_file_that_was_whole_but_not_named_is_not_fetched_again(site: Site) -> None:
    part = kept(f"{SHA256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(RAW)

    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == [f"bytes={len(RAW)}-"]


def test_a_file_that_changed_meanwhile_is_fetched_anew(site: Site) -> None:
    part = kept(f"{SHA256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"of an older file")

    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == ["bytes=16-", ""]


def test_a_file_that_became_shorter_is_fetched_anew(site: Site) -> None:
    part = kept(f"{SHA256}.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(RAW + b"and more")

    assert fetch(site) == RAW
    assert site.ranges("/model.onnx") == [f"bytes={len(RAW) + 8}-", ""]


def test_a_wrong_sha256_is_refused_and_nothing_is_kept(site: Site) -> None:
    wrong = "0" * 64

    assert refusal(site, sha256=wrong) == (
        f"URL/model.onnx: sha256 {SHA256}; expected {wrong}; it is another file, or the sha256 "
        "is wrong; nothing was kept"
    )
    assert [path.suffix for path in kept("").iterdir()] == [".lock"]


def test_a_server_that_only_cuts_is_given_up_and_what_came_is_kept(site: Site) -> None:
    site.cuts["/model.onnx"] = [5000] + [0] * 20

    assert refusal(site) == (
        f"URL/model.onnx: no answer: the connection was cut after 5000 of {len(RAW)} bytes; "
        "is the network there?"
    )
    assert len(site.ranges("/model.onnx")) == 1 + downloads.TRIES
    assert kept(f"{SHA256}.part").read_bytes() == RAW[:5000]


@pytest.mark.parametrize(
    ("status", "reason", "tries"),
    [
        (401, "401 Unauthorized; put name and password of the host into ~/.netrc", 1),
        (403, "403 Forbidden; it is not for everyone, or not there", 1),
        (404, "404 Not Found; is it spelt right?", 1),
        (503, "503 Service Unavailable", downloads.TRIES),
    ],
)
def test_a_refusal_says_what_to_do(site: Site, status: int, reason: str, tries: int) -> None:
    site.statuses["/model.onnx"] = status

    assert refusal(site) == f"URL/model.onnx: answered {reason}"
    assert len(site.asked) == tries


def test_no_network_is_said_in_one_line() -> None:
    with served(Site()) as gone:
        pass

    with pytest.raises(ServerError, match=r"/x: no answer: .*refused.*; is the network there") as e:
        fetch(gone, path="/x")
    assert e.value.status is None


def test_a_file_larger_than_allowed_is_not_fetched(site: Site) -> None:
    assert refusal(site, limit_bytes=1000) == (
        "URL/model.onnx: 10.2 kB; at most 1.0 kB are allowed; allow more with --max-size"
    )
    assert not kept(f"{SHA256}.part").exists()


def test_a_server_that_hides_a_size_is_stopped_at_the_limit(site: Site) -> None:
    site.headers["/model.onnx"] = {"Content-Length": "", "Connection": "close"}

    assert refusal(site, limit_bytes=1000) == (
        "URL/model.onnx: sends more than 1000 bytes; nothing was kept"
    )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_another_server_may_not_redirect_to_this_machine(scheme: str) -> None:
    asked, answer = Request("https://zoo.example/model.onnx"), BytesIO()
    target = f"{scheme}://127.0.0.1:8000/admin"

    with pytest.raises(URLError, match="which is this machine"):
        web._Redirects().redirect_request(asked, answer, 302, "Found", HTTPMessage(), target)
    assert answer.closed


def test_a_redirection_to_another_scheme_is_not_followed(site: Site) -> None:
    site.moves["/model.onnx"] = "http://zoo.example/x"

    assert "redirected to 'http://zoo.example/x', which is not https" in refusal(site)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://zoo.example/model.onnx", "http://zoo.example/model.onnx: expected https://"),
        ("https://me:secret@zoo.example/m.onnx", "would be recorded; use ~/.netrc"),
        ("https://me:secret@[::1/m.onnx", "[::1/m.onnx: not a URL: Invalid IPv6 URL"),
        ("https://zoo.example:99999/m.onnx", "not a URL: Port out of range 0-65535"),
        ("https://zoo.example/h\u00fctte.onnx", "not a URL: 'ascii' codec can't encode"),
        ("https://.zoo/m.onnx", "not a URL: "),
    ],
)
def test_a_url_that_cannot_be_asked_is_refused_and_no_password_repeated(
    url: str, problem: str
) -> None:
    origin = parse_origin(f"{url}#sha256={SHA256}")

    with pytest.raises(InputError) as caught:
        open_files(origin, limit_bytes=1, say=lambda _: None)
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_of_netrc_stays_with_its_host(site: Site, tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    other = site.url.replace("127.0.0.1", "localhost")
    site.moves["/moved"] = f"{other}/model.onnx"

    assert fetch(site, path="/moved") == RAW
    sent = {path: headers.get("Authorization") for _, path, headers in site.asked}
    assert sent == {"/moved": "Basic bWU6c2VjcmV0", "/model.onnx": None}


@pytest.mark.parametrize(
    ("raw", "problem"),
    [(b"machin 127.0.0.1", "bad toplevel token 'machin'"), (b"\xff\xfe", "codec can't decode")],
)
def test_a_netrc_that_cannot_be_read_is_told_where_it_is_needed(
    site: Site, tmp_path: Path, raw: bytes, problem: str
) -> None:
    (tmp_path / ".netrc").write_bytes(raw)
    site.statuses["/private.onnx"] = 401

    assert fetch(site) == RAW
    found = refusal(site, path="/private.onnx", sha256="0" * 64)
    assert found.startswith(
        "URL/private.onnx: answered 401 Unauthorized; ~/.netrc cannot be read: "
    )
    assert problem in found


def test_a_small_file_is_bounded_and_may_be_missing(site: Site) -> None:
    assert small_file(f"{site.url}/model.onnx", most_bytes=len(RAW)) == RAW
    assert small_file(f"{site.url}/none", most_bytes=9) is None
    with pytest.raises(InputError, match="at most 9 bytes"):
        small_file(f"{site.url}/model.onnx", most_bytes=9)


def test_a_download_says_its_size(site: Site, tmp_path: Path) -> None:
    said: list[str] = []
    origin = parse_origin(f"{site.url}/model.onnx#sha256={SHA256}")

    download(origin, tmp_path / "fetched", limit_bytes=1 << 20, say=said.append)

    assert said == [f"fetching {site.url}/model.onnx: 10.2 kB"]
