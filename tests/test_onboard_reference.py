"""A backbone that is added is compared with vectors that the original weights made."""

import shutil
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.golden import load_golden
from featx.errors import FeatxError, InputError, MissingPackageError
from featx.onboard.check.against import at_commit, vectors_of
from featx.onboard.check.card import card
from featx.onboard.check.checks import check
from featx.onboard.fetch.origin import parse_origin
from featx.onboard.read.choices import Choices
from featx.types import Vectors
from featx.zoo import catalog
from hubfolders import TABLE, add, sentence_files, text_graph, write_files
from smallgraphs import NOTHING, add_text, node, vectors, words

FAMILIES = Path(__file__).parent / "data" / "families"


pytestmark = pytest.mark.usefixtures("user_zoo")


def reference(folder: Path, **arrays: Any) -> Path:  # noqa: ANN401
    path = folder / "reference.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


def means(*texts: list[int]) -> Vectors:
    """Return the means of the words' vectors."""
    return np.stack([TABLE[[2, *text, 3]].mean(axis=0) for text in texts])


TEXTS = np.array(["red cat", "dog"])
MEANS = means([4, 7], [8])
UNIT = MEANS / np.linalg.norm(MEANS, axis=1, keepdims=True)


def test_vectors_of_the_original_become_the_golden_ones(tmp_path: Path) -> None:
    path = reference(tmp_path, items=TEXTS, vectors=UNIT)

    manifest = add_text(tmp_path, text_graph(), reference=path).manifest

    assert manifest.measured["cosine_to_reference_min"] > 1 - 1e-6
    items, golden = load_golden(Backbone(manifest))
    assert items == ["red cat", "dog"]
    np.testing.assert_array_equal(golden, UNIT.astype(np.float32))
    assert card(manifest)["fidelity"] == "least cosine 1.000000 to reference.npz"


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices(pooling="cls"), "expected at least 0.99999; with --pooling mean it is 1.000000"),
        (Choices(normalize=False), "that of the reference 1; say --normalize"),
        (Choices(options={"text": {"truncation": "start"}}, max_length=3), "check pooling, output"),
    ],
)
def test_vectors_that_are_not_those_of_the_original_are_refused(
    tmp_path: Path, choices: Choices, message: str
) -> None:
    path = reference(tmp_path, items=TEXTS, vectors=UNIT)

    with pytest.raises(FeatxError) as caught:
        add_text(tmp_path, text_graph(), choices, reference=path)

    assert message in str(caught.value)
    assert list(catalog.user_zoo().iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"items": TEXTS}, "no vectors; expected vectors (N, D), and either items (N texts)"),
        ({"items": TEXTS, "vectors": UNIT[0]}, "vectors is float32 (4,); expected"),
        ({"items": TEXTS, "vectors": UNIT[:, :3]}, "expected finite ones of dim 4"),
        ({"items": TEXTS, "vectors": UNIT * np.nan}, "expected finite ones of dim 4"),
        ({"items": TEXTS[:1], "vectors": UNIT}, "items is <U7 (1,); expected 2 texts"),
        ({"vectors": UNIT}, "2 vectors, but no item_0"),
        ({"item_0": np.zeros(3, np.uint8), "vectors": UNIT}, "2 vectors, but no item_1"),
        ({"items": np.array(["red", ""]), "vectors": UNIT}, "item 1: is empty"),
    ],
)
def test_a_reference_of_another_form_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    with pytest.raises(FeatxError) as caught:
        add_text(tmp_path, text_graph(), reference=reference(tmp_path, **arrays))

    assert message in str(caught.value)


def test_a_reference_of_few_bits_is_measured_and_does_not_become_golden(tmp_path: Path) -> None:
    quantized = node("QuantizeLinear", ["rows", "scale", "zero"], "q")
    back = node("DequantizeLinear", ["q", "scale", "zero"], "last_hidden_state")
    tensors = [
        numpy_helper.from_array(np.array(0.2, dtype=np.float32), "scale"),
        numpy_helper.from_array(np.array(128, dtype=np.uint8), "zero"),
    ]
    path = reference(tmp_path, items=TEXTS, vectors=UNIT)

    manifest = add_text(tmp_path, words([quantized, back], *tensors), reference=path).manifest

    assert 0.99 < manifest.measured["cosine_to_reference_min"] < 0.99999
    assert load_golden(Backbone(manifest))[0][0] == "red"


@pytest.mark.parametrize("damage", ["absent", "text", "cut", "array"])
def test_a_damaged_reference_is_refused(tmp_path: Path, damage: str) -> None:
    path = reference(tmp_path, items=TEXTS, vectors=UNIT)
    raw = path.read_bytes()
    path.unlink()
    if damage == "array":
        np.save(tmp_path / "array.npy", UNIT)
        (tmp_path / "array.npy").rename(path)
    elif damage != "absent":
        path.write_bytes({"text": b"red 1 2 3", "cut": raw[: len(raw) // 2]}[damage])

    with pytest.raises(FeatxError, match=r"reference\.npz: not a \.npz file of arrays: "):
        add_text(tmp_path, text_graph(), reference=path)


def test_a_pickled_reference_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "reference.npz"
    np.savez(path, items=np.array(["red", None], dtype=object), vectors=UNIT)

    with pytest.raises(FeatxError, match=r"reference\.npz: not a \.npz file of arrays"):
        add_text(tmp_path, text_graph(), reference=path)


def test_a_missing_sentence_transformers_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # no import finds it
    write_files(tmp_path / "small", sentence_files())
    origin = parse_origin(str(tmp_path / "small"))

    with pytest.raises(MissingPackageError, match="pip install sentence-transformers"):
        add(str(tmp_path / "small"), NOTHING, checks=partial(check, against=origin))


def test_sentence_transformers_makes_the_same_vectors() -> None:
    pytest.importorskip("sentence_transformers", reason="is for an environment that has it")

    for family in ("bert", "roberta", "mpnet", "xlm-roberta", "modernbert"):
        folder = FAMILIES / family
        checks = partial(check, against=parse_origin(str(folder)))
        measured = add(str(folder), NOTHING, checks=checks).manifest.measured

        assert measured["cosine_to_reference_min"] > 0.99999
        assert measured["reference"] == "sentence-transformers"


def test_sentence_transformers_opens_no_pickled_weights(tmp_path: Path) -> None:
    package = pytest.importorskip("sentence_transformers", reason="for an environment that has it")
    folder = tmp_path / "bert"
    shutil.copytree(FAMILIES / "bert", folder)
    (folder / "model.safetensors").unlink()
    model = package.SentenceTransformer(str(FAMILIES / "bert"), device="cpu")
    import_module("torch").save(model[0].auto_model.state_dict(), folder / "pytorch_model.bin")

    with pytest.raises(InputError, match="sentence-transformers cannot load it: "):
        vectors_of(parse_origin(str(folder)), ["red"])


@pytest.mark.parametrize(
    ("against", "url", "place"),
    [
        ("hf:org/small@main", "hf:org/small@c0ffee:onnx/model.onnx", "hf:org/small@c0ffee"),
        ("hf:org/small", "hf:org/small@c0ffee:model.onnx", "hf:org/small@c0ffee"),
        ("models/small", "", "models/small"),
    ],
)
def test_the_original_is_taken_at_the_commit_of_the_graph(
    against: str, url: str, place: str
) -> None:
    assert at_commit(parse_origin(against), url).whole == place


def test_sentence_transformers_compares_texts_alone(tmp_path: Path) -> None:
    write_files(tmp_path / "small", {"small.onnx": vectors([node("Relu", ["x"], "y")])})
    choices = Choices(modality="array", normalize=False)
    origin = parse_origin(str(tmp_path / "small"))

    with pytest.raises(FeatxError, match="sentence-transformers is compared with for texts"):
        add(str(tmp_path / "small"), choices, checks=partial(check, against=origin))


def test_two_references_at_once_are_refused(tmp_path: Path) -> None:
    write_files(tmp_path / "small", sentence_files())
    path, origin = reference(tmp_path, items=TEXTS, vectors=UNIT), parse_origin(str(tmp_path))

    with pytest.raises(FeatxError, match="--reference and --against: one of them"):
        add(
            str(tmp_path / "small"),
            NOTHING,
            checks=partial(check, reference=path, against=origin),
        )
