"""What clients are told: where something is wrong, what was found there, and what is allowed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featx.serve.http.bodies import decoded
from featx.serve.http.problems import Problem
from featx.serve.routes import classify, embeddings, examples, inferbody
from serving import DIM, Served, copy_of, serving, vectors

CLASSIFY, SEARCH = classify._CLASSIFY, classify._SEARCH
EMBEDDINGS, EXAMPLES = embeddings._DECODER, examples._EXAMPLES
INFER = inferbody._DECODER
K = "expected an integer from 1 to 1,000 or null"
INPUT = "expected a string, an object or an array"
GOOD = vectors(1)[0].tolist()


@pytest.fixture(scope="module")
def gallery(vector_gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve a gallery that may be taught."""
    place = copy_of(vector_gallery, tmp_path_factory.mktemp("wording"))
    with serving(place, allow_teach=True) as served:
        yield served


@pytest.fixture(scope="module")
def mails(text_head: Path) -> Iterator[Served]:
    with serving(text_head, items=4) as served:
        yield served


@pytest.mark.parametrize(
    ("body", "message", "param"),
    [
        (b"[]", "body: found an array; expected an object", "body"),
        (b"null", "body: found null; expected an object", "body"),
        (b"{}", f"input: is missing; {INPUT}", "input"),
        (b'{"input": true}', f"input: found a boolean; {INPUT}", "input"),
        (b'{"input": [["a"]]}', "input[0][0]: found a string; expected a number", "input[0][0]"),
        (b'{"input": [{"text": 3}]}', "input[0].text: found an integer; expected a string or null",
         "input[0].text"),
        (b'{"input": {"txt": "a"}}', "input.txt: is not known here; did you mean 'text'?",
         "input.txt"),
        (b'{"input": "a", "size": 3}',
         "size: is not known here; known here: input, model, k, top", "size"),
        (b'{"input": "a", "k": "3"}', f"k: found a string; {K}", "k"),
        (b'{"input": "a", "k": 1.5}', f"k: found a number with a fraction; {K}", "k"),
        (b'{"input": "a", "k": 0}', f"k: found less than 1; {K}", "k"),
        (b'{"input": "a", "k": 1001}', f"k: found more than 1000; {K}", "k"),
        (b'{"input": "a", "top": -1}',
         "top: found less than 0; expected an integer from 0 to 10,000", "top"),
        (b'{"input": [1, 1e999]}',
         "input[1]: found a number beyond all that is known; expected a string, an object, "
         "a number or an array", "input[1]"),
    ],
)  # fmt: skip
def test_another_shape_is_told_by_place(body: bytes, message: str, param: str) -> None:
    with pytest.raises(Problem) as caught:
        decoded(body, CLASSIFY)

    assert (caught.value.status, caught.value.code) == (422, "wrong_shape")
    assert (caught.value.message, caught.value.param) == (message, param)


@pytest.mark.parametrize(
    ("decoder", "body", "message"),
    [
        (EMBEDDINGS, {"input": "a", "model": "b", "encoding_format": "hex"},
         "encoding_format: found 'hex'; expected 'base64' or 'float'"),
        (EXAMPLES, {"examples": [{"input": "a", "id": ""}]},
         "examples[0].id: found a string that is too short; expected a string of 1 to 1,024 "
         "characters or null"),
        (EXAMPLES, {"examples": [{"input": "a", "label": "b" * 1025}]},
         "examples[0].label: found a string that is too long; expected a string of at most 1,024 "
         "characters or null"),
        (EXAMPLES, {"examples": [{"input": "a"}, {"lable": "b"}]},
         "examples[1].lable: is not known here; did you mean 'label'?"),
        (EXAMPLES, {"examples": [{"label": "b"}]},
         "examples[0].input: is missing; expected a string, an object, a number or an array"),
        (SEARCH, {"input": "a", "spilt": "b"}, "spilt: is not known here; did you mean 'split'?"),
        (INFER, {"inputs": []},
         "inputs: found an array that is too short; expected an array of 1 value"),
        (INFER, {"inputs": [{"name": 1}]}, "inputs[0].name: found an integer; expected a string"),
    ],
)  # fmt: skip
def test_bounds_names_and_choices_are_told(decoder: Any, body: object, message: str) -> None:  # noqa: ANN401
    with pytest.raises(Problem) as caught:
        decoded(json.dumps(body).encode(), decoder)

    assert caught.value.message == message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty; expected JSON"),
        (b" \n", "is empty; expected JSON"),
        (b'{"input": "a"', "no JSON at byte 13: it ends before its value does"),
        (b'{"input": NaN}', "no JSON at byte 10: a character that may not be there"),
        (b'{"input": "a",}', "no JSON at byte 14: a comma before }"),
        (b'{"input": [1,]}', "no JSON at byte 13: a comma before ]"),
        (b'{"input" "a"}', "no JSON at byte 9: a colon is missing"),
        (b'{"input": "a" "k": 1}', "no JSON at byte 14: a comma or } is missing"),
        (b'{"input": "a"}}', "no JSON at byte 14: more after its end"),
        (b"{1: 2}", "no JSON at byte 1: a name that is no string"),
        (b'{"input": 01}', "no JSON at byte 11: a number that is none"),
        (b'{"input": "\\x"}', "no JSON at byte 13: an escape that is none"),
        (b'{"input": "\\ud800"}', "no JSON at byte 11: half of a surrogate pair"),
        (b'{"input": "\\ud800\\u0020"}', "no JSON at byte 23: half of a surrogate pair"),
        ('{"model": "ü", "input": "a'.encode() + b'\xff"}', "is not UTF-8 at byte 27"),
        (b'{"input": "a", "model": "' + b"\xe9" * 3 + b'"}', "is not UTF-8 at byte 25"),
    ],
)  # fmt: skip
def test_no_json_is_told_by_its_byte(body: bytes, message: str) -> None:
    with pytest.raises(Problem) as caught:
        decoded(body, CLASSIFY)

    assert (caught.value.status, caught.value.code) == (400, "no_json")
    assert caught.value.message == f"body: {message}"


def test_arrays_within_each_other_without_end_are_no_json() -> None:
    body = b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": ' + b"[" * 99_999

    with pytest.raises(Problem, match=r"^body: no JSON: arrays or objects within each other, too"):
        decoded(body, INFER)


@pytest.mark.parametrize("name", ["x" * 10_000, "a\nb", "a` - at `$.k", "\x1b[2J", "x" * 61])
def test_a_name_that_is_sent_is_repeated_in_one_short_line(name: str) -> None:
    with pytest.raises(Problem, match="is not known here") as caught:
        decoded(json.dumps({"input": "a", name: 1}).encode(), CLASSIFY)

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 160


@pytest.mark.parametrize(
    ("query", "message", "param"),
    [
        ("k=x", "query: k: found 'x'; expected an integer from 1 to 1,000", "k"),
        ("k=0", "query: k: found '0'; expected an integer from 1 to 1,000", "k"),
        ("k=null", "query: k: found 'null'; expected an integer from 1 to 1,000", "k"),
        ("size=3", "query: size: is not known here; known here: model, k, label, split",
         "size"),
    ],
)  # fmt: skip
def test_a_query_is_told_with_what_it_says(
    gallery: Served, query: str, message: str, param: str
) -> None:
    status, found = gallery.json("POST", f"/v1/search?{query}", {"input": GOOD})

    assert (status, found["error"]["message"]) == (422, message)
    assert found["error"]["param"] == param


def test_null_of_a_query_is_told_to_be_left_out(gallery: Served) -> None:
    status, found = gallery.json("POST", "/v1/classify?k=null", {"input": GOOD})

    message = "query: k: found 'null'; leave it out for none"
    assert (status, found["error"]["message"]) == (422, message)


def test_the_query_of_a_listing_is_told_too(gallery: Served) -> None:
    _, many = gallery.json("GET", "/v1/examples?limit=501")
    _, other = gallery.json("GET", "/v1/examples?after=x")

    found = "query: limit: found '501'; expected an integer from 1 to 500"
    assert many["error"]["message"] == found
    assert other["error"]["message"].startswith("query: after: found 'x'; expected a string like ^")


BOUNDARY = {"content-type": "multipart/form-data; boundary=b"}


def part(head: bytes, body: bytes = b"a") -> bytes:
    return b"--b\r\n" + head + b"\r\n\r\n" + body + b"\r\n"


FILE = b'Content-Disposition: form-data; name="f"; filename="f"'


@pytest.mark.parametrize(
    ("body", "headers", "status", "message"),
    [
        (b"nothing", BOUNDARY, 400, "body: no form: its parts cannot be told apart; send each"),
        (part(FILE) + b"--b--\r\n", {"content-type": "multipart/form-data"}, 400,
         "body: no form: content-type names no boundary"),
        (part(b"X: y") + b"--b--\r\n", BOUNDARY, 400, "body: no form: a part has no name"),
        (part(FILE) * 5 + b"--b--\r\n", BOUNDARY, 413, "input: 5 items; at most 4 are taken"),
        (part(FILE) * 9 + b"--b--\r\n", BOUNDARY, 413, "input: more than 4 items; send several"),
    ],
)  # fmt: skip
def test_a_form_that_cannot_be_read_is_told(
    mails: Served, body: bytes, headers: dict[str, str], status: int, message: str
) -> None:
    found, _, answer = mails.request("POST", "/v1/classify", body, headers)

    assert found == status
    assert json.loads(answer)["error"]["message"].startswith(message)


SHORT = [1.0, 2.0]
TOLD = "is a vector of 2 numbers; this model's have 8"


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/search"])
def test_an_item_that_fails_is_named_among_others_and_alone(gallery: Served, path: str) -> None:
    _, some = gallery.json("POST", path, {"input": [GOOD, SHORT]})
    _, alone = gallery.json("POST", path, {"input": SHORT})
    _, all_ = gallery.json("POST", path, {"input": [SHORT, SHORT]})

    assert some["results"][1]["error"]["message"] == f"input[1]: {TOLD}"
    assert (alone["error"]["message"], alone["error"]["param"]) == (f"input: {TOLD}", "input")
    none = f"none of 2 items could be answered; the first: input[0]: {TOLD}"
    assert (all_["error"]["message"], all_["error"]["param"]) == (none, "input")


def test_an_item_of_embeddings_and_of_a_tensor_is_named(gallery: Served) -> None:
    _, some = gallery.json("POST", "/v1/embeddings", {"model": "vectors", "input": [GOOD, SHORT]})
    _, alone = gallery.json("POST", "/v1/embeddings", {"model": "vectors", "input": SHORT})
    tensor = {"name": "vector", "shape": [2, 8], "datatype": "FP32", "data": [*GOOD, *[1e38] * 8]}
    _, inferred = gallery.json("POST", "/v2/models/vectors/infer", {"inputs": [tensor]})

    assert some["error"]["message"] == f"input[1]: {TOLD}"
    assert alone["error"]["message"] == f"input: {TOLD}"
    assert inferred["error"].startswith("vector[1]: holds a number that is not finite, or beyond")


def test_an_example_is_named(gallery: Served) -> None:
    given = [{"input": GOOD, "id": "v1"}, {"input": SHORT}, {"input": [0.0] * DIM}]
    _, found = gallery.json("POST", "/v1/examples", {"examples": given})
    _, alone = gallery.json("POST", "/v1/examples", {"examples": [given[1]]})

    taken = "the gallery has an item of this id already: 'v1', label 'b'; it stays as it is; give "
    start = "none of 3 examples could be added; the first: examples[0]: "
    assert found["error"]["message"] == f"{start}{taken}another id, or send replace: true"
    assert alone["error"]["message"] == f"examples[0]: {TOLD}"
    assert alone["error"]["param"] == "examples"


def test_an_uploaded_file_is_named(mails: Served) -> None:
    status, _, alone = mails.request("POST", "/v1/classify", b"", {"content-type": "text/plain"})
    body = part(FILE, b"lunch?") + part(FILE, b"caf\xe9") + b"--b--\r\n"
    _, _, two = mails.request("POST", "/v1/classify", body, BOUNDARY)

    assert (status, json.loads(alone)["error"]["message"]) == (422, "input: is empty")
    error = json.loads(two)["results"][1]["error"]
    assert error["message"] == "input[1]: is not UTF-8 at byte 3"


def test_what_is_no_fault_of_an_item_names_none(gallery: Served) -> None:
    _, found = gallery.json("POST", "/v1/search", {"input": GOOD, "label": "z"})

    assert found["error"]["message"] == "unknown label 'z'; known: a, b, c"


ZERO = [0.0] * DIM
NO_DIRECTION = "its vector is zero, which has no direction and so no nearest neighbour"


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/search"])
def test_a_zero_vector_has_no_nearest_neighbour_by_the_cosine(gallery: Served, path: str) -> None:
    status, alone = gallery.json("POST", path, {"input": ZERO})
    _, among = gallery.json("POST", path, {"input": [GOOD, ZERO, GOOD]})

    assert (status, alone["error"]["code"]) == (422, "unusable_item")
    assert alone["error"]["message"] == f"input: {NO_DIRECTION}"
    first, zero, last = among["results"]
    assert zero["error"]["message"] == f"input[1]: {NO_DIRECTION}"
    assert first == last
    assert first["neighbours"][0]["id"] == "v0"


def test_a_zero_vector_is_embedded_and_not_taught(gallery: Served) -> None:
    status, found = gallery.json("POST", "/v1/embeddings", {"model": "vectors", "input": ZERO})
    refused, told = gallery.json("POST", "/v1/examples", {"examples": [{"input": ZERO}]})

    assert (status, found["data"][0]["embedding"]) == (200, ZERO)
    what = "its vector is zero, which has no direction and so no cosine"
    assert (refused, told["error"]["message"]) == (422, f"examples[0]: {what}")


@pytest.mark.parametrize(("head", "status"), [("knn", 422), ("ridge", 200)])
def test_a_zero_vector_is_a_point_like_others_but_for_neighbours(
    vector_set: Path, tmp_path: Path, head: str, status: int
) -> None:
    from command_line import done

    done("train", vector_set, "-o", tmp_path / "x.head", "--head", head)
    with serving(tmp_path / "x.head") as served:
        found, told = served.json("POST", "/v1/classify", {"input": ZERO})

    assert found == status
    assert status == 200 or told["error"]["message"] == f"input: {NO_DIRECTION}"


@pytest.mark.parametrize("metric", ["l2", "dot"])
def test_a_zero_vector_is_near_to_something_by_other_metrics(
    vector_set: Path, tmp_path: Path, metric: str
) -> None:
    from command_line import done

    place = tmp_path / "x.knn"
    done("index", vector_set, "-o", place, "--kind", "exact", "--metric", metric)
    with serving(place) as served:
        status, found = served.json("POST", "/v1/search", {"input": ZERO, "k": 1})

    assert status == 200
    (near,) = found["results"][0]["neighbours"]
    shortest = f"v{np.linalg.norm(vectors(), axis=1).argmin()}"
    assert near["similarity"] <= 0
    assert metric == "dot" or near["id"] == shortest
