"""Names of classes make a head, of which nothing but the names is learned."""

from pathlib import Path

import numpy as np
import pytest

import featx
from command_line import call, done, objects, refused
from featx.data.store import EmbeddingSet
from featx.errors import InputError
from featx.estimators import Embedder
from featx.heads.headfile import load_head
from featx.heads.zeroshot import zero_shot
from twotowers import add_pair, pictures_in

TEMPLATES = ("a photo of a {}", "{}, drawn")


pytestmark = pytest.mark.usefixtures("user_zoo")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return an embedding set of labelled pictures, by one half of a pair."""
    add_pair(tmp_path / "pair", "clip", "--logit-scale", "20")
    done("embed", pictures_in(tmp_path / "photos"), "-m", "clip-image", "-o", tmp_path / "p.emb")
    return tmp_path / "p.emb"


def test_probabilities_are_the_softmax_of_scaled_cosines(tmp_path: Path, photos: Path) -> None:
    flags = [part for template in TEMPLATES for part in ("--template", template)]
    done("zeroshot", photos, "-o", tmp_path / "z.head", *flags)

    found = load_head(tmp_path / "z.head").probabilities(EmbeddingSet.open(photos).X[:])

    embedder = Embedder("clip-text")
    named = [embedder.transform([t.format(name) for t in TEMPLATES]) for name in ("blue", "red")]
    W = np.stack([X.mean(axis=0) / np.linalg.norm(X.mean(axis=0)) for X in named])
    powers = np.exp(20 * EmbeddingSet.open(photos).X[:] @ W.T)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_the_head_predicts_is_evaluated_and_exported(tmp_path: Path, photos: Path) -> None:
    head = tmp_path / "z.head"
    told = done("zeroshot", photos, "-o", head, "--class", "cat", "--class", "blue")
    done("export", head, "-o", tmp_path / "z.onnx")

    of_set = objects(done("predict", head, photos, "--json"))
    of_files = objects(done("predict", head, tmp_path / "photos", "--json"))
    of_onnx = objects(done("predict", tmp_path / "z.onnx", tmp_path / "photos", "--json"))

    assert told == f"{head}: 2 classes of clip-image (cat, blue), named by clip-text, scale 20\n"
    assert {each["label"] for each in of_set} <= {"cat", "blue"}
    assert [each["label"] for each in of_set] == [each["label"] for each in of_files]
    assert [each["label"] for each in of_set] == [each["label"] for each in of_onnx]
    done("zeroshot", photos, "-o", head)
    wanted = sum(
        each["label"] == each["id"].partition("/")[0]
        for each in objects(done("predict", head, photos, "--json"))
    )
    assert f"accuracy               {wanted / 4:.3f}" in done("evaluate", head, photos)


def test_classes_come_from_flags_then_a_file_then_labels(tmp_path: Path, photos: Path) -> None:
    head, names = tmp_path / "z.head", tmp_path / "names.txt"
    names.write_text("red\n\n a blue one \n")
    gallery = tmp_path / "p.knn"
    done("index", photos, "-o", gallery)

    both = objects(done("zeroshot", photos, "-o", head, "--classes", names, "--json"))
    model = objects(done("zeroshot", "clip-image", "-o", head, "--classes", names, "--json"))
    held = objects(done("zeroshot", gallery, "-o", head, "--json"))

    assert both == model
    assert model[0]["classes"] == ["red", "a blue one"]
    assert held[0]["classes"] == ["blue", "red"]
    assert held[0] | {"classes": []} == {
        "classes": [], "model": "clip-image", "named_by": "clip-text", "templates": ["{}"],
        "scale": 20.0,
    }  # fmt: skip


def test_a_text_backbone_names_classes_of_texts_itself(tmp_path: Path) -> None:
    head = featx.zero_shot("minilm-l6", ["sport", "cooking"], templates=["this is about {}"])

    X = Embedder("minilm-l6").transform(["the goal in overtime", "simmer the onions in butter"])

    assert [each.label for each in head.predict(X)] == ["sport", "cooking"]
    assert head.header["model"] == head.header["zero_shot"]["model"] == "minilm-l6"
    assert head.header["warnings"] == [
        "probabilities are made with the scale 100, CLIP's, since nothing states this model's; "
        "it decides how sure the head is, not which class wins"
    ]


def test_a_scale_that_is_said_wins(photos: Path) -> None:
    said = zero_shot("clip-image", ["a", "b"], scale=5.0)
    stated = zero_shot("clip-image", ["a", "b"])

    assert (said.temperature, stated.temperature) == (1 / 5, 1 / 20)
    assert said.header["warnings"] == stated.header["warnings"] == []


def test_names_and_templates_may_come_one_by_one() -> None:
    listed = zero_shot("minilm-l6", ["cat", "dog"], templates=["a {}", "my {}"])
    given = zero_shot("minilm-l6", iter(["cat", "dog"]), templates=iter(["a {}", "my {}"]))  # type: ignore[arg-type]

    assert given.header["zero_shot"] == listed.header["zero_shot"]
    np.testing.assert_array_equal(given.arrays["centroids"], listed.arrays["centroids"])


@pytest.mark.parametrize("scale", [20.0, 117.3])
def test_a_bias_of_the_pair_would_change_no_probability(photos: Path, scale: float) -> None:
    head = zero_shot("clip-image", ["a", "b", "c"], scale=scale)
    X = EmbeddingSet.open(photos).X[:]

    powers = np.exp(scale * X @ head.arrays["centroids"].T - 12.9)

    wanted = powers / powers.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.probabilities(X), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("classes", "templates", "problem"),
    [
        (["a"], ["{}"], "zero-shot: 1 class; expected two or more names"),
        (["a", "b", "a"], ["{}"], "zero-shot: class 'a' is there twice"),
        (["a", " "], ["{}"], "zero-shot: class ' ' says nothing"),
        (["a", "b"], ["a photo"], "zero-shot: template 'a photo' has no {}, where the name goes"),
        (["a", "b"], ["{}", "{}"], "zero-shot: template '{}' is there twice"),
        (["a", "b"], [], "zero-shot: no template; expected one or more, such as '{}'"),
        ("cat", ["{}"], "zero-shot: 'cat' is one class; expected a list of them"),
        (["a", "b"], "a {}", "zero-shot: 'a {}' is one template; expected a list of them"),
    ],
)
def test_names_and_templates_are_checked(
    classes: str | list[str], templates: str | list[str], problem: str
) -> None:
    with pytest.raises(InputError) as caught:
        zero_shot("minilm-l6", classes, templates=templates)

    assert str(caught.value) == problem


def test_items_that_no_text_shares_a_space_with_are_refused(tmp_path: Path) -> None:
    flags = ("--class", "a", "--class", "b", "-o", tmp_path / "z.head")

    assert "is no half of a pair" in refused("zeroshot", "efficientnet-lite0", *flags)
    assert not (tmp_path / "z.head").exists()


def test_classes_must_be_named_where_there_are_no_labels(tmp_path: Path) -> None:
    result = call("zeroshot", "minilm-l6", "-o", tmp_path / "z.head")

    assert result.exit_code == 2
    assert "minilm-l6: has no labels that classes could be named after" in result.stderr
