"""Clients that others have written, against a real service."""

import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from serving import Served, copy_of, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it imports
    import tritonclient.http as triton
    from tritonclient.utils import InferenceServerException

KEY = "secret"
MAILS = ["win money now", "see you at lunch — Jörg"]


@pytest.fixture(scope="module")
def texts(text_gallery: Path) -> Iterator[Served]:
    with serving(text_gallery, keys=(KEY,)) as server:
        yield server


@pytest.fixture
def client(texts: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{texts.url}/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_openai_gets_the_same_vectors_as_numbers_and_in_base64(
    client: openai.OpenAI, text_backbone: str
) -> None:
    plain = client.embeddings.create(model="mails", input=MAILS, encoding_format="float")
    packed = client.embeddings.create(model=text_backbone, input=MAILS)

    assert [each.index for each in plain.data] == [0, 1]
    for one, other in zip(plain.data, packed.data, strict=True):
        np.testing.assert_allclose(one.embedding, other.embedding, rtol=1e-6)
        assert np.linalg.norm(one.embedding) == pytest.approx(1, abs=1e-5)
    assert plain.model == text_backbone
    assert plain.usage.prompt_tokens == plain.usage.total_tokens > len(MAILS) * 3


def test_openai_takes_one_text_and_dimensions(client: openai.OpenAI) -> None:
    one = client.embeddings.create(model="mails", input=MAILS[0], dimensions=384)

    assert len(one.data[0].embedding) == 384
    with pytest.raises(openai.UnprocessableEntityError) as error:
        client.embeddings.create(model="mails", input=MAILS[0], dimensions=7)
    assert (error.value.param, error.value.code) == ("dimensions", "wrong_dimensions")


def test_openai_raises_its_own_errors(client: openai.OpenAI, texts: Served) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="gpt", input="a")
    with pytest.raises(openai.UnprocessableEntityError) as empty:
        client.embeddings.create(model="mails", input=["a", ""])
    with (
        openai.OpenAI(base_url=f"{texts.url}/v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()

    assert missing.value.code == "model_not_found"
    assert (empty.value.param, empty.value.type) == ("input", "invalid_request_error")
    assert "input[1]: " in empty.value.message


def test_openai_lists_and_describes_the_model(client: openai.OpenAI) -> None:
    (model,) = client.models.list().data

    assert (model.id, model.object, model.owned_by) == ("mails", "model", "featx")
    assert client.models.retrieve("mails") == model


def to_bytes(values: list[str]) -> Any:  # noqa: ANN401
    return np.array([value.encode() for value in values], dtype=np.object_)


@pytest.mark.parametrize("is_binary", [False, True])
def test_triton_asks_in_json_and_in_bytes(texts: Served, is_binary: bool) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    tensor = triton.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(to_bytes(MAILS), binary_data=is_binary)
    names = ["label", "similarities", "embedding"]
    outputs = [triton.InferRequestedOutput(name, binary_data=is_binary) for name in names]
    _, expected = texts.json("POST", "/v1/classify", {"input": MAILS}, headers)

    with triton.InferenceServerClient(texts.url.removeprefix("http://")) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("mails", headers=headers)
        assert client.get_server_metadata(headers=headers)["name"] == "featx"
        metadata = client.get_model_metadata("mails", "1", headers=headers)
        found = client.infer("mails", [tensor], outputs=outputs, headers=headers)
        everything = client.infer("mails", [tensor], "1", request_id="7", headers=headers)

    assert metadata["inputs"][0] == {"name": "text", "datatype": "BYTES", "shape": [-1]}
    labels = [each["label"] for each in expected["results"]]
    for result in (found, everything):
        said = [
            value if isinstance(value, str) else value.decode()
            for value in result.as_numpy("label")
        ]
        assert said == labels
    near = [[n["similarity"] for n in each["neighbours"]] for each in expected["results"]]
    np.testing.assert_allclose(found.as_numpy("similarities"), near, atol=1e-5)
    assert found.as_numpy("embedding").shape == (2, 384)
    assert everything.as_numpy("embedding") is None
    assert everything.get_response()["id"] == "7"


def test_triton_raises_what_the_service_says(texts: Served) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    tensor = triton.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(to_bytes(["a", ""]))

    with triton.InferenceServerClient(texts.url.removeprefix("http://")) as client:
        with pytest.raises(InferenceServerException, match=r"text\[1\]: "):
            client.infer("mails", [tensor], headers=headers)
        with pytest.raises(InferenceServerException, match="authorization: no key"):
            client.infer("mails", [tensor])


CONFIG = """
# Too many items are refused by 413.
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 409, 413, 415, 422]

# What a schema cannot say: that shape and data of a tensor belong together, that an image is one,
# that an example has a direction.
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 404]

[[operations]]
include-name = "POST /v1/examples"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 409, 422]
"""

FILES = """
[[operations]]
include-name-regex = "POST /v1/(classify|search|embeddings)"
checks.positive_data_acceptance.expected-statuses = ["2xx", 401, 404, 409, 422]
"""


def look_for_failures(server: Served, folder: Path, *options: str, config: str = CONFIG) -> None:
    """Have schemathesis ask for everything, in every way that the description allows or not."""
    (folder / "schemathesis.toml").write_text(config)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--checks", "all", "--no-color", "--generation-database", "none"),
        # Of arrays that have to hold one value that is of use it throws many away.
        *("--suppress-health-check", "filter_too_much"),
        *("-H", f"Authorization: Bearer {KEY}", *options),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_schemathesis_finds_nothing(vector_gallery: Path, tmp_path: Path) -> None:
    with serving(copy_of(vector_gallery, tmp_path), allow_teach=True) as server:
        options = ("--phases", "examples,fuzzing", "--max-examples", "3", "--seed", "1")
        look_for_failures(server, tmp_path, *options)


THINGS = ["vector_gallery", "vector_head", "text_gallery", "text_head", "text_backbone"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", [*THINGS, "image_gallery", "sound_gallery"])
def test_schemathesis_finds_nothing_however_long_it_looks(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    thing = request.getfixturevalue(name)
    path = copy_of(thing, tmp_path) if isinstance(thing, Path) else thing
    config = CONFIG if name in THINGS else CONFIG + FILES

    with serving(path, keys=(KEY,)) as server:
        look_for_failures(server, tmp_path, "--max-examples", "30", config=config)
