"""Classifying, searching and embedding over HTTP, and what is sent that cannot be answered."""

import asyncio
import base64
import io
import json
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featx.gallery.gallery import Gallery
from featx.heads.headfile import load_head
from serving import Served, label_of, serving, vectors

JSON = {"content-type": "application/json"}
X = vectors(6, seed=1)


@pytest.fixture(scope="module")
def heads(vector_head: Path) -> Iterator[Served]:
    with serving(vector_head) as served:
        yield served


@pytest.fixture(scope="module")
def galleries(vector_gallery: Path) -> Iterator[Served]:
    with serving(vector_gallery) as served:
        yield served


@pytest.fixture(scope="module")
def mails(text_head: Path) -> Iterator[Served]:
    with serving(text_head, text_bytes=1000) as served:
        yield served


@pytest.fixture(scope="module")
def pictures(image_gallery: Path) -> Iterator[Served]:
    with serving(image_gallery, pixels=1_000_000) as served:
        yield served


@pytest.fixture(scope="module")
def sounds(sound_gallery: Path) -> Iterator[Served]:
    with serving(sound_gallery, seconds=5) as served:
        yield served


@pytest.fixture(scope="module")
def texts(text_backbone: str) -> Iterator[Served]:
    with serving(text_backbone) as served:
        yield served


@pytest.fixture(scope="module")
def png(image_set: Path) -> bytes:
    return next((image_set.parent / "clipart" / "birds").glob("*.png")).read_bytes()


def form(*files: bytes, text: str | None = None) -> tuple[bytes, dict[str, str]]:
    """Return a body with files, and its headers."""
    parts = [b'name="file"; filename="f"\r\n\r\n' + file for file in files]
    if text is not None:
        parts.append(b'name="text"\r\n\r\n' + text.encode())
    body = b"".join(b"--b\r\nContent-Disposition: form-data; " + part + b"\r\n" for part in parts)
    return body + b"--b--\r\n", {"content-type": "multipart/form-data; boundary=b"}


def sent(
    served: Served, path: str, body: bytes | str, headers: dict[str, str]
) -> tuple[int, dict[str, Any]]:
    status, _, answer = served.request("POST", path, body, headers)
    return status, json.loads(answer)


# Answers


def test_a_head_gives_class_probabilities_set_and_novelty(heads: Served, vector_head: Path) -> None:
    head = load_head(vector_head)

    status, found = heads.json("POST", "/v1/classify", {"input": X.tolist(), "top": 2})

    assert status == 200
    assert found["model"] == "vectors"
    wanted, table = head.predict(X), head.probabilities(X)
    for result, said, row in zip(found["results"], wanted, table, strict=True):
        assert result["label"] == said.label
        assert result["probability"] == pytest.approx(said.probability, abs=1e-6)
        assert result["set"] == list(said.set)
        assert result["novel"] == said.novel
        best = sorted(zip(row, head.classes, strict=True), reverse=True)[:2]
        assert list(result["probabilities"]) == [label for _, label in best]


def test_one_vector_is_a_list_of_numbers_or_base64(heads: Served) -> None:
    encoded = base64.b64encode(X[0].astype("<f4").tobytes()).decode()
    forms = [X[0].tolist(), {"vector": X[0].tolist()}, {"vector": encoded}, encoded]

    answers = [heads.json("POST", "/v1/classify", {"input": each}) for each in forms]

    assert answers == [answers[0]] * 4
    assert answers[0][1]["results"][0]["label"] == label_of(0)


def test_all_probabilities_are_told_when_asked(heads: Served) -> None:
    _, found = heads.json("POST", "/v1/classify", {"input": X[0].tolist(), "top": 0})

    probabilities = found["results"][0]["probabilities"]
    assert set(probabilities) == {"a", "b", "c"}
    assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_a_gallery_votes_and_shows_who_voted(galleries: Served, vector_gallery: Path) -> None:
    with Gallery.open(vector_gallery) as gallery:
        wanted = gallery.classify(X, 5)

    _, found = galleries.json("POST", "/v1/classify", {"input": X.tolist(), "k": 5})

    for result, vote in zip(found["results"], wanted, strict=True):
        assert result["label"] == vote.label
        assert result["probability"] == pytest.approx(vote.probability, abs=1e-6)
        assert [each["id"] for each in result["neighbours"]] == [n.id for n in vote.neighbours]
        assert sum(each["vote"] for each in result["neighbours"]) == pytest.approx(1, abs=1e-4)
        assert result["neighbours"][0]["thumbnail"] is None


def test_a_search_gives_the_nearest_of_a_label_and_split(
    galleries: Served, vector_gallery: Path
) -> None:
    with Gallery.open(vector_gallery) as gallery:
        wanted = gallery.search(X, 4, label="b", split="train")

    asked = {"input": X.tolist(), "k": 4, "label": "b", "split": "train"}
    _, found = galleries.json("POST", "/v1/search", asked)

    for result, near in zip(found["results"], wanted, strict=True):
        told = [(each["id"], each["similarity"]) for each in result["neighbours"]]
        assert told == [(n.id, pytest.approx(n.similarity, abs=1e-6)) for n in near]
        assert {(each["label"], each["split"]) for each in result["neighbours"]} == {("b", "train")}


def test_texts_are_taken_in_every_form(mails: Served) -> None:
    asked = "meeting about the kernel"
    body, multipart = form(asked.encode())
    field, _ = form(text=asked)
    answers = [
        mails.json("POST", "/v1/classify", {"input": asked}),
        mails.json("POST", "/v1/classify", {"input": [asked]}),
        mails.json("POST", "/v1/classify", {"input": {"text": asked}}),
        sent(mails, "/v1/classify", asked, {"content-type": "text/plain; charset=utf-8"}),
        sent(mails, "/v1/classify", body, multipart),
        sent(mails, "/v1/classify", field, multipart),
    ]

    assert answers == [answers[0]] * 6
    assert answers[0][0] == 200
    assert answers[0][1]["results"][0]["label"] in {"spam", "ham"}


def test_images_are_taken_in_every_form(pictures: Served, png: bytes) -> None:
    plain = base64.b64encode(png).decode()
    body, multipart = form(png)
    answers = [
        pictures.json("POST", "/v1/classify", {"input": plain}),
        pictures.json("POST", "/v1/classify", {"input": {"image": plain}}),
        pictures.json(
            "POST", "/v1/classify", {"input": {"image": f"data:image/png;base64,{plain}"}}
        ),
        sent(pictures, "/v1/classify", png, {"content-type": "image/png"}),
        sent(pictures, "/v1/classify", png, {"content-type": "application/octet-stream"}),
        sent(pictures, "/v1/classify", body, multipart),
    ]

    assert answers == [answers[0]] * 6
    (result,) = answers[0][1]["results"]
    near = result["neighbours"][0]
    assert (near["label"], near["similarity"]) == ("birds", pytest.approx(1, abs=1e-4))
    assert near["thumbnail"].startswith("/v1/thumbnail?id=birds%2F")


def test_options_of_an_upload_are_in_the_query(pictures: Served, png: bytes) -> None:
    status, found = sent(pictures, "/v1/search?k=2&label=fruit", png, {"content-type": "image/png"})

    assert status == 200
    assert [each["label"] for each in found["results"][0]["neighbours"]] == ["fruit"] * 2
    assert sent(pictures, "/v1/search?k=x", png, {"content-type": "image/png"})[0] == 422
    assert sent(pictures, "/v1/search?what=x", png, {"content-type": "image/png"})[0] == 422


def test_several_files_of_a_form_are_several_items(pictures: Served, png: bytes) -> None:
    _, found = sent(pictures, "/v1/classify", *form(png, b"none", png))

    first, wrong, last = found["results"]
    assert first == last
    assert wrong["error"]["code"] == "unusable_item"


def test_sounds_are_classified(sounds: Served, sound_gallery: Path) -> None:
    path = next((sound_gallery.parent / "sounds").glob("*/*"))

    status, found = sent(sounds, "/v1/classify", path.read_bytes(), {"content-type": "audio/flac"})

    assert status == 200
    assert found["results"][0]["neighbours"][0]["id"] == f"{path.parent.name}/{path.name}"


def test_embeddings_are_as_the_backbone_gives_them(texts: Served) -> None:
    backbone = texts.service.engine.thing.backbone
    items = ["a sunny day", "rain"]
    wanted = backbone.encode(items)

    asked = {"input": items, "model": "minilm-l6"}
    _, found = texts.json("POST", "/v1/embeddings", asked)
    _, encoded = texts.json("POST", "/v1/embeddings", asked | {"encoding_format": "base64"})

    for number, (plain, in_base64) in enumerate(zip(found["data"], encoded["data"], strict=True)):
        assert (plain["object"], plain["index"]) == ("embedding", number)
        np.testing.assert_allclose(plain["embedding"], wanted[number], atol=1e-5)
        raw = base64.b64decode(in_base64["embedding"])
        np.testing.assert_allclose(np.frombuffer(raw, "<f4"), wanted[number], atol=1e-5)
    assert found["usage"] == {"prompt_tokens": 8, "total_tokens": 8}
    assert (found["object"], found["model"]) == ("list", "minilm-l6")


def test_a_model_is_described(galleries: Served, heads: Served, texts: Served) -> None:
    _, listed = galleries.json("GET", "/v1/models")
    (gallery,) = listed["data"]
    _, head = heads.json("GET", "/v1/models/vectors")
    _, backbone = texts.json("GET", "/v1/models/minilm-l6")

    assert (gallery["id"], gallery["kind"], gallery["items"]) == ("vectors", "gallery", 60)
    assert (gallery["classes"], gallery["can_teach"]) == (["a", "b", "c"], False)
    assert (head["kind"], head["task"], head["dim"]) == ("head", "classify", 8)
    assert (backbone["kind"], backbone["modality"]) == ("backbone", "text")


def test_a_dimension_is_refused_that_the_backbone_does_not_have(texts: Served) -> None:
    asked = {"input": "a", "model": "minilm-l6"}

    assert texts.json("POST", "/v1/embeddings", asked | {"dimensions": 384})[0] == 200
    status, found = texts.json("POST", "/v1/embeddings", asked | {"dimensions": 100})

    assert (status, found["error"]["param"]) == (422, "dimensions")


# What cannot be answered


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "no_json"),
        (b"{", 400, "no_json"),
        (b'{"input": NaN}', 400, "no_json"),
        (b'{"input": [1, Infinity]}', 400, "no_json"),
        (b'{"input": "\xff"}', 400, "no_json"),
        (b"\xff\xfe{", 400, "no_json"),
        (b'{"input": ' + b"[" * 100_000, 422, "wrong_shape"),
        (b"null", 422, "wrong_shape"),
        (b"[]", 422, "wrong_shape"),
        (b"{}", 422, "wrong_shape"),
        (b'{"input": null}', 422, "wrong_shape"),
        (b'{"input": true}', 422, "wrong_shape"),
        (b'{"input": {"speech": "a"}}', 422, "wrong_shape"),
        (b'{"input": [[["a"]]]}', 422, "wrong_shape"),
        (b'{"input": "a", "inputs": "b"}', 422, "wrong_shape"),
        (b'{"input": "a", "k": 0}', 422, "wrong_shape"),
        (b'{"input": "a", "k": 1.5}', 422, "wrong_shape"),
        (b'{"input": "a", "top": -1}', 422, "wrong_shape"),
        (b'{"input": []}', 422, "no_items"),
        (b'{"input": "a", "model": "gpt-9"}', 404, "model_not_found"),
        (b'{"input": {}}', 422, "unusable_item"),
        (b'{"input": ""}', 422, "unusable_item"),
        (b'{"input": "   "}', 422, "unusable_item"),
        (b'{"input": {"text": "a", "image": "b"}}', 422, "unusable_item"),
        (b'{"input": {"image": "b"}}', 422, "unusable_item"),
        (b'{"input": [1, 2, 3]}', 422, "unusable_item"),
        (b'{"input": [1e300, 1]}', 422, "unusable_item"),
        (b'{"input": [' + b"1" * 400 + b"]}", 422, "unusable_item"),
        (b'{"input": "' + b"a" * 1001 + b'"}', 422, "unusable_item"),
        (b'{"input": "\\ud800"}', 400, "no_json"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_json_is_refused_with_one_line(
    mails: Served, body: bytes, status: int, code: str
) -> None:
    found, document = sent(mails, "/v1/classify", body, JSON)

    assert (found, document["error"]["code"]) == (status, code)
    assert "\n" not in document["error"]["message"]
    assert document["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"1" * 400, b"0." + b"1" * 400])
def test_numbers_beyond_all_floats_are_refused(heads: Served, number: bytes) -> None:
    status, _ = sent(heads, "/v1/classify", b'{"input": [' + b"1," * 7 + number + b"]}", JSON)

    assert status == (200 if number.startswith(b"0.") else 422)


def test_a_field_that_is_wrong_is_named(mails: Served) -> None:
    _, document = sent(mails, "/v1/classify", b'{"input": "a", "k": "3"}', JSON)

    assert document["error"]["param"] == "k"
    expected = "expected an integer from 1 to 1,000 or null"
    assert document["error"]["message"] == f"k: found a string; {expected}"


@pytest.mark.parametrize(
    "kind", ["", "text/html", "application/xml", "image/png", "audio/wav", "application/jsonx"]
)
def test_a_wrong_content_type_is_refused(mails: Served, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}

    found, document = sent(mails, "/v1/classify", b"{}", headers)

    assert (found, document["error"]["code"]) == (415, "wrong_content_type")


def test_too_many_items_are_refused(mails: Served, heads: Served) -> None:
    for served, item in ((mails, "a"), (heads, X[0].tolist())):
        status, found = served.json("POST", "/v1/classify", {"input": [item] * 10_000})

        assert (status, found["error"]["code"]) == (413, "too_many_items")


def test_a_thousand_items_are_answered(heads: Served) -> None:
    many = vectors(1024, seed=2)

    _, found = heads.json("POST", "/v1/classify", {"input": many.tolist()})

    assert [each["label"] for each in found["results"]] == [label_of(row) for row in range(1024)]


def test_text_that_is_not_utf_8_is_refused(mails: Served) -> None:
    status, found = sent(mails, "/v1/classify", b"caf\xe9", {"content-type": "text/plain"})

    assert (status, found["error"]["message"]) == (422, "input: is not UTF-8 at byte 3")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b",
        b"--b--\r\n",
        b"nothing",
        b"--b\r\n\r\n\r\n--b--\r\n",
        b"--b\r\nX: \xff\r\n\r\n--b--",
    ],
)
@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=b"])
def test_a_damaged_form_is_refused(mails: Served, body: bytes, kind: str) -> None:
    status, found = sent(mails, "/v1/classify", body, {"content-type": kind})

    assert status in {400, 422}
    assert found["error"]["code"] in {"no_form", "no_items"}


def test_vectors_of_another_width_are_refused(heads: Served) -> None:
    status, found = heads.json("POST", "/v1/classify", {"input": [1.0] * 7})

    message = "input: is a vector of 7 numbers; this model's have 8"
    assert (status, found["error"]["message"]) == (422, message)


def test_vectors_that_are_not_finite_are_refused(heads: Served) -> None:
    nan = base64.b64encode(np.full(8, np.nan, "<f4").tobytes()).decode()

    status, found = heads.json("POST", "/v1/classify", {"input": {"vector": nan}})

    assert status == 422
    assert found["error"]["message"].startswith("input: holds a number that is not finite")


@pytest.mark.parametrize("encoded", ["", "AAA", "AAAAAAA=", "%%%%", "é", "data:,AAAA"])
def test_base64_that_is_none_is_refused(heads: Served, encoded: str) -> None:
    status, found = heads.json("POST", "/v1/classify", {"input": {"vector": encoded}})

    assert (status, found["error"]["code"]) == (422, "unusable_item")


def test_one_bad_item_among_31_good_ones_fails_alone(pictures: Served, png: bytes) -> None:
    good = {"image": base64.b64encode(png).decode()}
    items = [good] * 13 + [{"image": base64.b64encode(png[: len(png) // 2]).decode()}] + [good] * 18

    status, found = pictures.json("POST", "/v1/classify", {"input": items})

    assert status == 200
    bad = found["results"].pop(13)
    assert bad["error"]["code"] == "unusable_item"
    assert "damaged or truncated" in bad["error"]["message"]
    assert [each["label"] for each in found["results"]] == ["birds"] * 31


def test_embeddings_of_a_bad_item_fail_the_request_and_name_it(texts: Served) -> None:
    asked = {"input": ["a", "", "b"], "model": "minilm-l6"}

    status, found = texts.json("POST", "/v1/embeddings", asked)

    assert (status, found["error"]["message"]) == (422, "input[1]: is empty")


@pytest.mark.parametrize("tokens", [[1, 2, 3], [[1, 2], [3]]])
def test_tokens_are_not_taken(texts: Served, tokens: object) -> None:
    status, found = texts.json("POST", "/v1/embeddings", {"input": tokens, "model": "minilm-l6"})

    assert (status, found["error"]["code"]) == (422, "tokens")


def chunk(kind: bytes, content: bytes) -> bytes:
    crc = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc)


def png_of(width: int, height: int, pixels: bytes = b"\0", *more: bytes) -> bytes:
    """Return a PNG file whose header may promise anything."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(pixels, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(more) + body


def zip_of(size_bytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"\0" * size_bytes)
    return file.getvalue()


def jpeg_of(size: int) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("L", (size, size)).save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("file", "message"),
    [
        pytest.param(png_of(50_000, 50_000), "has 50000 x 50000 pixels", id="png header"),
        pytest.param(png_of(1001, 1000, bytes(1002 * 1000)), "has 1001 x 1000 pixels", id="png"),
        pytest.param(jpeg_of(1100), "has 1100 x 1100 pixels", id="jpeg"),
        pytest.param(
            png_of(8, 8, bytes(72), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 9))),
            "",
            id="png text",
        ),
        pytest.param(png_of(8, 8, bytes(10**7)), "", id="png of more pixels than it says"),
        pytest.param(png_of(900, 900, b"\0"), "damaged or truncated", id="png cut off"),
        pytest.param(zip_of(10**8), "looks like a ZIP archive", id="zip"),
        pytest.param(b"<svg/>", "looks like HTML, SVG or XML", id="svg"),
        pytest.param(b"GIF89a" + b"\xff" * 7, "damaged GIF", id="gif"),
    ],
)  # fmt: skip
def test_a_bomb_costs_little(pictures: Served, file: bytes, message: str) -> None:
    started_s = time.monotonic()
    status, found = sent(pictures, "/v1/classify", file, {"content-type": "image/png"})

    assert time.monotonic() - started_s < 2
    if message:
        assert status == 422
        assert message in found["error"]["message"]
    assert status in {200, 422}


def wav_of(samples: np.ndarray, rate_hz: int = 8000) -> bytes:
    body = (samples * 32767).astype("<i2").tobytes()
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(body), b"WAVE", b"fmt ", 16, 1, 1,
                       rate_hz, 2 * rate_hz, 2, 16, b"data", len(body))  # fmt: skip
    return head + body


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (wav_of(np.ones(6 * 8000) / 2), "lasts 6 s; at most 5 s are taken"),
        (wav_of(np.ones(600_000) / 2, 200_000), "600,000 samples of all channels; at most 480,000"),
        (wav_of(np.zeros(8000)), "is silent"),
        (wav_of(np.ones(8000))[:1000], "is cut off"),
        (b"OggS" + b"\0" * 100, ""),
        (b"webm", "is not a sound"),
    ],
    ids=["long", "high rate", "silent", "cut off", "ogg", "webm"],
)
def test_a_bad_sound_is_refused(sounds: Served, file: bytes, message: str) -> None:
    status, found = sent(sounds, "/v1/classify", file, {"content-type": "audio/wav"})

    assert (status, found["error"]["code"]) == (422, "unusable_item")
    assert message in found["error"]["message"]


def test_the_wrong_kind_of_thing_is_told(heads: Served, texts: Served) -> None:
    status, found = heads.json("POST", "/v1/search", {"input": X[0].tolist()})
    assert (status, found["error"]["code"]) == (409, "no_gallery")
    assert "featx index SET -o X.knn" in found["error"]["message"]

    status, found = texts.json("POST", "/v1/classify", {"input": "a"})
    assert (status, found["error"]["code"]) == (409, "cannot_classify")
    assert "/v1/embeddings" in found["error"]["message"]

    status, found = heads.json("POST", "/v1/classify", {"input": X[0].tolist(), "k": 3})
    assert (status, found["error"]["param"]) == (422, "k")


def test_a_label_that_no_item_has_is_told(galleries: Served) -> None:
    status, found = galleries.json("POST", "/v1/search", {"input": X[0].tolist(), "label": "z"})

    assert (status, found["error"]["code"]) == (404, "unknown_name")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/classify/", 404, "not_found"),
        ("GET", "//", 404, "not_found"),
        ("GET", "/page/../page.py", 404, "not_found"),
        ("GET", "/page/%2e%2e/page.py", 404, "not_found"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", "/v1/classify", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/", 405, "method_not_allowed"),
    ],
)
def test_an_unknown_path_or_method_has_the_same_body(
    heads: Served, method: str, path: str, status: int, code: str
) -> None:
    found, headers, body = heads.request(method, path)

    assert (found, json.loads(body)["error"]["code"]) == (status, code)
    assert ("allow" in headers) == (status == 405)


def test_the_methods_of_a_path_are_told(heads: Served) -> None:
    _, headers, _ = heads.request("PUT", "/v1/classify")
    _, both, _ = heads.request("PUT", "/v1/models")

    assert (headers["allow"], both["allow"]) == ("POST", "GET, HEAD")


def test_a_client_that_goes_takes_its_items_along(mails: Served) -> None:
    engine = mails.service.engine

    async def main() -> None:
        _, writer = await asyncio.open_connection(*mails.address)
        body = json.dumps({"input": ["free money now " * 60] * 1000}).encode()
        writer.write(
            b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        await writer.drain()
        while not engine.waiting:
            await asyncio.sleep(0.005)
        writer.transport.abort()
        started_s = time.monotonic()
        while engine.waiting:
            assert time.monotonic() - started_s < 5
            await asyncio.sleep(0.01)

    before = engine.answered
    asyncio.run(main())

    assert engine.answered - before < 1000
    assert mails.json("POST", "/v1/classify", {"input": "hello"})[0] == 200


def test_a_request_has_a_deadline(text_head: Path) -> None:
    with serving(text_head, deadline_s=0.3) as served:
        asked = {"input": ["free money now " * 100] * 500}
        status, found = served.json("POST", "/v1/classify", asked)

    assert (status, found["error"]["code"]) == (503, "timed_out")


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "vector", "image", "input", "x"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@settings(deadline=None, max_examples=100)
@given(
    document=st.fixed_dictionaries(
        {"input": JSONISH}, optional={"k": JSONISH, "top": JSONISH, "model": JSONISH}
    ),
    path=st.sampled_from(["/v1/classify", "/v1/search", "/v1/embeddings"]),
)
def test_no_json_makes_a_bug(galleries: Served, document: dict[str, Any], path: str) -> None:
    status, found = galleries.json("POST", path, document)

    assert status in {200, 400, 404, 413, 422}
    assert ("error" in found) == (status != 200)


@settings(deadline=None, max_examples=60)
@given(
    body=st.binary(max_size=200),
    kind=st.sampled_from(
        ["application/json", "image/png", "application/octet-stream",
         "multipart/form-data; boundary=b", "text/plain"]
    ),
)  # fmt: skip
def test_no_bytes_make_a_bug(pictures: Served, body: bytes, kind: str) -> None:
    status, _, answer = pictures.request("POST", "/v1/classify", body, {"content-type": kind})

    assert status in {400, 415, 422}
    assert json.loads(answer)["error"]["code"]
