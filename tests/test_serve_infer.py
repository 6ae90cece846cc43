"""The Open Inference Protocol: tensors in, tensors out, in JSON and as bytes."""

import base64
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featx import samples
from featx.backbone.backbone import Backbone, identity
from featx.errors import InputError
from featx.heads.headfile import save_head
from featx.heads.novelty import fit_novelty
from featx.heads.predict import Head
from featx.serve.routes.tensors import InputTensor, join_bytes, read_tensor, split_bytes
from featx.serve.thing import Thing
from featx.types import Vectors
from serving import Served, serving

DIM = 3
ROWS: Vectors = np.array([[3, 0, 0], [0, 3, 0], [1, 1, 0]], dtype=np.float32)
LENGTH = "inference-header-content-length"


def class_head() -> Head:
    backbone = Backbone(identity(DIM))
    codes = np.arange(60) % 2
    noise = np.random.default_rng(0).normal(size=(60, DIM)) * 0.3
    X = (3 * np.eye(DIM)[codes] + noise).astype(np.float32)
    return Head(
        kind="logreg",
        classes=("ant", "bee"),
        arrays={"coef": np.eye(2, DIM, dtype=np.float32), "intercept": np.zeros(2, np.float32)},
        novelty=fit_novelty(X, codes, n_classes=2),
        header={
            "fingerprint": backbone.fingerprint,
            "space": backbone.space,
            "model": "identity",
        },
    )


def tag_head() -> Head:
    head = replace(class_head(), task="multilabel", novelty=None)
    return replace(head, arrays={**head.arrays, "scale": np.ones(2), "shift": np.zeros(2)})


def value_head() -> Head:
    head = replace(class_head(), task="regress", novelty=None)
    return replace(head, arrays={**head.arrays, "spread": np.array([0.5, 2.0])})


@pytest.fixture(scope="module")
def gallery(vector_gallery: Path) -> Iterator[Served]:
    with serving(vector_gallery) as server:
        yield server


@pytest.fixture(scope="module")
def texts(text_head: Path) -> Iterator[Served]:
    with serving(text_head) as server:
        yield server


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    path = tmp_path_factory.mktemp("heads") / "insects.head"
    save_head(path, class_head())
    with serving(path) as server:
        yield server


def vector(X: Vectors, **changes: Any) -> dict[str, Any]:  # noqa: ANN401
    tensor = {"name": "vector", "shape": list(X.shape), "datatype": "FP32", "data": X.tolist()}
    return {"inputs": [tensor | changes]}


def text(*values: str) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [len(values)], "datatype": "BYTES", "data": values}
    return {"inputs": [tensor]}


def asked(server: Served, body: dict[str, Any], *outputs: str) -> dict[str, Any]:
    """Return the outputs of an answer by name."""
    if outputs:
        body = body | {"outputs": [{"name": name} for name in outputs]}
    status, _, raw = server.request("POST", infer(server), json.dumps(body).encode(), JSON)
    assert status == 200, raw
    return {each["name"]: each for each in json.loads(raw)["outputs"]}


def refused(server: Served, body: bytes, headers: dict[str, str] | None = None) -> str:
    """Return the one line of a request that is answered by 400."""
    status, _, raw = server.request("POST", infer(server), body, headers or JSON)
    told = json.loads(raw)
    assert (status, list(told)) == (400, ["error"]), raw
    message: str = told["error"]
    assert message == " ".join(message.splitlines())
    return message


JSON = {"content-type": "application/json"}


def got(server: Served, method: str, path: str, document: object = None) -> Any:  # noqa: ANN401
    status, answer = server.json(method, path, document)
    assert status == 200, answer
    return answer


def name_of(server: Served) -> str:
    name: str = got(server, "GET", "/v1/models")["data"][0]["id"]
    return name


def infer(server: Served) -> str:
    return f"/v2/models/{name_of(server)}/infer"


def rows_of(server: Served, n: int) -> Vectors:
    dim = got(server, "GET", "/v1/models")["data"][0]["dim"]
    return np.random.default_rng(1).standard_normal((n, dim)).astype(np.float32)


def numbers(output: dict[str, Any]) -> Any:  # noqa: ANN401
    return np.array(output["data"], np.float32).reshape(output["shape"])


def test_the_server_and_what_it_serves_are_described(gallery: Served) -> None:
    name = name_of(gallery)

    assert got(gallery, "GET", "/v2")["extensions"] == ["binary_tensor_data"]
    assert got(gallery, "GET", "/v2/health/live") == {"live": True}
    assert got(gallery, "GET", "/v2/health/ready") == {"ready": True}
    assert got(gallery, "GET", f"/v2/models/{name}/ready") == {"name": name, "ready": True}
    model = got(gallery, "GET", f"/v2/models/{name}")
    assert model == got(gallery, "GET", f"/v2/models/{name}/versions/1")
    dim = rows_of(gallery, 1).shape[1]
    assert model["inputs"] == [{"name": "vector", "datatype": "FP32", "shape": [-1, dim]}]
    assert {each["name"]: (each["datatype"], each["shape"]) for each in model["outputs"]} == {
        "label": ("BYTES", [-1]),
        "probability": ("FP32", [-1]),
        "neighbours": ("BYTES", [-1, -1]),
        "similarities": ("FP32", [-1, -1]),
        "embedding": ("FP32", [-1, dim]),
    } | ({"novel": ("BOOL", [-1])} if len(model["outputs"]) == 6 else {})


def test_what_is_not_there_is_told_in_one_line(gallery: Served) -> None:
    name = name_of(gallery)

    for path in ("/v2/models/other", f"/v2/models/{name}/versions/2", "/v2/nothing"):
        status, _, raw = gallery.request("GET", path)
        assert (status, type(json.loads(raw)["error"])) == (404, str)
    status, headers, raw = gallery.request("GET", infer(gallery))
    assert (status, headers["allow"], type(json.loads(raw)["error"])) == (405, "POST", str)


def test_a_gallery_says_the_same_as_classify(gallery: Served) -> None:
    X = rows_of(gallery, 5)
    body = {"input": X.tolist()}
    expected = got(gallery, "POST", "/v1/classify", body)["results"]

    outputs = asked(gallery, vector(X))

    assert outputs["label"]["data"] == [each["label"] for each in expected]
    np.testing.assert_allclose(
        outputs["probability"]["data"], [each["probability"] for each in expected], atol=1e-6
    )
    near = [[n["id"] for n in each["neighbours"]] for each in expected]
    assert outputs["neighbours"]["data"] == [item for each in near for item in each]
    assert outputs["neighbours"]["shape"] == [5, len(near[0])]
    assert "embedding" not in outputs


def test_a_first_label_that_is_taught_meanwhile_is_for_the_next_request(
    gallery: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = iter([False])
    monkeypatch.setattr(Thing, "can_classify", property(lambda _: next(reads, True)))

    outputs = asked(gallery, vector(rows_of(gallery, 2)))

    assert set(outputs) == {"neighbours", "similarities"}


def test_neighbours_are_as_many_as_asked(gallery: Served) -> None:
    X = rows_of(gallery, 2)

    outputs = asked(gallery, vector(X) | {"parameters": {"k": 3}}, "neighbours", "similarities")

    assert [outputs[name]["shape"] for name in ("neighbours", "similarities")] == [[2, 3], [2, 3]]


def test_only_the_outputs_that_are_asked_for_are_told(gallery: Served) -> None:
    X = rows_of(gallery, 2)

    outputs = asked(gallery, vector(X), "embedding")

    assert list(outputs) == ["embedding"]
    np.testing.assert_array_equal(numbers(outputs["embedding"]), X)


def test_flat_nested_and_double_data_are_the_same(gallery: Served) -> None:
    X = rows_of(gallery, 3)
    nested = asked(gallery, vector(X))

    assert asked(gallery, vector(X, data=X.ravel().tolist())) == nested
    assert asked(gallery, vector(X, datatype="FP64")) == nested


def as_bytes(
    body: dict[str, Any],
    raw: bytes,
    **parameters: Any,  # noqa: ANN401
) -> tuple[bytes, dict[str, str]]:
    """Return the body of a request whose tensor follows the JSON, and its headers."""
    (tensor,) = body["inputs"]
    tensor = {name: value for name, value in tensor.items() if name != "data"}
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps(body | {"inputs": [tensor], "parameters": parameters}).encode()
    headers = {"content-type": "application/octet-stream", LENGTH: str(len(head))}
    return head + raw, headers


def test_bytes_in_and_out_are_the_same_as_json(gallery: Served) -> None:
    X = rows_of(gallery, 4)
    expected = asked(gallery, vector(X))
    body, headers = as_bytes(vector(X), X.tobytes(), binary_data_output=True)

    status, answered, raw = gallery.request("POST", infer(gallery), body, headers)

    assert (status, answered["content-type"]) == (200, "application/octet-stream")
    size = int(answered[LENGTH])
    document, rest = json.loads(raw[:size]), memoryview(raw)[size:]
    for output in document["outputs"]:
        part = rest[: output["parameters"]["binary_data_size"]]
        rest = rest[len(part) :]
        wanted = expected[output["name"]]
        if output["datatype"] == "BYTES":
            found: Any = [value.decode() for value in split_bytes(part, len(wanted["data"]))]
        else:
            kind = {"FP32": "<f4", "BOOL": "?"}[output["datatype"]]
            found = np.frombuffer(part, kind).tolist()
        assert (output["shape"], found) == (wanted["shape"], wanted["data"])
    assert len(rest) == 0


def test_each_output_says_whether_it_is_bytes(gallery: Served) -> None:
    body = vector(rows_of(gallery, 1)) | {
        "id": "42",
        "outputs": [
            {"name": "label"},
            {"name": "probability", "parameters": {"binary_data": True}},
        ],
    }

    _, headers, raw = gallery.request("POST", infer(gallery), json.dumps(body).encode(), JSON)

    size = int(headers[LENGTH])
    document = json.loads(raw[:size])
    assert (document["id"], len(raw) - size) == ("42", 4)
    assert ["data" in each for each in document["outputs"]] == [True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": [2, 3]}, "vector: shape: found [2, 3]; expected [N, "),
        ({"shape": [8]}, "vector: shape: found [8]; expected [N, "),
        ({"shape": []}, "vector: shape: found []; expected [N, "),
        ({"shape": [-1, 0]}, "vector: shape: "),
        ({"shape": [0, 0]}, "vector: shape: "),
        ({"shape": [2**40, 2**40]}, "vector: shape: "),
        ({"shape": [1] * 1000}, "vector: shape: found [1, 1, 1, 1, 1, 1, 1, 1]"),
        ({"datatype": "INT8"}, "vector: datatype 'INT8'; expected FP32 or FP64"),
        ({"datatype": "BYTES"}, "vector: datatype 'BYTES'; expected FP32 or FP64"),
        ({"name": "text"}, "inputs[0]: 'text'; "),
        ({"data": [1.0]}, "vector: data: 1 values; shape "),
        ({"data": [[1.0], [2.0]]}, "vector: data: its arrays are not of shape "),
        ({"data": [[1.0], 2.0]}, "vector: data: its arrays are not of shape "),
        ({"data": ["a"] * 16}, "vector: data: holds strings; expected numbers"),
        ({"data": [None] * 16}, "vector: data: holds null; expected numbers"),
        ({"data": [True] * 16}, "vector: data: holds booleans; expected numbers"),
        ({"data": [10**400] * 16}, "vector: data: holds a number too large for FP32"),
        ({"data": [1e300] * 16}, "vector[0]: holds a number that is not finite, or beyond 1e+15"),
        ({"data": None}, "vector: holds neither of data and parameters.binary_data_size"),
        ({"data": {}}, "inputs[0].data: found an object; expected an array or null"),
        ({"parameters": {"binary_data_size": 4}}, "vector: holds both of data and "),
        ({"parameters": {"binary_data_size": -4}}, "inputs[0].parameters.binary_data_size: "),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(
    gallery: Served, changes: dict[str, Any], message: str
) -> None:
    X = rows_of(gallery, 2)
    assert X.shape == (2, 8)

    body = json.dumps(vector(X, **changes)).encode()

    assert refused(gallery, body).startswith(message)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: is empty; expected JSON"),
        (b"{", "body: no JSON at byte 1: it ends before its value does"),
        (b"\xff", "body: no JSON at byte 0: a character that may not be there"),
        (b"[]", "body: found an array; expected an object"),
        (b"{}", "inputs: is missing; expected an array of 1 value"),
        (
            b'{"inputs": []}',
            "inputs: found an array that is too short; expected an array of 1 value",
        ),
    ],
)
def test_a_body_that_is_no_request_is_refused(gallery: Served, body: bytes, message: str) -> None:
    assert refused(gallery, body).startswith(message)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([{"name": "logits"}], "outputs[0]: 'logits'; "),
        (
            [{"name": "label", "parameters": {"classification": 3}}],
            "outputs[0].parameters.classification: found 3; expected 0",
        ),
        (
            [{"name": "label", "parameters": {"shared_memory_region": "a"}}],
            "outputs[0].parameters.shared_memory_region: found a string; expected null",
        ),
    ],
)
def test_an_output_that_cannot_be_is_refused(
    gallery: Served, outputs: list[Any], message: str
) -> None:
    body = vector(rows_of(gallery, 1)) | {"outputs": outputs}

    assert refused(gallery, json.dumps(body).encode()).startswith(message)


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999", "9" * 40, ""])
def test_a_length_of_the_json_that_cannot_be_is_refused(gallery: Served, length: str) -> None:
    body, headers = as_bytes(vector(rows_of(gallery, 1)), b"\0" * 32)

    message = refused(gallery, body, headers | {LENGTH: length})

    assert message.startswith(f"{LENGTH}: found ")


def test_bytes_that_do_not_fit_their_shape_are_refused(gallery: Served) -> None:
    X = rows_of(gallery, 2)
    body, headers = as_bytes(vector(X), X.tobytes())
    longer, more = as_bytes(vector(X), X.tobytes() + b"\0" * 4)

    assert "binary_data_size: found 64; 60 bytes follow" in refused(gallery, body[:-4], headers)
    assert "68 bytes; FP32 of shape [2, 8] takes 64" in refused(gallery, longer, more)


def test_other_content_types_are_refused(gallery: Served) -> None:
    body = json.dumps(vector(rows_of(gallery, 1))).encode()

    for headers in ({"content-type": "text/plain"}, JSON | {"content-encoding": "gzip"}):
        status, _, raw = gallery.request("POST", infer(gallery), body, headers)
        assert (status, type(json.loads(raw)["error"])) == (415, str)


def test_texts_are_taken_in_rows_and_columns_as_json_and_bytes(texts: Served) -> None:
    values = ["win money now", "see you at lunch — Jörg"]
    row = asked(texts, text(*values))
    column = text(*values)
    column["inputs"][0]["shape"] = [2, 1]
    body, headers = as_bytes(column, join_bytes([value.encode() for value in values]))

    status, _, raw = texts.request("POST", infer(texts), body, headers)

    assert asked(texts, column) == row
    assert (status, json.loads(raw)["outputs"]) == (200, list(row.values()))
    expected = got(texts, "POST", "/v1/classify", {"input": values})["results"]
    assert row["label"]["data"] == [each["label"] for each in expected]


def test_one_item_that_fails_fails_the_request_by_its_place(texts: Served) -> None:
    good, body = text("a", "b"), text("a", " ")

    assert refused(texts, json.dumps(body).encode()).startswith("text[1]: ")
    bad, headers = as_bytes(good, join_bytes([b"a", b"\xff"]))
    assert refused(texts, bad, headers) == "text[1]: is not UTF-8 at byte 0"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\1\0\0\0a\1\0\0", "text: value 1: is cut off within its length"),
        (b"\1\0\0\0a\xff\xff\xff\xff", "text: value 1: 4,294,967,295 bytes long; 0 bytes are left"),
        (b"\1\0\0\0a", "text: 1 values; the shape holds 2"),
        (b"\0\0\0\0" * 9, "text: more than 2 values; the shape holds 2"),
    ],
)
def test_texts_that_are_cut_off_are_refused(texts: Served, raw: bytes, message: str) -> None:
    body, headers = as_bytes(text("a", "b"), raw)

    assert refused(texts, body, headers) == message


def test_images_are_taken_as_bytes_and_in_base64(image_gallery: Path) -> None:
    files = sorted((samples.folder() / "clipart").rglob("*.png"))[:2]
    raws = [file.read_bytes() for file in files]
    tensor = {"name": "image", "shape": [2], "datatype": "BYTES"}
    plain = {"inputs": [tensor | {"data": [base64.b64encode(raw).decode() for raw in raws]}]}

    with serving(image_gallery) as server:
        expected = asked(server, plain)
        body, headers = as_bytes(plain, join_bytes(raws))
        status, _, raw = server.request("POST", infer(server), body, headers)
        empty, more = as_bytes(plain, join_bytes([raws[0], b""]))

        assert (status, json.loads(raw)["outputs"]) == (200, list(expected.values()))
        assert refused(server, empty, more) == "image[1]: is empty"


def test_a_head_tells_its_probabilities_in_the_order_of_its_classes(head: Served) -> None:
    model = got(head, "GET", "/v2/models/insects")

    outputs = asked(head, vector(ROWS))

    assert model["parameters"] == {"classes": ["ant", "bee"]}
    expected = class_head().probabilities(ROWS)
    np.testing.assert_allclose(numbers(outputs["probabilities"]), expected, atol=1e-6)
    assert outputs["label"]["data"] == ["ant", "bee", "ant"]
    np.testing.assert_allclose(outputs["probability"]["data"], expected.max(axis=1), atol=1e-6)
    assert outputs["novel"]["data"] == [each.novel for each in class_head().predict(ROWS)]


def test_only_a_gallery_takes_k(head: Served) -> None:
    body = vector(ROWS) | {"parameters": {"k": 3}}

    assert refused(head, json.dumps(body).encode()) == (
        "parameters.k: insects is a head; only a gallery has it"
    )


def test_tags_and_values_are_matrices(tmp_path: Path) -> None:
    for name, made, output in (
        ("tags", tag_head(), "probabilities"),
        ("values", value_head(), "values"),
    ):
        save_head(tmp_path / f"{name}.head", made)
        with serving(tmp_path / f"{name}.head") as server:
            outputs = asked(server, vector(ROWS))

            expected = made.logits(ROWS) if name == "values" else made.probabilities(ROWS)
            assert list(outputs) == [output]
            np.testing.assert_allclose(numbers(outputs[output]), expected, atol=1e-6)


def test_a_backbone_gives_embeddings(text_backbone: str) -> None:
    with serving(text_backbone) as server:
        outputs = asked(server, text("a", "b"))
        expected = got(server, "POST", "/v1/embeddings", {"model": text_backbone, "input": ["a"]})

        assert list(outputs) == ["embedding"]
        np.testing.assert_allclose(
            numbers(outputs["embedding"])[0], expected["data"][0]["embedding"], atol=1e-5
        )


@given(st.lists(st.binary(max_size=9), max_size=9))
def test_values_that_are_joined_are_split_again(values: list[bytes]) -> None:
    assert split_bytes(memoryview(join_bytes(values)), len(values)) == values


@given(
    shape=st.lists(st.integers(-2, 2**70) | st.integers(0, 3), max_size=10),
    datatype=st.sampled_from(["BYTES", "FP32", "FP64", "BOOL"]),
    data=st.none() | st.lists(st.integers() | st.text(max_size=2) | st.lists(st.integers(0, 2))),
    rest=st.binary(max_size=40),
    size=st.none() | st.integers(0, 50),
)
def test_a_tensor_is_read_or_refused_and_nothing_else(
    shape: list[int], datatype: str, data: list[Any] | None, rest: bytes, size: int | None
) -> None:
    tensor = InputTensor(name="x", shape=shape, datatype=datatype, data=data)
    tensor.parameters.binary_data_size = size

    try:
        found = read_tensor(tensor, memoryview(rest))
    except InputError:
        return

    assert found.shape == tuple(shape)
    if isinstance(found.values, np.ndarray):
        assert found.values.shape == tuple(shape)
    else:
        assert len(found.values) == math.prod(shape)
