"""Both towers of a pair are added so that they share a space, from one folder or one by one."""

import json
from pathlib import Path

import numpy as np
import pytest

from command_line import done, refused
from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.errors import InputError, ManifestError
from featx.onboard.adding import Checked
from featx.onboard.check.reference import read_reference
from featx.onboard.placing import remove
from featx.onboard.read.choices import Choices
from featx.zoo import catalog
from featx.zoo.manifest import Manifest, Tower
from hubfolders import add
from twotowers import FAMILIES, FLAGS, add_pair, pair_folder
from websites import COMMIT, Site, add_repository, served, use_hub

VISION = FAMILIES / "clip-vision" / "onnx" / "vision_model.onnx"
TEXT = FAMILIES / "clip-text" / "onnx" / "text_model.onnx"


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.mark.parametrize("kind", FLAGS)
def test_one_folder_gives_two_backbones_of_one_space(tmp_path: Path, kind: str) -> None:
    add_pair(tmp_path / "pair", kind, "--logit-scale", "20")

    image, text = catalog.find(f"{kind}-image"), catalog.find(f"{kind}-text")
    assert image.space() == text.space()
    assert image.tower == Tower(role="image", partner=f"{kind}-text", logit_scale=20)
    assert text.tower == Tower(role="text", partner=f"{kind}-image", logit_scale=20)
    assert (image.modality, sorted(image.files)) == ("image", ["graph"])
    assert (text.modality, sorted(text.files)) == ("text", ["graph", "tokenizer"])


@pytest.mark.parametrize("kind", FLAGS)
@pytest.mark.parametrize(("tower", "role"), [("vision", "image"), ("text", "text")])
def test_a_tower_of_a_pair_gives_the_vectors_of_torch(
    tmp_path: Path, kind: str, tower: str, role: str
) -> None:
    add_pair(tmp_path / "pair", kind)
    backbone = Backbone(catalog.find(f"{kind}-{role}"), Settings(device="cpu", threads=1))
    reference = read_reference(FAMILIES / f"{kind}-{tower}" / "reference.npz", backbone)

    found = backbone.encode(reference.items)

    wanted = reference.vectors / np.linalg.norm(reference.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_pair_of_the_hub_has_the_weights_of_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    joint = {"onnx/model.onnx": files["onnx/text_model.onnx"]}
    site = Site()
    with served(site):
        add_repository(site, "org/clip", {**files, **joint})
        use_hub(monkeypatch, site, tmp_path / "hub")

        done("models", "add", "hf:org/clip", "--normalize")

    image, text = catalog.find("clip-image"), catalog.find("clip-text")
    assert image.weights == text.weights == f"org/clip@{COMMIT}"
    assert image.space() == text.space()
    assert text.files["graph"].url == f"hf:org/clip@{COMMIT}:onnx/text_model.onnx"


def test_each_tower_is_told_of_on_its_own(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "siglip")

    answer = done("models", "add", folder, "--name", "s", *FLAGS["siglip"], "--json")
    told = json.loads(answer)["models"]

    assert [each["name"] for each in told] == ["s-image", "s-text"]
    facts = {fact["key"]: (fact["value"], fact["source"]) for fact in told[1]["facts"]}
    assert facts["text.padding"] == ("max_length", "config.json: model_type")
    assert facts["text.pad_token"] == ("</s>", "tokenizer_config.json: pad_token")
    assert facts["tower.partner"] == ("s-image", "lies beside it")
    assert facts["files.graph"][1].startswith("onnx/text_model.onnx")


def test_a_tower_that_is_named_is_added_alone(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")

    done("models", "add", folder / "onnx" / "vision_model.onnx", "--name", "one", "--normalize")

    assert catalog.find("one").tower is None
    assert "one-text" not in catalog.names()


def test_the_other_half_is_added_to_a_backbone_of_the_zoo() -> None:
    done("models", "add", VISION, "--name", "eye", "--normalize")
    before = catalog.find("eye")

    done("models", "add", TEXT, "--name", "tongue", "--normalize", "--partner", "eye")

    eye, tongue = catalog.find("eye"), catalog.find("tongue")
    assert eye.space() == before.space() == tongue.space()
    assert Backbone(eye).fingerprint == Backbone(before).fingerprint
    assert eye.tower == Tower(role="image", partner="tongue")
    assert tongue.tower == Tower(role="text", partner="eye")
    error = refused("models", "add", TEXT, "--name", "x", "--normalize", "--partner", "eye")
    assert error == "eye: has a partner, tongue; remove that first"
    done("models", "remove", "tongue")
    done("models", "add", TEXT, "--name", "x", "--normalize", "--partner", "eye")
    assert catalog.find("eye").tower == Tower(role="image", partner="x")


def test_halves_that_share_no_space_are_refused_and_nothing_is_left() -> None:
    done("models", "add", VISION, "--name", "eye", "--normalize")

    error = refused("models", "add", TEXT, "--name", "t", "--no-normalize", "--partner", "eye")

    assert error.startswith("t and eye share no space: normalize False and True; choose outputs")
    assert "t" not in catalog.names()
    assert catalog.find("eye").tower is None


def test_two_halves_of_one_modality_are_no_pair() -> None:
    done("models", "add", VISION, "--name", "eye", "--normalize")

    error = refused("models", "add", VISION, "--name", "two", "--normalize", "--partner", "eye")

    assert error == ("two: takes image, and eye image; a pair is of texts, and of images or sounds")


def test_the_other_half_is_found_in_the_zoo_that_is_written_to(tmp_path: Path) -> None:
    zoo = tmp_path / "team"
    done("models", "add", VISION, "--name", "eye", "--normalize", "--zoo", zoo, "--license", "MIT")

    done("models", "add", TEXT, "--name", "t", "--normalize", "--zoo", zoo, "--partner", "eye")

    written = Manifest.read(zoo / "eye.toml")
    assert (written.license, written.tower) == ("MIT", Tower(role="image", partner="t"))
    assert Manifest.read(zoo / "t.toml").tower == Tower(role="text", partner="eye")


def test_a_half_that_another_zoo_has_is_no_half_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo = tmp_path / "team"
    done("models", "add", VISION, "--name", "eye", "--normalize", "--zoo", zoo)
    done("models", "add", TEXT, "--name", "t", "--normalize", "--zoo", zoo, "--partner", "eye")

    error = refused(
        *("models", "add", TEXT, "--name", "x", "--normalize", "--zoo", zoo, "--partner", "eye")
    )

    assert error == "eye: has a partner, t; remove that first"
    assert Manifest.read(zoo / "eye.toml").tower == Tower(role="image", partner="t")
    (zoo / "t.toml").unlink()
    done("models", "add", TEXT, "--name", "t", "--normalize")
    done("models", "add", TEXT, "--name", "x", "--normalize", "--zoo", zoo, "--partner", "eye")
    assert Manifest.read(zoo / "eye.toml").tower == Tower(role="image", partner="x")


@pytest.mark.parametrize("is_removed", [True, False])
def test_a_partner_that_was_changed_or_removed_meanwhile_is_not_written(
    user_zoo: Path, is_removed: bool
) -> None:
    done("models", "add", VISION, "--name", "eye", "--normalize")
    path = user_zoo / "eye.toml"
    text = path.read_text()

    def check(_: Manifest) -> Checked:
        if is_removed:
            remove("eye", user_zoo)
        else:
            path.write_text(text.replace('license = "', 'license = "not '))
        return Checked()

    with pytest.raises(InputError, match=r"eye\.toml: was changed or removed meanwhile; run"):
        add(str(TEXT), Choices(name="tongue", normalize=True, partner="eye"), checks=check)

    left = {entry.name for entry in user_zoo.iterdir()}
    assert left == (set() if is_removed else {"eye", "eye.toml", "golden"})
    assert is_removed or path.read_text() == text.replace('license = "', 'license = "not ')


def test_both_towers_are_placed_or_none(tmp_path: Path, user_zoo: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")

    def check(_: Manifest) -> Checked:
        (user_zoo / "p-text.toml").write_text("taken meanwhile")
        return Checked()

    with pytest.raises(InputError, match="p-text: a model of this name exists in"):
        add(str(folder), Choices(name="p", normalize=True), checks=check)

    assert [path.name for path in user_zoo.iterdir()] == ["p-text.toml"]


def test_a_backbone_of_another_zoo_cannot_be_made_a_partner() -> None:
    error = refused("models", "add", TEXT, "--normalize", "--partner", "efficientnet-lite0")

    assert "efficientnet-lite0: lies in " in error
    assert "a partner must lie in " in error


def test_towers_of_different_outputs_are_refused_whole(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "siglip")
    clip = FAMILIES / "clip-vision" / "onnx" / "vision_model.onnx"
    (folder / "onnx" / "vision_model.onnx").write_bytes(clip.read_bytes())

    error = refused(
        *("models", "add", folder, "--normalize", "--name", "p", "--input", "token_ids=input_ids"),
        *("--image", "size=16"),
    )

    assert error.startswith("p-image and p-text share no space: ")
    assert [name for name in catalog.names() if name.startswith("p-")] == []


def test_what_is_no_pair_has_no_scale() -> None:
    error = refused("models", "add", VISION, "--name", "x", "--normalize", "--logit-scale", "2")

    assert "is no pair, which --logit-scale is of; say --partner NAME too" in error


def test_a_pair_has_no_modality(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")

    error = refused("models", "add", folder, "--normalize", "--modality", "text")

    assert error == f"{folder}: is a pair; name one of its graphs, or no --modality"


def test_a_name_that_is_taken_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    add_pair(tmp_path / "pair")

    error = refused("models", "add", tmp_path / "pair", "--name", "clip", "--normalize")

    assert error.startswith("clip-image: a model of this name exists")


@pytest.mark.parametrize(
    ("tower", "problem"),
    [
        ({"role": "text", "partner": "b"}, "role = 'text'; expected the modality, 'array'"),
        ({"role": "image", "partner": "b"}, "role = 'image'; expected the modality, 'array'"),
    ],
)
def test_a_tower_must_be_of_the_modality(tower: dict[str, str], problem: str) -> None:
    table = {
        "schema": 1, "name": "a", "modality": "array", "summary": "s", "license": "MIT",
        "source": "s", "weights": "w", "dim": 2, "pooling": "none", "normalize": False,
    }  # fmt: skip

    with pytest.raises(ManifestError) as caught:
        Manifest.from_table({**table, "tower": tower}, folder=Path(), where="a.toml")

    assert str(caught.value) == f"a.toml: [tower] {problem}"


def test_widths_of_a_folder_and_a_flag_are_recorded(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "matryoshka_dimensions": [4, 8, 16]}))

    done("models", "add", folder, "--name", "stated", "--normalize")
    done("models", "add", folder, "--name", "said", "--normalize", "--dims", "8", "--dims", "12")

    assert catalog.find("stated-text").dims == catalog.find("stated-image").dims == (4, 8, 16)
    assert catalog.find("said-image").dims == (8, 12)
