"""A backbone whose vectors cannot be right is refused before it is added."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from featx.backbone.backbone import Backbone
from featx.backbone.golden import golden_cosines, load_golden
from featx.backbone.settings import Settings
from featx.errors import FeatxError
from featx.onboard.check.card import card
from featx.onboard.check.checks import check
from featx.onboard.read.choices import Choices
from featx.zoo import catalog
from hubfolders import TABLE, add, graph, text_graph, value, write_files
from smallgraphs import (
    FLOAT,
    INT64,
    NOTHING,
    Node,
    add_text,
    add_vectors,
    changed,
    node,
    vectors,
    words,
)

FAMILIES = Path(__file__).parent / "data" / "families"


pytestmark = pytest.mark.usefixtures("user_zoo")


def refused_text(folder: Path, raw: bytes, choices: Choices = NOTHING) -> str:
    """Return why a sentence model is refused; nothing may be left of it."""
    with pytest.raises(FeatxError) as caught:
        add_text(folder, raw, choices)
    assert list(catalog.user_zoo().iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_vectors(folder: Path, raw: bytes, choices: Choices | None = None) -> str:
    with pytest.raises(FeatxError) as caught:
        add_vectors(folder, raw, choices)
    assert list(catalog.user_zoo().iterdir()) == []
    assert "\n" not in str(caught.value)
    return str(caught.value)


PLAIN = node("Identity", ["rows"], "last_hidden_state")
RELU = node("Relu", ["x"], "y")


def mean_over_tokens(output: str) -> list[Node]:
    """Subtract the mean over all tokens, those of padding too."""
    mean = node("ReduceMean", ["rows"], "mean", axes=[1], keepdims=1)
    return [mean, node("Sub", ["rows", "mean"], output)]


def test_a_right_backbone_is_measured_and_keeps_golden_vectors(tmp_path: Path) -> None:
    added = add_text(tmp_path, text_graph(), Choices(license="MIT"))

    backbone = Backbone(catalog.find("small"), Settings(device="cpu", threads=1))
    items, golden = load_golden(backbone)
    unknown, special = TABLE[[1]], TABLE[[2, 3]]
    mean = np.concatenate([TABLE[[4]], special]).mean(axis=0)
    assert items[0] == "red"
    np.testing.assert_allclose(golden[0], mean / np.linalg.norm(mean), atol=1e-6)
    mean = np.concatenate([np.repeat(unknown, 14, axis=0), special]).mean(axis=0)
    np.testing.assert_allclose(golden[-1], mean / np.linalg.norm(mean), atol=1e-6)
    assert golden_cosines(backbone).min() > 1 - 1e-6
    assert added.notes == ()
    measured = added.manifest.measured
    assert measured["files_bytes"] == sum(e.size_bytes for e in added.manifest.files.values())
    assert measured["texts_of_16_tokens_per_s"] > 0


def test_the_card_tells_size_width_speed_fidelity_and_licence(tmp_path: Path) -> None:
    manifest = add_text(tmp_path, text_graph(), Choices(license="MIT")).manifest

    found = card(manifest)

    speed = manifest.measured["texts_of_16_tokens_per_s"]
    threads = manifest.measured["threads"]
    assert found == {
        "size": f"{manifest.measured['files_bytes'] / 1000:.1f} kB",
        "dimension": "4",
        "speed": f"{speed:g} texts of 16 tokens a second ({threads} threads)",
        "fidelity": "not compared with the original weights; add it with --reference FILE",
        "licence": "MIT",
    }


def test_a_card_passes_over_what_is_measured_in_words(tmp_path: Path) -> None:
    manifest = add_text(tmp_path, text_graph(), Choices(license="MIT")).manifest
    odd = {"cosine_to_reference_min": "high", "texts_per_s": "many", "images_per_s": True}

    found = card(replace(manifest, measured=odd))

    assert found["speed"] == "not measured"
    assert found["fidelity"].startswith("not compared with the original weights")
    assert card(replace(manifest, measured={"one_minus_cosine_to_original_max": ["x"]})) == found


def test_a_fixed_batch_axis_is_refused(tmp_path: Path) -> None:
    assert refused_text(tmp_path, words([PLAIN], shape=(1, "sequence"))) == (
        "small: input 'input_ids' int64 (1, sequence): its batch axis is fixed at 1; export it "
        "with a dynamic batch axis"
    )


def test_a_batch_axis_that_is_fixed_inside_the_graph_is_refused(tmp_path: Path) -> None:
    shape = numpy_helper.from_array(np.array([1, 3]), "shape")

    message = refused_vectors(tmp_path, vectors([node("Reshape", ["x", "shape"], "y")], shape))

    assert message.startswith("small: the graph fails for a batch of 2 ")
    assert message.endswith("; a size may have been fixed when it was exported")


def test_a_fixed_length_is_refused_unless_all_texts_are_padded_to_it(tmp_path: Path) -> None:
    raw = words([PLAIN], shape=("batch", 8))
    padded = {"text": {"padding": "max_length"}}

    message = refused_text(tmp_path, raw)
    other = refused_text(tmp_path, raw, Choices(options=padded))
    added = add_text(tmp_path, raw, Choices(options=padded, max_length=8))

    assert message.endswith("say: --text padding=max_length --max-length 8")
    assert other.endswith("its length is fixed at 8, max_length is 16")
    assert added.manifest.max_length == 8


def test_images_of_another_size_than_the_graph_takes_are_refused(tmp_path: Path) -> None:
    pixels = value("pixel_values", FLOAT, ["n", 3, 2, 2])
    made = value("embedding", FLOAT, ["n", 3])
    pooled = node("ReduceMean", ["pixel_values"], "embedding", axes=[2, 3], keepdims=0)
    write_files(tmp_path / "small", {"small.onnx": graph([pooled], [pixels], [made], [])})
    image = {"size": [4], "mean": [0.0], "std": [255.0], "resize": "stretch"}
    options = {"image": {**image, "interpolation": "nearest"}}

    with pytest.raises(FeatxError, match=r"images are made \(batch, 3, 4, 4\); say --image size="):
        add(str(tmp_path / "small"), Choices(normalize=False, options=options), checks=check)
    options["image"]["size"] = [2]
    added = add(str(tmp_path / "small"), Choices(normalize=False, options=options), checks=check)

    assert added.manifest.measured["images_per_s"] > 0


@pytest.mark.parametrize(
    ("change", "found"),
    [({"opset": 99}, "has opset 99"), ({"ir_version": 99}, "has IR version 99")],
)
def test_a_graph_that_is_too_new_is_refused(
    tmp_path: Path, change: dict[str, int], found: str
) -> None:
    message = refused_vectors(tmp_path, changed(vectors([RELU]), **change))

    assert message.startswith(f"small: small.onnx: {found}; ONNX Runtime ")
    assert "runs up to " in message
    assert message.endswith("or upgrade onnxruntime")


def test_a_graph_of_custom_operators_is_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(vectors([node("Fold", ["x"], "y", domain="my.own")]))
    model.opset_import.append(helper.make_opsetid("my.own", 1))

    message = refused_vectors(tmp_path, model.SerializeToString())

    assert message.startswith("small: small.onnx: needs the operator my.own:Fold, which ONNX ")
    assert message.endswith("code of operators is not loaded; export it with standard ones")


def test_operators_of_onnx_runtime_alone_are_told(tmp_path: Path) -> None:
    model = onnx.load_from_string(vectors([node("Gelu", ["x"], "y", domain="com.microsoft")]))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))

    notes = add_vectors(tmp_path, model.SerializeToString()).notes

    assert "small.onnx: has operators of ONNX Runtime alone: com.microsoft:Gelu" in notes


def test_a_graph_that_quantises_batches_as_a_whole_runs_one_by_one_and_says_so(
    tmp_path: Path,
) -> None:
    quantized = helper.make_node("DynamicQuantizeLinear", ["rows"], ["q", "scale", "zero"])
    back = node("DequantizeLinear", ["q", "scale", "zero"], "last_hidden_state")

    added = add_text(tmp_path, words([quantized, back]), Choices(license="MIT"))

    assert added.notes == (
        "model.onnx: quantises with one scale for all rows of a batch; its items are encoded one "
        "by one, which is slower",
    )


def test_padding_that_a_mask_does_not_hide_is_refused(tmp_path: Path) -> None:
    raw = words(mean_over_tokens("last_hidden_state"))

    message = refused_text(tmp_path, raw, Choices(pooling="cls"))

    assert message.startswith("small: vectors in a batch of 6 items of different length differ ")
    assert message.endswith(
        "its attention_mask does not hide padding; export it with one that does"
    )


def test_padding_without_a_mask_is_refused_unless_it_is_always_the_same(tmp_path: Path) -> None:
    pooled = node("ReduceMean", ["rows"], "sentence_embedding", axes=[1], keepdims=0)
    raw = words([pooled], output="sentence_embedding", has_mask=False, form=["batch", 4])

    message = refused_text(tmp_path, raw)
    added = add_text(tmp_path, raw, Choices(options={"text": {"padding": "max_length"}}))

    assert message.endswith(
        "padding changes them, since it takes no attention_mask; export it with one, or, if it "
        "was trained so, say: --text padding=max_length"
    )
    assert added.manifest.pooling == "none"


def test_rows_of_a_batch_that_meet_are_refused(tmp_path: Path) -> None:
    mean = node("ReduceMean", ["x"], "mean", axes=[0], keepdims=1)

    message = refused_vectors(tmp_path, vectors([mean, node("Sub", ["x", "mean"], "y")]))

    assert message.startswith("small: vectors in a batch of 2 items differ from ")
    assert message.endswith("at most 0.001; export it such that rows of a batch do not meet")


def test_numbers_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    message = refused_text(tmp_path, words([node("Log", ["rows"], "last_hidden_state")]))

    assert message == "small: gives numbers that are not finite for a text of 3 tokens"


def test_what_float16_cannot_hold_is_refused(tmp_path: Path) -> None:
    large = numpy_helper.from_array(np.full(3, 60000, dtype=np.float16), "large")
    nodes = [
        node("Cast", ["x"], "half", to=TensorProto.FLOAT16),
        node("Mul", ["half", "large"], "y"),
    ]
    x, y = value("x", FLOAT, ["n", 3]), value("y", TensorProto.FLOAT16, ["n", 3])

    message = refused_vectors(tmp_path, graph(nodes, [x], [y], [large]))

    assert message.endswith("float16 may be too narrow for it; take its float32 graph")


def test_numbers_that_whole_ones_would_cut_off_are_refused(tmp_path: Path) -> None:
    nodes = [node("Cast", ["x"], "y", to=FLOAT)]
    x, y = value("x", TensorProto.UINT8, ["n", 3]), value("y", FLOAT, ["n", 3])

    message = refused_vectors(tmp_path, graph(nodes, [x], [y], []))

    assert "input 'x' is tensor(uint8), and is given numbers from -" in message
    assert message.endswith("say: --image mean=[0,0,0] --image std=[1,1,1]")


def test_a_text_that_is_longer_than_the_graph_has_positions_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeatxError) as caught:
        add(str(FAMILIES / "bert"), Choices(max_length=30), checks=check)

    assert "bert: the graph fails for a text of 30 tokens: " in str(caught.value)
    assert str(caught.value).endswith("or it takes fewer tokens than max_length = 30")


def test_another_width_than_stated_is_refused(tmp_path: Path) -> None:
    raw = words([PLAIN], form=["batch", "sequence", "width"])

    message = refused_text(tmp_path, raw, Choices(dim=3))

    assert message == (
        "small: output 'last_hidden_state' is float32 (1, 3, 4) for a text of 3 tokens; dim is 3; "
        "say --dim 4"
    )


def test_whole_numbers_are_no_embedding(tmp_path: Path) -> None:
    raw = graph(
        [node("Cast", ["x"], "y", to=INT64)],
        [value("x", FLOAT, ["n", 3])],
        [value("y", INT64, ["n", 3])],
        [],
    )
    said = Choices(modality="array", normalize=False, pooling="none", outputs={"embedding": "y"})

    assert "output 'y' is int64 (1, 3)" in refused_vectors(tmp_path, raw, said)


def test_an_output_with_more_axes_is_refused(tmp_path: Path) -> None:
    said = Choices(pooling="none", outputs={"embedding": "last_hidden_state"})

    message = refused_text(tmp_path, words([PLAIN]), said)

    assert message.endswith("expected (1, dim); choose another with --output, or --pooling")


def test_one_vector_for_all_items_is_told(tmp_path: Path) -> None:
    notes = add_text(tmp_path, text_graph(), Choices(pooling="cls", license="MIT")).notes

    assert notes == ("all 6 sample items have the same vector; check pooling and output",)
