"""A backbone from elsewhere is read, checked and written, or refused with what to do."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from featx.backbone.backbone import Backbone
from featx.backbone.settings import Settings
from featx.errors import FeatxError, InputError, ManifestError
from featx.onboard import placing
from featx.onboard.adding import Added, Checked
from featx.onboard.read.choices import Choices
from featx.types import Vectors
from featx.zoo import catalog
from featx.zoo.manifest import Manifest, Pooling
from hubfolders import (
    TABLE,
    WORDS,
    add,
    opens,
    patch_graph,
    sentence_files,
    text_graph,
    tokenizer_bytes,
    vector_graph,
    write_files,
)

NOTHING = Choices()
STATED = Choices(pooling="mean", normalize=True, max_length=16)


pytestmark = pytest.mark.usefixtures("user_zoo")


def add_files(
    folder: Path, files: Mapping[str, bytes], choices: Choices = NOTHING, *, file: str = ""
) -> Added:
    write_files(folder / "small", files)
    return add(str(folder / "small" / file), choices, checks=opens)


def refusal(
    folder: Path, files: Mapping[str, bytes], choices: Choices = NOTHING, *, file: str = ""
) -> str:
    """Return why files are not added; nothing may be left of them."""
    with pytest.raises(FeatxError) as caught:
        add_files(folder, files, choices, file=file)
    zoo = catalog.user_zoo()
    assert not zoo.exists() or list(zoo.iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(f"{folder / 'small'}", "SMALL")


def sources(added: Added) -> dict[str, tuple[object, str]]:
    return {fact.key: (fact.value, fact.source) for fact in added.facts}


def oracle(text: str) -> Vectors:
    """Return the mean of the words' vectors at unit length."""
    rows = [WORDS.index("[CLS]"), *map(WORDS.index, text.split()), WORDS.index("[SEP]")]
    mean = TABLE[rows].mean(axis=0)
    unit: Vectors = mean / np.linalg.norm(mean)
    return unit


def test_a_folder_of_the_hub_states_all(tmp_path: Path, user_zoo: Path) -> None:
    added = add_files(tmp_path, sentence_files())

    assert added.manifest == catalog.find("small")
    assert added.manifest.folder == user_zoo
    found = sources(added)
    assert found["pooling"] == ("mean", "1_Pooling/config.json: pooling_mode_mean_tokens")
    assert found["normalize"] == (True, "modules.json: Normalize")
    assert found["max_length"] == (16, "sentence_bert_config.json: max_seq_length")
    assert found["prompts.query"] == ("red ", "config_sentence_transformers.json: prompts")
    assert found["license"] == ("Apache-2.0", "README.md: license")
    assert found["inputs.token_ids"] == ("input_ids", "onnx/model.onnx: its name")
    assert found["dim"][0] == 4
    assert added.notes == ()


def test_an_added_text_model_encodes_as_its_folder_says(tmp_path: Path) -> None:
    manifest = add_files(tmp_path, sentence_files()).manifest
    backbone = Backbone(manifest, Settings(device="cpu", threads=1))

    found = backbone.encode(["red cat", "blue green dog", "Cat"])

    wanted = np.stack([oracle("red cat"), oracle("blue green dog"), oracle("cat")])
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_a_graph_is_given_ids_of_the_type_that_it_takes(tmp_path: Path) -> None:
    files = sentence_files(**{"onnx/model.onnx": text_graph(ids_type=TensorProto.INT32)})
    backbone = Backbone(add_files(tmp_path, files).manifest, Settings(device="cpu", threads=1))

    np.testing.assert_allclose(backbone.encode(["red cat"])[0], oracle("red cat"), atol=1e-6)


@pytest.mark.parametrize(("pooling", "row"), [("mean", [0.5, 2.5, 4.5]), ("cls", [0.0, 2.0, 4.0])])
def test_patches_of_an_image_are_pooled_without_a_mask(
    tmp_path: Path, pooling: Pooling, row: list[float]
) -> None:
    image = {"size": [2], "mean": [0.0] * 3, "std": [1.0] * 3}
    image |= {"resize": "stretch", "interpolation": "nearest"}
    choices = Choices(pooling=pooling, normalize=False, options={"image": image})
    manifest = add_files(tmp_path, {"patches.onnx": patch_graph()}, choices).manifest
    pixels = np.array([[[0, 2, 4], [1, 3, 5]], [[0, 2, 4], [1, 3, 5]]], dtype=np.uint8)

    found = Backbone(manifest, Settings(device="cpu", threads=1)).encode([pixels, pixels])

    np.testing.assert_array_equal(found, [row, row])


def test_the_halves_of_a_pair_take_what_is_theirs(tmp_path: Path) -> None:
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "size": {"shortest_edge": 4},
        "crop_size": {"height": 2, "width": 2},
        "image_mean": [0.5] * 3,
        "image_std": [0.25] * 3,
    }
    files = {
        "onnx/vision_model.onnx": patch_graph(),
        "onnx/text_model.onnx": text_graph(),
        "tokenizer.json": tokenizer_bytes(),
        "preprocessor_config.json": json.dumps(processor).encode(),
        "config.json": json.dumps({"text_config": {"max_position_embeddings": 7}}).encode(),
    }
    choices = Choices(pooling="cls", normalize=True)

    image = add_files(tmp_path, files, choices, file="onnx/vision_model.onnx").manifest
    text = add_files(tmp_path, files, choices, file="onnx/text_model.onnx").manifest

    assert (image.modality, list(image.files), image.max_length) == ("image", ["graph"], None)
    assert image.image is not None
    assert (image.image.size, image.image.mean) == ((2, 2), (127.5, 127.5, 127.5))
    assert not (image.file("graph").parent / "tokenizer.json").exists()
    assert (text.modality, sorted(text.files)) == ("text", ["graph", "tokenizer"])
    assert (text.max_length, text.image) == (7, None)


def test_an_image_without_its_preparation_is_asked_for(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"patches.onnx": patch_graph()}, Choices(pooling="cls"))

    assert message.endswith(
        "not stated: normalize, image.size, image.mean, image.std, image.resize, "
        "image.interpolation; say: --normalize or --no-normalize --image size=VALUE "
        "--image mean=[RED,GREEN,BLUE] --image std=[RED,GREEN,BLUE] "
        "--image resize=shortest|stretch|pad|none "
        "--image interpolation=nearest|box|bilinear|hamming|bicubic|lanczos"
    )


def test_one_graph_of_such_a_folder_may_be_named(tmp_path: Path) -> None:
    files = sentence_files(**{"onnx/model_fp16.onnx": text_graph()})

    added = add_files(tmp_path, files, file="onnx/model_fp16.onnx")

    assert added.manifest.name == "model_fp16"
    assert added.manifest.file("graph").name == "model_fp16.onnx"
    assert added.manifest.pooling == "mean"


def test_the_models_own_graph_is_taken_among_variants_and_those_are_told(tmp_path: Path) -> None:
    files = sentence_files(**{"onnx/model_fp16.onnx": text_graph()})

    found = sources(add_files(tmp_path, files))

    assert found["files.graph"][1] == "onnx/model.onnx (also there: onnx/model_fp16.onnx)"


def test_graphs_without_an_own_one_among_them_are_not_chosen_from(tmp_path: Path) -> None:
    files = sentence_files(
        **{"onnx/model.onnx": None, "onnx/a.onnx": text_graph(), "onnx/b.onnx": text_graph()}
    )

    assert refusal(tmp_path, files) == (
        "SMALL: holds 2 graphs: onnx/a.onnx, onnx/b.onnx; name the one to take, such as "
        "SMALL/onnx/a.onnx"
    )


def test_what_no_file_states_is_listed_with_its_flags(tmp_path: Path) -> None:
    files = {"model.onnx": text_graph()}

    assert refusal(tmp_path, files) == (
        "SMALL: model.onnx: not stated: pooling, normalize, max_length, tokenizer.json (it says "
        "how texts become ids; put it beside the graph); say: --pooling mean|cls|last_token|none "
        "--normalize or --no-normalize --max-length TOKENS --tokenizer FILE"
    )


def test_flags_say_what_no_file_states(tmp_path: Path) -> None:
    files = sentence_files(
        **{name: None for name in sentence_files() if name.endswith("config.json")},
        **{"modules.json": None, "config_sentence_transformers.json": None, "README.md": None},
    )

    added = add_files(tmp_path, files, STATED)

    assert sources(added)["pooling"] == ("mean", "--pooling")
    assert added.notes == (
        "no file states a licence; it is recorded as 'unknown'; say --license ID",
    )


def test_a_flag_that_differs_from_a_file_is_told_with_it(tmp_path: Path) -> None:
    added = add_files(tmp_path, sentence_files(), Choices(pooling="cls", normalize=False))

    assert sources(added)["pooling"] == (
        "cls",
        "--pooling; 1_Pooling/config.json: pooling_mode_mean_tokens says 'mean'",
    )
    assert added.manifest.normalize is False


def test_weights_beside_the_graph_are_taken_and_are_part_of_the_fingerprint(
    tmp_path: Path,
) -> None:
    graph, raw = text_graph(external="model.onnx_data"), TABLE.tobytes()
    first = sentence_files(**{"onnx/model.onnx": graph, "onnx/model.onnx_data": raw})
    other = first | {"onnx/model.onnx_data": (TABLE * 2).tobytes()}

    a = add_files(tmp_path / "a", first, Choices(name="a")).manifest
    b = add_files(tmp_path / "b", other, Choices(name="b")).manifest

    assert a.file("weights").read_bytes() == raw
    assert a.files["graph"].sha256 == b.files["graph"].sha256
    settings = Settings(device="cpu", threads=1)
    assert Backbone(a, settings).fingerprint != Backbone(b, settings).fingerprint
    assert a.space() != b.space()
    np.testing.assert_allclose(
        Backbone(a, settings).encode(["red cat"])[0], oracle("red cat"), atol=1e-6
    )


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("model.onnx_data", "model.onnx keeps weights in 'model.onnx_data', which is missing"),
        ("../secret", "weights at '../secret', outside its folder; refused"),
        ("/etc/passwd", "weights at '/etc/passwd', an absolute path; refused"),
        ("tokenizer.json", "weights at 'tokenizer.json'; refused"),
    ],
)
def test_weights_that_are_missing_or_elsewhere_are_refused(
    tmp_path: Path, location: str, message: str
) -> None:
    (tmp_path / "secret").write_bytes(TABLE.tobytes())
    files = sentence_files(**{"onnx/model.onnx": text_graph(external=location)})

    assert message in refusal(tmp_path, files)


@pytest.mark.parametrize(
    ("name", "raw", "message"),
    [
        ("model.pt", b"\x80\x02", "model.pt: may be a Python pickle, which may run anything"),
        ("model.bin", b"", "model.bin: may be a Python pickle, which may run anything"),
        ("model.safetensors", b"", "model.safetensors: holds no graph; export the model"),
        ("model.onnx", b"\x80\x04\x95", "model.onnx: expected an ONNX graph, but it is a Python"),
        ("model.onnx", b"PK\x03\x04", "but it is a ZIP archive, such as PyTorch's"),
        ("model.onnx", b"<html>", "but it is HTML or XML, such as a page of a server"),
        ("model.onnx", b"version https://git-lfs", "a pointer of Git LFS; run: git lfs pull"),
        ("model.onnx", b"", "model.onnx: is empty"),
        ("model.onnx", b"\xff" * 99, "not an ONNX graph"),
    ],
)
def test_what_is_no_graph_is_refused_unopened(
    tmp_path: Path, name: str, raw: bytes, message: str
) -> None:
    assert message in refusal(tmp_path, {name: raw}, STATED, file=name)


def test_a_pickle_is_never_run(tmp_path: Path) -> None:
    import pickle

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    assert "a Python pickle" in refusal(
        tmp_path, {"model.onnx": pickle.dumps(Bomb())}, STATED, file="model.onnx"
    )
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_graph_says_what_it_holds(tmp_path: Path) -> None:
    files = {"pytorch_model.bin": b"\x80\x02", "config.json": b"{}"}

    assert refusal(tmp_path, files) == (
        "SMALL: holds no .onnx file, but config.json, pytorch_model.bin; "
        "export the model to ONNX and give that file"
    )


def test_two_inputs_of_unknown_meaning_are_asked_for(tmp_path: Path) -> None:
    files = {"model.onnx": vector_graph(("a", "b"))}

    message = refusal(tmp_path, files, Choices(modality="array"))

    assert message.startswith(
        "SMALL: model.onnx: not stated: inputs, normalize (unknown inputs: 'a' float (n, 3), "
        "'b' float (n, 3); roles left: array; what fits none of them, export it without); "
        "say: --input ROLE=NAME"
    )


def test_an_only_input_of_a_modality_needs_no_flag(tmp_path: Path) -> None:
    choices = Choices(modality="array", normalize=False)

    manifest = add_files(tmp_path, {"sum.onnx": vector_graph()}, choices).manifest

    assert (manifest.inputs, manifest.outputs) == ({"array": "x"}, {"embedding": "y"})
    assert manifest.array is not None
    assert manifest.array.shape == (3,)
    X = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(Backbone(manifest, Settings(device="cpu")).encode(list(X)), X)


def test_logits_are_no_embedding_unless_the_user_says_so(tmp_path: Path) -> None:
    files = {"sum.onnx": vector_graph(output="logits")}
    plain = Choices(modality="array", normalize=False)
    said = Choices(modality="array", normalize=False, outputs={"embedding": "logits"})

    assert "outputs: 'logits' float (n, 3)" in refusal(tmp_path, files, plain)
    assert add_files(tmp_path, files, said).manifest.outputs == {"embedding": "logits"}


def test_an_unknown_modality_is_asked_for(tmp_path: Path) -> None:
    message = refusal(tmp_path, {"model.onnx": vector_graph()})

    assert message == (
        "SMALL: model.onnx: not stated: modality (inputs: 'x' float (n, 3)); "
        "say: --modality text|image|audio|array"
    )


def test_an_output_of_whole_sentences_is_pooled_already(tmp_path: Path) -> None:
    pooled = vector_graph(("input_ids",), output="sentence_embedding")

    found = sources(add_files(tmp_path, sentence_files(**{"onnx/model.onnx": pooled})))

    assert found["pooling"][0] == "none"
    assert found["dim"][0] == 3


def test_a_module_behind_the_pooling_is_not_passed_over(tmp_path: Path) -> None:
    dense = [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    modules = json.loads(sentence_files()["modules.json"]) + dense

    assert "modules.json: has Dense behind the tokens, which featx does not do" in refusal(
        tmp_path, sentence_files(**{"modules.json": modules})
    )


def test_widths_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    pooling = {"word_embedding_dimension": 8, "pooling_mode_mean_tokens": True}

    message = refusal(tmp_path, sentence_files(**{"1_Pooling/config.json": pooling}))

    assert message.startswith(
        "dim = 8 by 1_Pooling/config.json: word_embedding_dimension; but onnx/model.onnx: "
    )


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    assert "tokenizer.json: not a tokenizer" in refusal(
        tmp_path, sentence_files(**{"tokenizer.json": b"{}"})
    )


def test_a_name_that_exists_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="minilm-l6: a model of this name exists; choose another"):
        add("hf:org/minilm-l6", Choices(), checks=opens)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "A", "", "x.toml", "golden", "x" * 65, ".x"])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    if name:
        assert "a name has a-z 0-9" in refusal(tmp_path, sentence_files(), Choices(name=name))


def test_checks_that_refuse_leave_nothing(tmp_path: Path, user_zoo: Path) -> None:
    def refuse(manifest: Manifest) -> Checked:
        assert manifest.file("graph").is_file()
        raise InputError("the batch axis is fixed")

    write_files(tmp_path / "small", sentence_files())
    with pytest.raises(InputError, match="the batch axis is fixed"):
        add(str(tmp_path / "small"), Choices(), checks=refuse)

    assert list(user_zoo.iterdir()) == []


def test_what_checks_measured_and_their_golden_vectors_are_kept(tmp_path: Path) -> None:
    def check(manifest: Manifest) -> Checked:
        golden = manifest.folder / "made.npz"
        np.savez(golden, vectors=np.ones((1, 4)), items=np.array(["red"]))
        return Checked(measured={"texts_per_s": 5}, notes=("fast",), golden=golden)

    write_files(tmp_path / "small", sentence_files())
    added = add(str(tmp_path / "small"), Choices(), checks=check)

    manifest = catalog.find("small")
    assert manifest.measured == {"texts_per_s": 5}
    assert added.notes == ("fast",)
    with np.load(catalog.golden_file(manifest), allow_pickle=False) as file:
        np.testing.assert_array_equal(file["vectors"], np.ones((1, 4)))


def test_a_name_that_another_process_has_just_taken_is_refused(
    tmp_path: Path, user_zoo: Path
) -> None:
    def check(_: Manifest) -> Checked:
        (user_zoo / "small.toml").write_text("taken meanwhile")
        return Checked()

    write_files(tmp_path / "small", sentence_files())
    with pytest.raises(InputError, match="small: a model of this name exists in"):
        add(str(tmp_path / "small"), Choices(), checks=check)

    assert [path.name for path in user_zoo.iterdir()] == ["small.toml"]
    assert (user_zoo / "small.toml").read_text() == "taken meanwhile"


def test_what_a_killed_process_left_gives_way(tmp_path: Path, user_zoo: Path) -> None:
    write_files(user_zoo / "small", {"model.onnx": b"half", placing.UNFINISHED: b""})

    manifest = add_files(tmp_path, sentence_files()).manifest

    assert catalog.check_files(manifest)[0].problem == ""


def test_a_folder_of_somebodys_own_does_not_give_way(tmp_path: Path, user_zoo: Path) -> None:
    write_files(user_zoo / "small", {"thesis.tex": b"years of work"})

    with pytest.raises(InputError, match="small: is in the way, and no backbone"):
        add_files(tmp_path, sentence_files())
    assert (user_zoo / "small" / "thesis.tex").read_bytes() == b"years of work"


def test_a_folder_in_the_zoo_itself_is_not_deleted_by_adding_it(user_zoo: Path) -> None:
    write_files(user_zoo / "small", sentence_files())
    before = sorted(user_zoo.rglob("*"))

    with pytest.raises(InputError, match="small: is in the way, and no backbone"):
        add(str(user_zoo / "small"), Choices(), checks=opens)
    assert sorted(user_zoo.rglob("*")) == before


def test_nothing_is_removed_beside_a_manifest_that_cannot_be_read(
    tmp_path: Path, user_zoo: Path
) -> None:
    manifest = add_files(tmp_path, sentence_files()).manifest
    (user_zoo / "later.toml").write_text("schema = 99")

    with pytest.raises(ManifestError, match="schema 99 is newer"):
        placing.remove("small", user_zoo)
    assert catalog.check_files(manifest)[0].problem == ""
    (user_zoo / "later.toml").unlink()
    (user_zoo / "copy.toml").write_bytes((user_zoo / "small.toml").read_bytes())
    with pytest.raises(ManifestError, match="name = 'small'; expected the file's stem 'copy'"):
        placing.remove("copy", user_zoo)
    assert catalog.check_files(manifest)[0].problem == ""


def test_files_that_another_manifest_names_do_not_give_way(tmp_path: Path, user_zoo: Path) -> None:
    add_files(tmp_path, sentence_files())
    text = (user_zoo / "small.toml").read_text().replace('name = "small"', 'name = "other"')
    (user_zoo / "other.toml").write_text(text)
    (user_zoo / "small.toml").unlink()

    with pytest.raises(InputError, match="holds files of 'other'; choose another name"):
        add_files(tmp_path, sentence_files())
    assert [check.problem for check in catalog.check_files(catalog.find("other"))] == ["", ""]


def test_a_folder_that_is_no_models_own_is_refused(tmp_path: Path) -> None:
    from featx.onboard.fetch import files

    crowded = {f"{n}.json": b"" for n in range(30)}
    write_files(tmp_path / "small", crowded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("featx.onboard.fetch.folder.MOST_FILES", 20)
        assert "holds more than 20 files; give the model's own folder" in refusal(tmp_path, {})
    assert files.MOST_FILES == 10_000


def test_a_file_larger_than_allowed_is_not_copied(tmp_path: Path) -> None:
    write_files(tmp_path / "small", sentence_files())

    with pytest.raises(InputError, match="at most 100 bytes are allowed; allow more with"):
        add(str(tmp_path / "small"), Choices(), checks=opens, limit_bytes=100)


def test_many_unknown_inputs_are_not_all_listed(tmp_path: Path) -> None:
    names = tuple(f"past_{number}" for number in range(60))

    message = refusal(tmp_path, {"model.onnx": vector_graph(names)})

    assert message.endswith(
        "'past_5' float (n, 3) and 54 more); say: --modality text|image|audio|array"
    )


def test_a_place_where_nothing_is_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder; to take a model of the hub"):
        add(str(tmp_path / "none"), Choices(), checks=opens)
