"""Every backbone that travels with featx, against its original weights."""

import numpy as np
import pytest

from featx.backbone.backbone import Backbone
from featx.backbone.golden import LEAST_COSINE, golden_cosines, load_golden
from featx.backbone.settings import Settings
from featx.zoo import catalog
from featx.zoo.manifest import Manifest

EMBEDDED = sorted(path.stem for path in catalog.embedded_zoo().glob("*.toml"))


def manifest(name: str) -> Manifest:
    return Manifest.read(catalog.embedded_zoo() / f"{name}.toml")


def test_there_are_backbones_for_text_image_and_sound() -> None:
    found = {manifest(name).modality for name in EMBEDDED}

    assert {"text", "image", "audio"} <= found


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_files_are_those_of_the_manifest(name: str) -> None:
    problems = [check.problem for check in catalog.check_files(manifest(name))]

    assert problems == [""] * len(problems)


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_whole_path_gives_the_vectors_of_the_original(name: str) -> None:
    backbone = Backbone(manifest(name), Settings(device="cpu", threads=2))
    contents, wanted = load_golden(backbone)

    cosines = golden_cosines(backbone)

    assert wanted.shape == (len(contents), backbone.dim)
    assert cosines.shape == (len(contents),)
    assert cosines.min() >= LEAST_COSINE, f"item {int(np.argmin(cosines))}"
