"""`featx.Client` and ``featx predict --server`` against services that run."""

import csv
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import featx
from command_line import call, done, objects
from featx import client as client_module
from featx import samples, transport
from featx.backbone.settings import Settings
from featx.client import as_object
from featx.data.opening import open_backbone
from featx.errors import InputError, ItemError, ServerError
from featx.heads.headfile import save_head
from serving import DIM, Served, copy_of, serving, vectors
from test_cli_predict import HEADS, ROWS

pytestmark = pytest.mark.usefixtures("own_cache")

NEW = vectors(10, seed=4)


@pytest.fixture(scope="module")
def plain(vector_gallery: Path) -> Iterator[Served]:
    """Serve a gallery of vectors."""
    with serving(vector_gallery) as served:
        yield served


@pytest.fixture
def client(plain: Served) -> Iterator[featx.Client]:
    with featx.Client(plain.url) as made:
        yield made


@pytest.fixture
def taught(vector_gallery: Path, tmp_path: Path) -> Iterator[featx.Client]:
    """Give a client of a gallery that may be taught with a key."""
    gallery = copy_of(vector_gallery, tmp_path)
    with (
        serving(gallery, keys=("secret",)) as served,
        featx.Client(served.url, "secret") as made,
    ):
        yield made


def test_vectors_are_classified(client: featx.Client) -> None:
    found = client.classify(list(vectors()[:6]), 3, top=2)

    assert [each["label"] for each in found] == list("abcabc")
    assert [each["neighbours"][0]["id"] for each in found] == [f"v{row}" for row in range(6)]
    assert all(len(each["neighbours"]) == 3 for each in found)


def test_a_matrix_is_as_good_as_a_list(client: featx.Client) -> None:
    assert client.classify(vectors()[:3]) == client.classify(list(vectors()[:3]))


def test_neighbours_are_found_by_label_and_split(client: featx.Client) -> None:
    (found,) = client.search([vectors()[0]], 4, label="b", split="train")

    near = found["neighbours"]
    assert [(each["label"], each["split"]) for each in near] == [("b", "train")] * 4
    assert [each["similarity"] for each in near] == sorted(
        (each["similarity"] for each in near), reverse=True
    )


def test_vectors_are_embedded_as_they_are(client: featx.Client) -> None:
    X = client.embed(list(NEW))

    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, NEW)
    assert client.embed([]).shape == (0, DIM)


def test_texts_are_embedded_as_the_backbone_does(text_head: Path, tmp_path: Path) -> None:
    texts = ["free money, click now", "see you at noon", "ö" * 40]
    (tmp_path / "noon.txt").write_text(texts[1], encoding="utf-8")
    with serving(text_head) as served, featx.Client(served.url) as client:
        X = client.embed([texts[0], tmp_path / "noon.txt", texts[2].encode()])
        model = client.model()

    assert (model["kind"], model["modality"], model["task"]) == ("head", "text", "classify")
    expected = open_backbone("minilm-l6", Settings(device="cpu", threads=1)).encode(texts)
    np.testing.assert_allclose(X, expected, atol=1e-5)


def test_pictures_are_classified_from_files_and_bytes(image_gallery: Path) -> None:
    (path, *_) = sorted((samples.folder() / "clipart" / "birds").iterdir())
    with serving(image_gallery) as served, featx.Client(served.url) as client:
        found = client.classify([path, path.read_bytes()], 1)

    assert found[0] == found[1]
    assert found[0]["label"] == "birds"


def test_an_item_that_cannot_be_used_holds_its_error(client: featx.Client) -> None:
    good, short = vectors()[0], np.ones(3, np.float32)

    mixed = client.classify([good, short, good])
    alone = client.classify([short])
    none = client.classify([short, short])

    assert [("error" in each) for each in mixed] == [False, True, False]
    error = {"code": "unusable_item", "message": "is a vector of 3 numbers; this model's have 8"}
    assert mixed[1] == {"error": error}
    assert alone == [{"error": error}]
    assert none == [{"error": error}] * 2


def test_an_item_that_cannot_be_embedded_is_named_by_its_place_among_all(
    client: featx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WINDOW_ITEMS", 3)
    items = [*vectors(4), np.ones(3, np.float32), vectors()[5]]
    why = "is a vector of 3 numbers; this model's have 8"

    with pytest.raises(ServerError, match=rf": items\[4\]: {why}$") as among:
        client.embed(items)
    with pytest.raises(ServerError, match=rf": items\[0\]: {why}$"):
        client.embed(items[4:5])
    with pytest.raises(ServerError, match=rf": items\[3\]: {why}$"):
        client.embed([*items[:3], items[4]])

    assert (among.value.status, among.value.code) == (422, "unusable_item")


def test_many_items_are_sent_in_windows(
    client: featx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "WINDOW_ITEMS", 7)

    found = client.classify(vectors(), 1)

    assert [each["neighbours"][0]["id"] for each in found] == [f"v{row}" for row in range(60)]
    assert client.embed(vectors()).shape == (60, DIM)
    assert client.classify([]) == []


def test_examples_are_taught_labelled_and_forgotten(taught: featx.Client) -> None:
    assert taught.model()["can_teach"] is True
    told = taught.teach(list(NEW[:3]), ["x", None, "y"], ids=["n0", "n1", "v5"])

    assert [each.get("id") for each in told] == ["n0", "n1", None]
    assert told[2]["error"]["code"] == "taken"
    assert taught.classify([NEW[0]], 1)[0]["label"] == "x"
    assert taught.teach([NEW[2]], ["y"], ids=["v5"], replace=True) == [{"id": "v5"}]
    taught.relabel("n0", "z")
    assert taught.classify([NEW[0]], 1)[0]["label"] == "z"
    taught.forget(["n0", "n1"])
    assert taught.model()["items"] == 60
    with pytest.raises(ServerError) as caught:
        taught.forget(["n0"])
    assert (caught.value.status, caught.value.code) == (404, "example_not_found")


def test_many_ids_are_forgotten(taught: featx.Client) -> None:
    ids = [f"a long id with & and = and ü in it, number {row}" for row in range(200)]
    X = np.repeat(NEW, 20, axis=0)

    taught.teach(X, ["x"] * 200, ids=ids)
    assert taught.model()["items"] == 260
    taught.forget(ids)

    assert taught.model()["items"] == 60


def test_what_is_refused_says_why(plain: Served, client: featx.Client) -> None:
    with pytest.raises(ServerError, match=r"^http://.*--allow-teach") as caught:
        client.teach([NEW[0]], ["x"])
    assert (caught.value.status, caught.value.code) == (403, "teaching_not_allowed")
    with pytest.raises(ServerError) as caught:
        client.search([NEW[0]], label="nix")
    assert caught.value.status in {404, 422}
    with featx.Client(plain.url + "/elsewhere") as lost, pytest.raises(ServerError) as caught:
        lost.model()
    assert (caught.value.status, caught.value.code) == (404, "not_found")


def test_a_wrong_key_is_refused(vector_gallery: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FEATX_API_KEY", raising=False)
    with serving(vector_gallery, keys=("right",)) as served:
        for key in (None, "wrong"):
            with featx.Client(served.url, key) as client:
                assert client.ready()
                with pytest.raises(ServerError) as caught:
                    client.model()
                assert caught.value.status == 401
        with featx.Client(served.url, " right\n") as client:
            assert client.model()["items"] == 60
        monkeypatch.setenv("FEATX_API_KEY", "right")
        for url in (served.url, f"{served.url}/", f"{served.url}/v1", f"{served.url}/v1/"):
            with featx.Client(url) as client:
                assert client.model()["items"] == 60


def test_a_service_that_is_not_there_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    client = featx.Client(url)

    assert not client.ready()
    with pytest.raises(ServerError, match=r"cannot be reached: .*featx serve THING") as caught:
        client.model()
    assert (caught.value.status, caught.value.code) == (None, "unreachable")


@contextmanager
def answering(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer requests with these bytes in turn, a connection each; give what was asked."""
    asked: list[bytes] = []

    def answer(listening: socket.socket) -> None:
        for each in answers:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(1 << 16))
                connection.sendall(each)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=answer, args=[listening])
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        thread.join(10)
        assert not thread.is_alive()


def http(status: int, body: object, *headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(raw)}", "connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw


MODEL = {"data": [{"id": "x", "modality": "array", "dim": 2}]}
BUSY = {"error": {"message": "too much", "code": "busy"}}


def test_a_busy_service_is_asked_again() -> None:
    busy = http(429, BUSY, "retry-after: 0")
    ending = http(503, BUSY, "retry-after: Wed, 21 Oct 2026 07:28:00 GMT")
    with answering(busy, ending, http(200, MODEL)) as (url, asked), featx.Client(url) as client:
        assert client.model() == MODEL["data"][0]

    assert len(asked) == 3


def test_a_service_that_stays_busy_is_given_up() -> None:
    busy = http(429, BUSY, "retry-after: 0")
    with (
        answering(*[busy] * transport.TRIES) as (url, _),
        featx.Client(url) as client,
        pytest.raises(ServerError, match="too much") as caught,
    ):
        client.model()

    assert (caught.value.status, caught.value.code) == (429, "busy")


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (http(200, b"<html>"), 200, "no_json"),
        (http(500, b"oh"), 500, "no_json"),
        (http(500, ["oh"]), 500, "unknown"),
        (http(418, {"error": "tea"}), 418, "unknown"),
        (b"nonsense\r\n\r\n", None, "unreachable"),
        (b"", None, "unreachable"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", None, "unreachable"),
    ],
)
def test_an_answer_that_is_none_is_an_error(answer: bytes, status: int | None, code: str) -> None:
    with (
        answering(answer) as (url, _),
        featx.Client(url) as client,
        pytest.raises(ServerError) as caught,
    ):
        client.model()

    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_service_that_does_not_answer_is_not_waited_for_ever() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with featx.Client(url, timeout_s=0.1) as client, pytest.raises(ServerError) as caught:
            client.model()

    assert caught.value.code == "timed_out"


def test_a_connection_that_was_closed_meanwhile_is_opened_anew(vector_gallery: Path) -> None:
    kept = b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n" % len(json.dumps(MODEL))
    first = kept + json.dumps(MODEL).encode()  # says nothing of closing, and closes
    with answering(first, http(200, MODEL)) as (url, asked), featx.Client(url) as client:
        assert client.model() == client.model()

    assert len(asked) == 2


def test_what_may_have_been_done_is_not_asked_twice() -> None:
    length = len(json.dumps(MODEL))
    first = b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n" % length + json.dumps(MODEL).encode()
    with answering(first, b"") as (url, asked), featx.Client(url) as client:
        client.model()
        with pytest.raises(ServerError, match="cannot be reached"):
            client.relabel("a", "b")

    assert len(asked) == 2


def test_threads_share_a_client(client: featx.Client) -> None:
    X = vectors()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: client.classify([X[row]], 1), range(60)))

    assert [each[0]["neighbours"][0]["id"] for each in found] == [f"v{row}" for row in range(60)]


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x:y", "http://u:p@x", "http://x?a"]
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError, match="expected http://HOST:PORT"):
        featx.Client(url)


def test_arguments_are_checked(client: featx.Client) -> None:
    refused: list[tuple[Callable[[], Any], str]] = [
        (lambda: client.classify("a text"), "items: is a single str; must be a list"),
        (lambda: client.forget("v1"), "ids: is a single str; must be a list"),
        (lambda: client.teach([NEW[0]], []), "1 items, 0 labels and 1 ids"),
        (lambda: client.classify([Path("none.npy")]), r"items\[0\]: does not exist: none.npy"),
        (lambda: featx.Client("http://x", "sch\u00f6n"), "key: holds characters"),
    ]

    for ask, message in refused:
        with pytest.raises(InputError, match=message):
            ask()


def test_texts_that_are_none_are_refused() -> None:
    for item in (b"\xff", "half \ud800"):
        with pytest.raises(ItemError, match="is not UTF-8 at byte"):
            as_object(item, "text")


@pytest.fixture(scope="module", params=list(HEADS))
def head(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a head of each task, beside vectors and a set of them."""
    folder = tmp_path_factory.mktemp(request.param)
    np.save(folder / "v.npy", ROWS)
    save_head(folder / f"{request.param}.head", HEADS[request.param]())
    return folder / f"{request.param}.head"


@pytest.mark.parametrize("form", ["jsonl", "csv", "table"])
def test_a_service_tells_what_its_head_does(head: Path, form: str) -> None:
    source = head.parent / "v.npy"
    here = done("predict", head, source, "--format", form)

    with serving(head) as served:
        there = done("predict", "--server", served.url, source, "--format", form)

    assert there == here


def test_predictions_of_a_service_are_written(head: Path, tmp_path: Path) -> None:
    source = head.parent / "v.npy"
    with serving(head) as served:
        rows = objects(done("predict", "--server", served.url, source, "--json"))
        result = call("predict", "--server", served.url, source, "-o", tmp_path / "p.parquet")

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{tmp_path / 'p.parquet'}: 4 items\n"
    assert pq.read_table(tmp_path / "p.parquet").to_pylist() == rows


def test_a_set_is_predicted_by_a_service(head: Path, tmp_path: Path) -> None:
    done("embed", head.parent / "v.npy", "-m", "identity", "-o", tmp_path / "v.emb", "-q")
    here = done("predict", head, tmp_path / "v.emb", "--json")

    with serving(head) as served:
        there = done("predict", "--server", served.url, tmp_path / "v.emb", "--json")

    assert there == here


def test_a_gallery_has_no_sets(plain: Served, tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", vectors()[:2])
    text = done("predict", "--server", plain.url, tmp_path / "v.npy", "--format", "csv")
    rows = list(csv.DictReader(StringIO(text)))
    table = done("predict", "--server", plain.url, tmp_path / "v.npy", "--format", "table")

    assert [(row["id"], row["label"], row["set"]) for row in rows] == [
        ("v.npy:1", "a", ""),
        ("v.npy:2", "b", ""),
    ]
    assert table.splitlines()[1].split()[3] == "-"


def test_items_that_cannot_be_used_are_skipped(image_gallery: Path, tmp_path: Path) -> None:
    (bird, *_) = sorted((samples.folder() / "clipart" / "birds").iterdir())
    (tmp_path / "good.png").write_bytes(bird.read_bytes())
    (tmp_path / "bad.png").write_bytes(b"no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    with serving(image_gallery) as served:
        some = call("predict", "--server", served.url, tmp_path, "--json")
        none = call("predict", "--server", served.url, tmp_path / "bad.png", "--json")

    assert some.exit_code == 3
    assert [row["id"] for row in objects(some.stdout)] == ["good.png"]
    assert sorted(line.partition(":")[0] for line in some.stderr.splitlines()) == [
        "skipped bad.png",
        "skipped empty.png",
    ]
    assert (none.exit_code, none.stdout) == (1, "")
    assert none.stderr.startswith(f"skipped {tmp_path / 'bad.png'}: is not an image")


def test_texts_are_predicted_with_a_key(text_head: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["claim your free prize now", "lunch at noon?"]
    here = objects(done("predict", text_head, *texts, "--json"))
    with serving(text_head, keys=("secret",)) as served:
        refused = call("predict", "--server", served.url, *texts)
        monkeypatch.setenv("FEATX_API_KEY", "secret")
        there = objects(done("predict", "--server", served.url, *texts, "--json"))

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "FEATX_API_KEY" in refused.stderr
    assert [row["label"] for row in there] == [row["label"] for row in here]
    assert [row["set"] for row in there] == [row["set"] for row in here]
    assert [row["probability"] for row in there] == pytest.approx(
        [row["probability"] for row in here], abs=1e-4
    )


def test_what_cannot_be_asked_of_a_service_is_refused(plain: Served, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.ones((2, 3), np.float32))
    done("embed", tmp_path / "w.npy", "-m", "identity", "-o", tmp_path / "w.emb", "-q")

    local = call("predict", "--server", plain.url, "--threads", 2, "v.npy")
    other = call("predict", "--server", plain.url, tmp_path / "w.emb")
    alone = call("predict", "x.head")
    nothing = call("predict", "--server", plain.url)
    head = call("predict", "--server", plain.url, "photos.head", "v.npy")

    assert local.exit_code == alone.exit_code == nothing.exit_code == head.exit_code == 2
    assert "Missing argument 'ITEMS'" in nothing.stderr
    assert "Missing argument 'ITEMS'" in alone.stderr
    assert "photos.head: is a head; leave HEAD out with --server" in head.stderr
    assert "--threads is for a head that runs here" in local.stderr
    assert other.exit_code == 1
    assert "w.emb: embeddings of identity" in other.stderr
    assert f"{plain.url} serves" in other.stderr
