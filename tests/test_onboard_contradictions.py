"""What files and flags say is heard, or refused where it contradicts; nothing is passed over."""

import json
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from featx.errors import InputError
from featx.onboard.read.choices import Choices
from featx.zoo import catalog
from hubfolders import (
    add,
    graph,
    opens,
    patch_graph,
    sentence_files,
    tokenizer_bytes,
    value,
    vector_graph,
    write_files,
)
from twotowers import FAMILIES, pair_folder

VECTORS = Choices(modality="array", normalize=False, pooling="none")
CONFIG = "tokenizer_config.json"


pytestmark = pytest.mark.usefixtures("user_zoo")


def refusal(folder: Path, files: dict[str, bytes], choices: Choices | None = None) -> str:
    """Return why files are not added."""
    write_files(folder / "small", files)
    with pytest.raises(InputError) as caught:
        add(str(folder / "small"), choices or Choices(), checks=opens)
    assert catalog.user_zoo().exists() is False or list(catalog.user_zoo().iterdir()) == []
    return str(caught.value)


def bert_like(**settings: Any) -> bytes:  # noqa: ANN401
    """Return the tokenizer of the small models, normalising as BERT's does."""
    tokenizer = Tokenizer.from_buffer(tokenizer_bytes())
    tokenizer.normalizer = BertNormalizer(**settings)
    return tokenizer.to_str().encode()


@pytest.mark.parametrize(
    ("settings", "config", "message"),
    [
        ({"lowercase": False}, {"do_lower_case": True}, "do_lower_case = true, but of tokenizer.j"),
        ({"lowercase": True}, {"do_lower_case": False}, "do_lower_case = false, but of tokenizer"),
        (
            {"handle_chinese_chars": True},
            {"tokenize_chinese_chars": False},
            "tokenize_chinese_chars = false, but of tokenizer.json it is true",
        ),
        ({"strip_accents": False}, {"strip_accents": None}, "strip_accents = null, but of tokeni"),
        (
            {"lowercase": False},
            {"strip_accents": True},
            "strip_accents = true, but of tokenizer.json it is null; make them agree, or say "
            "--tokenizer with the tokenizer.json that is meant",
        ),
        ({}, {"do_lower_case": ["x"]}, 'do_lower_case = ["x"], but of tokenizer.json it is true'),
    ],
)
def test_case_and_accents_that_transformers_would_set_must_be_set(
    tmp_path: Path, settings: dict[str, Any], config: dict[str, Any], message: str
) -> None:
    files = {"tokenizer.json": bert_like(**settings), CONFIG: config}

    found = refusal(tmp_path, sentence_files(**files))

    assert found.startswith(f"{CONFIG}: {message}")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"add_eos_token": True, "eos_token": "[PAD]"},
            "add_eos_token = true, but of tokenizer.json it is false",
        ),
        (
            {"add_bos_token": False, "bos_token": {"content": "[CLS]"}},
            "add_bos_token = false, but of tokenizer.json it is true",
        ),
    ],
)
def test_a_token_that_transformers_would_put_must_be_there(
    tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    assert refusal(tmp_path, sentence_files(**{CONFIG: config})).startswith(f"{CONFIG}: {message}")


@pytest.mark.parametrize(
    "config",
    [
        {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True},
        {"do_lower_case": True, "strip_accents": True},
        {"add_bos_token": True, "bos_token": "[CLS]", "add_eos_token": True, "eos_token": "[SEP]"},
        {"add_eos_token": False, "eos_token": "[PAD]"},
        {"add_eos_token": True, "eos_token": None},
    ],
)
def test_files_that_agree_are_taken(tmp_path: Path, config: dict[str, Any]) -> None:
    files = {"tokenizer.json": bert_like(), CONFIG: config}
    folder = write_files(tmp_path / "small", sentence_files(**files))

    assert add(str(folder), Choices(), checks=opens).manifest.max_length == 16


def test_a_tokenizer_that_is_padded_ends_with_its_last_token(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_buffer(tokenizer_bytes())
    tokenizer.enable_padding(length=8)
    config = {"add_eos_token": True, "eos_token": "[SEP]"}
    files = sentence_files(**{"tokenizer.json": tokenizer.to_str().encode(), CONFIG: config})
    folder = write_files(tmp_path / "small", files)

    assert add(str(folder), Choices(), checks=opens).manifest.name == "small"


def test_a_tokenizer_that_is_said_is_meant(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_bytes(bert_like(lowercase=False))
    folder = write_files(tmp_path / "small", sentence_files(**{CONFIG: {"do_lower_case": True}}))

    manifest = add(str(folder), Choices(tokenizer=str(other)), checks=opens).manifest

    assert manifest.file("tokenizer").read_bytes() == other.read_bytes()


def rows_graph(shape: list[str | int]) -> bytes:
    """Return a graph of arrays (n, t, 3) to their means (n, 3)."""
    mean = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=0)
    x, y = value("x", TensorProto.FLOAT, shape), value("y", TensorProto.FLOAT, ["n", 3])
    return graph([mean], [x], [y], [])


def test_an_axis_of_arrays_that_is_free_is_asked_for(tmp_path: Path) -> None:
    found = refusal(tmp_path, {"rows.onnx": rows_graph(["n", "t", 3])}, VECTORS)

    assert found.endswith(
        "not stated: array.shape (input: 'x' float (n, t, 3)); say: --array shape=VALUE"
    )
    said = Choices(modality="array", normalize=False, options={"array": {"shape": [5, 3]}})
    manifest = add(str(tmp_path / "small"), said, checks=opens).manifest
    assert manifest.array is not None
    assert manifest.array.shape == (5, 3)


def test_an_axis_below_one_is_free(tmp_path: Path) -> None:
    found = refusal(tmp_path, {"rows.onnx": rows_graph(["n", -1, 3])}, VECTORS)

    assert "input: 'x' float (n, ?, 3)" in found


def test_shapes_of_arrays_that_are_fixed_are_taken(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "small", {"rows.onnx": rows_graph(["n", 7, 3])})

    manifest = add(str(folder), VECTORS, checks=opens).manifest

    assert manifest.array is not None
    assert manifest.array.shape == (7, 3)


def test_numbers_of_an_unknown_kind_are_no_crash(tmp_path: Path) -> None:
    model = onnx.load_from_string(vector_graph())
    model.graph.output[0].type.tensor_type.elem_type = 999

    found = refusal(tmp_path, {"x.onnx": model.SerializeToString()}, VECTORS)

    assert "not stated: outputs (outputs: 'y' type 999 (n, 3))" in found


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            Choices(outputs={"embeddings": "y"}),
            "--output embeddings=y: unknown role 'embeddings'; expected one of embedding, tokens, ",
        ),
        (
            Choices(inputs={"ids": "x"}),
            "--input ids=x: unknown role 'ids'; expected one of token_ids, image, windows, array,",
        ),
    ],
)
def test_a_role_that_is_none_is_refused(tmp_path: Path, choices: Choices, message: str) -> None:
    assert refusal(tmp_path, {"x.onnx": vector_graph()}, choices).startswith(message)


def test_flags_that_a_modality_has_no_use_for_are_refused(tmp_path: Path) -> None:
    image = {"size": [2], "mean": [0.0], "std": [1.0], "resize": "stretch"}
    (tmp_path / "words.json").write_bytes(tokenizer_bytes())
    choices = Choices(
        pooling="cls",
        normalize=True,
        max_length=5,
        prompts={"query": "q: "},
        tokenizer=str(tmp_path / "words.json"),
        options={"image": {**image, "interpolation": "nearest"}, "text": {"truncation": "start"}},
    )

    assert refusal(tmp_path, {"patches.onnx": patch_graph()}, choices) == (
        "small: a backbone of modality image has no use for --max-length, --prompt query, "
        "--text truncation, --tokenizer; leave that out"
    )


def test_flags_of_one_tower_are_none_of_the_other(tmp_path: Path) -> None:
    folder = pair_folder(tmp_path / "pair", "clip")
    choices = Choices(
        name="p",
        normalize=True,
        max_length=9,
        prompts={"query": "a "},
        options={"image": {"transparency": "drop"}, "text": {"truncation": "start"}},
        tokenizer=str(FAMILIES / "clip-text" / "tokenizer.json"),
    )
    from featx.onboard.pairs import add_models

    image, text = (added.manifest for added in add_models(str(folder), choices, checks=opens))

    assert image.image is not None
    assert (image.image.transparency, image.prompts, image.max_length) == ("drop", {}, None)
    assert text.text is not None
    assert (text.text.truncation, text.prompts, text.max_length) == ("start", {"query": "a "}, 9)


def test_a_flag_that_fits_no_tower_is_refused(tmp_path: Path) -> None:
    from featx.onboard.pairs import add_models

    folder = pair_folder(tmp_path / "pair", "clip")
    choices = Choices(name="p", normalize=True, options={"audio": {"power": 1.0}})

    with pytest.raises(InputError, match="modality image has no use for --audio power; leave"):
        add_models(str(folder), choices, checks=opens)


@pytest.mark.parametrize(
    ("family", "name", "config", "message"),
    [
        ("roberta", "config.json", {"pad_token_id": None}, "pad_token_id = None; expected a numb"),
        ("roberta", "config.json", {"pad_token_id": 10**9}, "pad_token_id = 1000000000; expected"),
        ("bert", "1_Pooling/config.json", {"pooling_mode": [["mean"]]}, "pools by ['mean']; can"),
        ("bert", "1_Pooling/config.json", {"pooling_mode": {"a": 1}}, "pools by {'a': 1}; can be"),
        ("bert", "config.json", {"matryoshka_dimensions": [[8]]}, "dims = [8]; expected int"),
        ("bert", "config.json", {"matryoshka_dimensions": "8"}, "dims = '8'; expected list"),
        (
            "bert",
            "config_sentence_transformers.json",
            {"prompts": {"q": "\ud800"}},
            r"prompts.q = '\ud800' has half a character; expected UTF-8",
        ),
        ("convnext", "preprocessor_config.json", {"crop_pct": 0}, "crop_pct = 0; expected a part"),
        ("vit", "preprocessor_config.json", {"rescale_factor": float("nan")}, "rescale_factor = n"),
        ("vit", "preprocessor_config.json", {"image_mean": [10**400] * 3}, "expected three number"),
        ("vit", "preprocessor_config.json", {"rescale_factor": 1e-320}, "expected a finite number"),
        ("resnet", "config.json", {"crop_mode": ["x"]}, "crop_mode = ['x']; expected center | s"),
        ("resnet", "config.json", {"interpolation": {}}, "interpolation = {}; expected nearest"),
    ],
)
def test_a_value_of_another_kind_is_one_line(
    tmp_path: Path, family: str, name: str, config: dict[str, Any], message: str
) -> None:
    files = {
        path.relative_to(FAMILIES / family).as_posix(): path.read_bytes()
        for path in (FAMILIES / family).rglob("*")
        if path.is_file() and path.suffix != ".safetensors"
    }
    told = json.loads(files.get(name, b"{}"))
    if family == "resnet":
        told["pretrained_cfg"] |= config
    files[name] = json.dumps(told | config).encode()
    is_image = family not in {"bert", "roberta"}
    choices = Choices(pooling="cls", normalize=False) if is_image else Choices()

    found = refusal(tmp_path, files, choices)

    assert message in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("tokenizer_config.json", {"truncation_side": ["left"]}),
        ("config.json", {"model_type": ["siglip"], "max_position_embeddings": 34}),
        ("config_sentence_transformers.json", {"prompts": ["q"]}),
    ],
)
def test_a_list_where_a_word_is_looked_for_states_nothing(
    tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    plain = write_files(tmp_path / "plain", sentence_files(**{name: {}}))
    listed = write_files(tmp_path / "listed", sentence_files(**{name: config}))

    found = [add(str(folder), Choices(), checks=opens).manifest for folder in (plain, listed)]

    assert found[0].facts() == found[1].facts()
