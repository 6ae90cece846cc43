"""Every backbone that travels with featx, against its original weights."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.golden import LEAST_COSINE, golden_cosines, load_golden
from featx.backbone.settings import Settings
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

NAMES = sorted(path.stem for path in catalog.embedded_zoo().glob("*.toml"))


def manifest(name: str) -> Manifest:
    return Manifest.read(catalog.embedded_zoo() / f"{name}.toml")


EMBEDDED = [name for name in NAMES if not manifest(name).files["graph"].url]
FETCHED = [name for name in NAMES if name not in EMBEDDED]


def test_there_are_backbones_for_text_image_and_sound() -> None:
    found = {manifest(name).modality for name in EMBEDDED}

    assert {"text", "image", "audio"} <= found


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_files_are_those_of_the_manifest(name: str) -> None:
    problems = [check.problem for check in catalog.check_files(manifest(name))]

    assert problems == [""] * len(problems)
    assert manifest(name).measured["one_minus_cosine_to_original_max"] < 1e-7


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_whole_path_gives_the_vectors_of_the_original(name: str) -> None:
    backbone = Backbone(manifest(name), Settings(device="cpu", threads=2))
    contents, wanted = load_golden(backbone)

    cosines = golden_cosines(backbone)

    assert wanted.shape == (len(contents), backbone.dim)
    assert cosines.shape == (len(contents),)
    assert cosines.min() >= LEAST_COSINE, f"item {int(np.argmin(cosines))}"


@pytest.mark.parametrize("name", FETCHED)
def test_a_backbone_that_is_fetched_has_golden_vectors_of_its_width(name: str) -> None:
    backbone = Backbone(manifest(name), Settings(device="cpu"))

    contents, wanted = load_golden(backbone)

    assert wanted.shape == (len(contents), backbone.dim)
    assert len(contents) >= 8
    lengths = np.linalg.norm(wanted, axis=1)
    assert np.allclose(lengths, 1, atol=1e-6) == backbone.manifest.normalize


def test_several_layers_hold_the_last_one() -> None:
    ids = ("minilm-l6", "minilm-l6-layers", "efficientnet-lite0", "efficientnet-lite0-layers")
    text, texts, image, images = (
        Backbone(manifest(name), Settings(device="cpu", threads=2)) for name in ids
    )
    sentences, pictures = load_golden(text)[0][:6], load_golden(image)[0][:6]

    last = texts.encode(sentences)[:, 384:]
    last /= np.linalg.norm(last, axis=1, keepdims=True)

    np.testing.assert_allclose(last, text.encode(sentences), atol=1e-6)
    np.testing.assert_allclose(
        images.encode(pictures)[:, :1280], image.encode(pictures), rtol=1e-4, atol=1e-4
    )
    assert len({text.space, texts.space, image.space, images.space}) == 4


@pytest.mark.parametrize("name", ["minilm-l6", "efficientnet-lite0"])
def test_weights_of_several_layers_are_the_bytes_of_the_plain_graph(name: str) -> None:
    plain, several = (
        onnx.load(manifest(each).file("graph")).graph for each in (name, f"{name}-layers")
    )
    wanted = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.initializer}

    for tensor in several.initializer:
        if tensor.name in wanted:
            found = numpy_helper.to_array(tensor)
            np.testing.assert_array_equal(found, wanted.pop(tensor.name), err_msg=tensor.name)

    assert not wanted


def test_weights_in_8_bits_lie_near_those_they_were_made_from() -> None:
    _, exact = load_golden(Backbone(manifest("minilm-l6")))
    _, rounded = load_golden(Backbone(manifest("minilm-l6-int8")))

    cosines = np.einsum("nd,nd->n", exact, rounded)

    assert manifest("minilm-l6").space() == manifest("minilm-l6-int8").space()
    assert cosines.min() > 0.997
    assert np.median(cosines) > 0.999
