"""What a body says, and what the query of its request says beside it."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from featx.backbone.backbone import Backbone
from featx.serve.answering import Ask, said_of
from featx.serve.http.bodies import decoded
from featx.serve.http.problems import Problem
from featx.serve.routes.classify import SearchBody
from featx.serve.routes.inferbody import InferBody
from featx.serve.routes.inputs import answered
from featx.serve.settings import ServeSettings
from featx.serve.thing import open_thing
from serving import DIM, Served, serving, vectors

SEARCH = msgspec.json.Decoder(SearchBody)
ONE = {"input": [1.0] + [0.0] * 7}


@pytest.fixture(scope="module")
def gallery(vector_gallery: Path) -> Iterator[Served]:
    with serving(vector_gallery) as server:
        yield server


def neighbours(server: Served, query: str, body: dict[str, Any]) -> int:
    status, answer = server.json("POST", f"/v1/search{query}", body)
    assert status == 200, answer
    return len(answer["results"][0]["neighbours"])


def test_the_query_comes_before_the_body(gallery: Served) -> None:
    assert neighbours(gallery, "", {**ONE, "k": 3}) == 3
    assert neighbours(gallery, "?k=5", {**ONE, "k": 3}) == 5
    assert neighbours(gallery, "?label=a", {**ONE, "k": 3}) == 3


@pytest.mark.parametrize(
    "query", ["k=null", "k=", "k=0", "k=1.5", "k=a", "size=3", "label=null&k=x"]
)
def test_a_query_that_makes_no_sense_is_refused(gallery: Served, query: str) -> None:
    status, answer = gallery.json("POST", f"/v1/search?{query}", ONE)

    assert (status, answer["error"]["code"]) == (422, "wrong_shape")


def test_an_integer_may_be_written_with_a_point() -> None:
    assert decoded(b'{"input": "a", "k": 5.0}', SEARCH).k == 5
    with pytest.raises(Problem, match="k: found a number with a fraction; expected an"):
        decoded(b'{"input": "a", "k": 5.5}', SEARCH)


@pytest.mark.parametrize("number", ["1e16", "-1e39", "1" * 400, "1e308"])
def test_a_number_too_large_for_any_length_is_an_error_of_its_item(
    gallery: Served, number: str
) -> None:
    numbers = ", ".join([number, *["0"] * 7])
    body = f'{{"input": [[{numbers}], {ONE["input"]}]}}'
    headers = {"content-type": "application/json"}

    status, _, raw = gallery.request("POST", "/v1/search", body, headers)

    assert status == 200, raw
    first, second = msgspec.json.decode(raw)["results"]
    what = "holds a number that is not finite, or beyond 1e+15"
    assert first["error"]["message"] == f"input[0]: {what}"
    assert len(second["neighbours"]) == 10


def test_a_vector_of_which_nothing_can_be_said_fails_alone(vector_gallery: Path) -> None:
    X = vectors(9)
    X[4] = np.finfo(np.float32).max
    thing = open_thing(ServeSettings(thing=str(vector_gallery)))

    found = said_of(thing, X, Ask(task="search", k=1))
    thing.close()

    assert X.shape == (9, DIM)
    assert [isinstance(each, Exception) for each in found] == [row == 4 for row in range(9)]


INFER = msgspec.json.Decoder(InferBody)


@pytest.mark.parametrize("value", [b"[]", b"{}", b'""', b"[[]]", b'{"text": "a"}'])
def test_a_body_of_far_too_many_values_is_not_decoded(value: bytes) -> None:
    many = b", ".join([value] * 200_000)
    asked: list[tuple[bytes, msgspec.json.Decoder[Any]]] = [
        (b'{"input": [%s]}' % many, SEARCH),
        (b'{"inputs": [{"data": [%s]}]}' % many, INFER),
    ]
    for body, decoder in asked:
        with pytest.raises(Problem, match="body: more than 65,536 texts, arrays and obj") as failed:
            decoded(body, decoder)
        assert (failed.value.status, failed.value.code) == (413, "too_many_items")


@pytest.mark.parametrize(
    "text",
    ["[" * 300_000, "{}" * 200_000, '"[' * 200_000, "\\" * 300_000, '\\",' * 1_200_000],
)
def test_what_a_long_text_holds_does_not_count(text: str) -> None:
    asked = decoded(msgspec.json.encode({"input": ["", text]}), SEARCH)

    assert asked.input == ["", text]


@pytest.mark.parametrize("cut", [b'"' + b'\\"' * 200_000, b'"' + b"[" * 300_000 + b"\\"])
def test_a_long_text_that_does_not_end_is_no_json(cut: bytes) -> None:
    with pytest.raises(Problem, match="no JSON") as failed:
        decoded(b'{"input": ' + cut, SEARCH)

    assert failed.value.status == 400


@pytest.mark.parametrize("numbers", [b"1,", b"0.25, ", b"-1e3,"])
def test_a_body_of_far_too_many_numbers_is_not_decoded(numbers: bytes) -> None:
    many = numbers * (1 << 20)
    bodies: list[tuple[bytes, msgspec.json.Decoder[Any]]] = [
        (b'{"input": [%s1, 1]}' % many, SEARCH),
        (b'{"input": [[%s1], [%s1]]}' % (many, many), SEARCH),
        (b'{"inputs": [{"data": [%s1, 1]}]}' % many, INFER),
    ]
    for body, decoder in bodies:
        with pytest.raises(Problem, match="body: more than 1,048,576 numbers; send several") as bad:
            decoded(body, decoder)
        assert (bad.value.status, bad.value.code) == (413, "too_many_items")


def test_as_many_numbers_as_are_taken_are_decoded() -> None:
    asked = decoded(b'{"input": [%s1]}' % (b"1," * ((1 << 20) - 1)), SEARCH)

    assert isinstance(asked.input, list)
    assert len(asked.input) == 1 << 20


CHUNKED = b"POST /v1/search HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n"


def test_trailers_are_no_headers(gallery: Served) -> None:
    trailer = b"0\r\nhost: evil.example\r\n\r\n"
    with socket.create_connection(gallery.address, timeout=30) as connection:
        connection.sendall(CHUNKED + b"content-type: application/json\r\n\r\n" + trailer)

        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_endless_trailers_are_cut_off(gallery: Served) -> None:
    with socket.create_connection(gallery.address, timeout=30) as connection:
        connection.sendall(CHUNKED + b"\r\n0\r\n")
        with pytest.raises(OSError, match=r"Broken pipe|reset"):  # noqa: PT012
            for _ in range(1000):
                connection.sendall(b"x: " + b"y" * 10_000 + b"\r\n")


def test_embeddings_are_named_after_the_model_that_made_them(
    gallery: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = gallery.service.engine
    thing = engine.thing
    manifest = replace(thing.backbone.manifest, name="another")
    other = replace(thing, backbone=Backbone(manifest))

    async def replaced_meanwhile(*asked: Any) -> Any:  # noqa: ANN401  (as what it stands for)
        answers = await answered(*asked)
        engine.thing = other
        return answers

    monkeypatch.setattr("featx.serve.routes.embeddings.answered", replaced_meanwhile)
    monkeypatch.setattr(engine, "thing", thing)  # puts it back
    status, found = gallery.json("POST", "/v1/embeddings", {**ONE, "model": "identity"})

    assert (status, found["model"]) == (200, "identity")
    assert engine.thing is other
