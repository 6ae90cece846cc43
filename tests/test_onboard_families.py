"""A model of each family, by both of torch's exporters, gives torch's vectors through featx."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import call, done
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.onboard.check.reference import read_reference
from featx.zoo import catalog

FAMILIES = Path(__file__).parent / "data" / "families"
NAMES = sorted(path.name for path in FAMILIES.iterdir() if (path / "onnx").is_dir())

LEAST_COSINE = 0.99999
FURTHEST = 1e-4
"""Of a number in a vector of length 1."""

POOLED = ("--output", "embedding=pooler_output", "--pooling", "none", "--normalize")
SIGLIP = ("--text", "padding=max_length", "--text", "pad_token=</s>")
FLAGS = {
    "clip-text": ("--normalize",),
    "clip-vision": ("--normalize",),
    "convnext": POOLED,
    "dinov2": ("--pooling", "cls", "--normalize"),
    "resnet": ("--normalize",),
    "siglip-text": (*POOLED, *SIGLIP),
    "siglip-vision": POOLED,
    "vit": ("--pooling", "cls", "--normalize"),
    "wav2vec2": ("--pooling", "mean", "--normalize"),
}
"""Family → what its files on the hub do not state."""


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.mark.parametrize("exporter", ["", "_dynamo"])
@pytest.mark.parametrize("family", NAMES)
def test_an_added_model_gives_the_vectors_of_torch(family: str, exporter: str) -> None:
    folder = FAMILIES / family
    (graph,) = (folder / "onnx").glob(f"*model{exporter}.onnx")
    done("models", "add", graph, "--name", "small", *FLAGS.get(family, ()))
    backbone = Backbone(catalog.find("small"), Settings(device="cpu", threads=1))
    reference = read_reference(folder / "reference.npz", backbone)

    found = backbone.encode(reference.items)

    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference.vectors, axis=1)
    cosines = np.einsum("nd,nd->n", found, reference.vectors) / lengths
    assert cosines.min() >= LEAST_COSINE
    np.testing.assert_allclose(found, reference.vectors, atol=FURTHEST * lengths.max() ** 0.5)


@pytest.mark.parametrize("family", NAMES)
def test_vectors_of_different_items_are_no_nearer_than_wrong_ones(family: str) -> None:
    with np.load(FAMILIES / family / "reference.npz") as file:
        X = file["vectors"] / np.linalg.norm(file["vectors"], axis=1, keepdims=True)

    cosines = (X @ X.T)[np.triu_indices(len(X), 1)]

    assert cosines.max() < 1 - 100 * (1 - LEAST_COSINE)


def test_a_folder_takes_the_models_own_graph_and_is_compared_with_its_reference() -> None:
    folder = FAMILIES / "bert"

    added = done("models", "add", folder, "--reference", folder / "reference.npz")

    assert "fidelity:     least cosine 1.000000 to reference.npz" in added
    measured = catalog.find("bert").measured
    assert measured["cosine_to_reference_min"] >= LEAST_COSINE
    assert measured["reference"] == "reference.npz"
    assert "7 golden items" in done("models", "verify", "bert")


def test_the_card_of_an_added_model_is_shown_before_its_manifest() -> None:
    done("models", "add", FAMILIES / "bert")

    lines = done("models", "info", "bert").splitlines()
    told = json.loads(done("models", "info", "bert", "--json"))["card"]

    size = sum(entry.size_bytes for entry in catalog.find("bert").files.values())
    assert lines[:2] == [f"size:         {size / 1000:.1f} kB", "dimension:    16"]
    assert [line.split(":")[0] for line in lines[:5]] == list(told)
    assert told["dimension"] == "16"


def test_a_larger_size_is_not_filled_up_around_the_size_of_a_file() -> None:
    (graph,) = (FAMILIES / "clip-vision" / "onnx").glob("*model.onnx")
    flags = "--name", "large", "--normalize", "--image", "size=32"

    result = call("models", "add", graph, *flags)

    assert result.exit_code == 1
    assert "image.size = [32] by --image" in result.stderr
    assert "resizes to [16] first; say that too: --image resize_to=..." in result.stderr
