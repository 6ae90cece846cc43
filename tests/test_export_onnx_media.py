"""Files of the backbones for texts, pictures and sounds, and the scripts that ask them."""

import os
import subprocess
import sys
import wave
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL.Image
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from exporting import DIM, belonging, head_of, matrix, outputs_of, tag_head, value_head
from featx import samples
from featx.backbone.backbone import Backbone, identity
from featx.backbone.runtime import open_session
from featx.backbone.settings import Settings
from featx.errors import InputError
from featx.export.deploy import Form, deploy, takes_of
from featx.export.exportable import Exportable, of_head
from featx.export.pixels import Pixels
from featx.export.preprocessing import preprocessing_graph
from featx.export.script import script
from featx.heads.predict import Head
from featx.modality.image import Image
from featx.types import Content
from featx.zoo import catalog
from featx.zoo.manifest import FileEntry, Pooling
from featx.zoo.options import ImageOptions, TextOptions

EXACT = 1e-5
TEXTS: list[Content] = [
    "A cat sleeps on the warm windowsill.",
    "no",
    "Der Fluß überschwemmte Ängelholm, naïve façade 🚀",
    "word " * 300,
]
CLIPART = sorted((samples.folder() / "clipart").rglob("*.png"))[::60]
SOUNDS = sorted((samples.folder() / "sounds").rglob("*.flac"))[::16]


def backbone_of(name: str, **changes: Any) -> Backbone:  # noqa: ANN401
    manifest = replace(catalog.find(name), **changes)
    return Backbone(manifest, Settings(device="cpu", threads=2))


def head_on(backbone: Backbone, head: Head | None = None) -> Exportable:
    """Return a linear head on a backbone, whose answers are neither sure nor all the same."""
    coef = matrix(3, dim=backbone.dim) * 0.3
    made = head or head_of("logreg", {"coef": coef, "intercept": np.zeros(3, np.float32)})
    if head is not None:
        made = replace(head, arrays={**head.arrays, "coef": coef[: len(head.classes)]})
    return of_head(belonging(made, backbone), "x.head")


def asked(text: str, tmp_path: Path, *items: object) -> list[list[str]]:
    """Return what a script prints, where featx cannot be imported."""
    code = "import sys, runpy; sys.modules['featx'] = None; sys.argv = sys.argv[1:];"
    code += " runpy.run_path(sys.argv[0], run_name='__main__')"
    (tmp_path / "ask.py").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", code, "ask.py", *map(str, items)],
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
    )
    return [line.split("\t") for line in done.stdout.decode().splitlines()]


def assert_says(said: list[list[str]], expected: NDArray[np.float64], tolerance: float) -> None:
    """Compare the lines of a script with probabilities (N, 3)."""
    names = [("ant", "bee", "čáp")[code] for code in expected.argmax(axis=1)]
    assert [line[1] for line in said] == names
    found = [float(line[2]) for line in said]
    np.testing.assert_allclose(found, expected.max(axis=1), atol=tolerance + 5e-5)  # 4 digits


@pytest.mark.parametrize("pooling", ["mean", "cls", "last_token"])
@pytest.mark.parametrize("has_mask", [True, False])
def test_tokens_are_pooled_in_the_graph(pooling: Pooling, has_mask: bool, tmp_path: Path) -> None:
    backbone = token_backbone(tmp_path, pooling, has_mask=has_mask)
    texts: list[Content] = ["one", "two words", "three short words"]

    found = deploy(tmp_path / "x.onnx", head_on(backbone), backbone, items=texts)

    samples = [backbone.load(backbone.read(text)) for text in texts]
    roles = backbone.modality.collate(samples)
    feeds = {
        name: roles[role].astype(np.int32 if role == "token_ids" else np.int64)
        for role, name in backbone.manifest.inputs.items()
    }
    embedding = outputs_of(tmp_path / "x.onnx", feeds)["embedding"]
    np.testing.assert_allclose(embedding, backbone.encode(texts), atol=1e-6)
    assert found.inputs == tuple(backbone.manifest.inputs.values())


def token_backbone(folder: Path, pooling: Pooling, *, has_mask: bool) -> Backbone:
    """Return a backbone that looks tokens up in a table; without a mask texts have one length."""
    ids = helper.make_tensor_value_info("ids", TensorProto.INT32, ["n", "t"])
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, ["n", "t"])
    tokens = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["n", "t", DIM])
    table = numpy_helper.from_array(matrix(30522), "table")
    nodes = [helper.make_node("Gather", ["table", "ids"], ["tokens"])]
    inputs = [ids, mask] if has_mask else [ids]
    graph = helper.make_graph(nodes, "tokens", inputs, [tokens], [table])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), folder / "t.onnx")
    found = catalog.find("minilm-l6")
    tokenizer = found.file("tokenizer").read_bytes()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    files = {
        role: FileEntry(path=path, sha256="", size_bytes=0)
        for role, path in (("graph", "t.onnx"), ("tokenizer", "tokenizer.json"))
    }
    masked = {"attention_mask": "mask"} if has_mask else {}
    manifest = replace(
        found,
        name="tokens",
        dim=DIM,
        pooling=pooling,
        max_length=6,
        files=files,
        inputs={"token_ids": "ids", **masked},
        outputs={"tokens": "tokens"},
        text=TextOptions(padding="longest" if has_mask else "max_length"),
        folder=folder,
    )
    return Backbone(manifest, Settings(device="cpu", threads=1))


@pytest.mark.parametrize(
    "form",
    [Form(), pytest.param(Form(precision="fp16"), marks=pytest.mark.slow)],
    ids=["fp32", "fp16"],
)
def test_texts_and_a_script_for_them(form: Form, tmp_path: Path) -> None:
    backbone = backbone_of("minilm-l6", prompts={"ask": "query: "})
    backbone = Backbone(backbone.manifest, backbone.settings, prompt="ask")
    exported = head_on(backbone)

    texts = TEXTS if form.precision == "fp32" else TEXTS[:3]

    found = deploy(tmp_path / "x.onnx", exported, backbone, form, items=texts)

    assert found.comparison.difference < (EXACT if form.precision == "fp32" else 5e-3)
    assert found.inputs == ("input_ids", "attention_mask")
    told = script(Path("x.onnx"), backbone, takes="inputs", task="classify")
    assert "numpy and tokenizers." in told
    expected = exported.answers(backbone.encode(texts))
    assert_says(asked(told, tmp_path, *texts), expected, max(EXACT, found.comparison.difference))


def test_pictures_and_a_script_for_them(tmp_path: Path) -> None:
    backbone = backbone_of("efficientnet-lite0")
    exported = head_on(backbone)

    found = deploy(tmp_path / "x.onnx", exported, backbone, items=list(CLIPART))

    assert found.comparison.difference < EXACT
    told = script(Path("x.onnx"), backbone, takes="inputs", task="classify")
    assert_says(asked(told, tmp_path, *CLIPART), exported.answers(backbone.encode(CLIPART)), EXACT)


def test_pictures_of_any_size_are_resized_in_the_graph(tmp_path: Path) -> None:
    backbone = backbone_of("efficientnet-lite0")
    exported = head_on(backbone)
    form = Form(with_preprocessing=True)

    found = deploy(tmp_path / "x.onnx", exported, backbone, form, items=list(CLIPART))

    assert found.inputs == ("pixels",)
    assert found.comparison.levels is not None
    assert found.comparison.levels <= 1
    assert found.comparison.difference < 1e-3
    told = script(Path("x.onnx"), backbone, takes="pixels", task="classify")
    assert_says(asked(told, tmp_path, *CLIPART), exported.answers(backbone.encode(CLIPART)), 1e-3)


def test_sounds_and_a_script_for_them(tmp_path: Path) -> None:
    backbone = backbone_of("ge2e")
    exported = head_on(backbone)

    found = deploy(tmp_path / "x.onnx", exported, backbone, items=list(SOUNDS))

    assert found.comparison.difference < EXACT
    assert (found.inputs, found.outputs[-1]) == (("mel",), "window_embedding")
    waves = [as_wav(path, tmp_path) for path in SOUNDS]
    told = script(Path("x.onnx"), backbone, takes="inputs", task="classify")
    assert_says(asked(told, tmp_path, *waves), exported.answers(backbone.encode(waves)), EXACT)


def as_wav(path: Path, folder: Path) -> Path:
    import soundfile

    samples_16, rate = soundfile.read(path, dtype="int16")
    out = folder / f"{path.stem}.wav"
    with wave.open(str(out), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples_16.tobytes())
    return out


def test_windows_are_averaged_by_the_number_of_their_sound(tmp_path: Path) -> None:
    backbone = backbone_of("ge2e")
    deploy(tmp_path / "x.onnx", head_on(backbone), backbone, items=list(SOUNDS[:2]))
    long = np.tile(backbone.load(backbone.read(SOUNDS[0])).inputs["windows"], (3, 1, 1))
    long[1] *= 0.5

    one = outputs_of(tmp_path / "x.onnx", {"mel": long})
    each = outputs_of(tmp_path / "x.onnx", {"mel": long, "item": np.arange(3)})
    two = outputs_of(tmp_path / "x.onnx", {"mel": long, "item": np.array([0, 1, 1])})

    rows = one["window_embedding"]
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    groups = [unit.mean(axis=0), unit[0], unit[1:].mean(axis=0)]
    whole, first, last = (group / np.linalg.norm(group) for group in groups)
    np.testing.assert_allclose(one["embedding"], [whole], atol=1e-6)
    np.testing.assert_allclose(each["embedding"], unit, atol=1e-6)
    np.testing.assert_allclose(two["embedding"], [first, last], atol=1e-6)


OPTIONS = [
    {},
    {"resize": "stretch", "interpolation": "bilinear"},
    {"resize": "pad", "interpolation": "lanczos", "channel_order": "bgr"},
    {"resize": "pad", "size": (224, 160), "fill": (114.0, 10.0, 0.0)},
    {"resize": "none", "fill": (10.0, 20.0, 30.0)},
    {"interpolation": "hamming"},
    {"interpolation": "nearest"},
    {"interpolation": "box"},
    {"crop_fraction": 1.0, "resize_to": (256,), "rounding": "torchvision"},
    {"crop_fraction": 1.0, "resize_to": (200,), "rounding": "transformers", "size": (224, 180)},
]
SIZES = [(300, 200), (200, 300), (224, 224), (50, 70), (600, 801), (7, 5), (1, 100)]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Return a picture with large shapes and noise."""
    rng = np.random.default_rng(height * width)
    small = rng.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    smooth = PIL.Image.fromarray(small).resize((width, height), PIL.Image.Resampling.BICUBIC)
    noisy = np.asarray(smooth).astype(int) + rng.integers(-20, 20, (height, width, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_the_graph_resizes_as_pillow_does(changes: dict[str, Any]) -> None:
    manifest = catalog.find("efficientnet-lite0")
    assert manifest.image is not None
    options = replace(manifest.image, **changes)
    modality, pixels = (kind(replace(manifest, image=options)) for kind in (Image, Pixels))
    session = open_session(preprocessing_graph(options).SerializeToString(), device="cpu")

    for height, width in SIZES:
        raw = modality.read(picture(height, width))
        expected = modality.collate([modality.load(raw)])["image"]
        (found,) = session.run(["image"], {"pixels": pixels.load(raw).inputs["image"]})
        levels = np.abs(found - expected) * 128
        assert levels.max() <= 1.001
        assert (levels > 0.5).mean() < 0.006  # sums that lie at a half, which float32 moves


ACROSS_FIRST = [
    {"resize": "stretch", "resize_to": (256, 256)},
    {"resize": "stretch", "rounding": "torchvision"},
    {"resize": "stretch", "rounding": "transformers"},
]


def tall_noise() -> NDArray[np.uint8]:
    """Return a picture that Pillow 13 would resize from top to bottom first, to other levels."""
    return np.random.default_rng(1).integers(0, 256, (1200, 150, 3), dtype=np.uint8)


@pytest.mark.parametrize("changes", ACROSS_FIRST, ids=str)
def test_the_order_of_sides_is_that_of_the_backbone(changes: dict[str, Any]) -> None:
    manifest = catalog.find("efficientnet-lite0")
    assert manifest.image is not None
    options = replace(manifest.image, **changes)
    modality, pixels = (kind(replace(manifest, image=options)) for kind in (Image, Pixels))
    raw = modality.read(tall_noise())

    session = open_session(preprocessing_graph(options).SerializeToString(), device="cpu")
    (found,) = session.run(["image"], {"pixels": pixels.load(raw).inputs["image"]})

    expected = modality.collate([modality.load(raw)])["image"]
    levels = np.abs(found - expected) * 128
    assert levels.max() <= 1.001
    assert (levels > 0.5).mean() < 0.006


def test_the_order_of_sides_in_a_script_is_that_of_the_backbone(tmp_path: Path) -> None:
    manifest = catalog.find("efficientnet-lite0")
    assert manifest.image is not None
    options = replace(manifest.image, resize="stretch", rounding="transformers")
    backbone = backbone_of("efficientnet-lite0", image=options)
    exported, path = head_on(backbone), tmp_path / "tall.png"
    PIL.Image.fromarray(tall_noise()).save(path)
    deploy(tmp_path / "x.onnx", exported, backbone, items=[path])

    told = script(Path("x.onnx"), backbone, takes="inputs", task="classify")

    assert_says(asked(told, tmp_path, path), exported.answers(backbone.encode([path])), EXACT)


def test_a_script_shows_colours_below_what_is_transparent() -> None:
    manifest = catalog.find("efficientnet-lite0")
    assert manifest.image is not None
    backbone = backbone_of("efficientnet-lite0", image=replace(manifest.image, transparency="drop"))

    told = script(Path("x.onnx"), backbone, takes="pixels", task="classify")

    assert 'image.info.pop("transparency", None)' in told
    assert "white" not in told


def test_what_takes_more_than_a_few_lines_has_no_script() -> None:
    manifest = catalog.find("ge2e")
    assert manifest.audio is not None
    backbone = backbone_of("ge2e", audio=replace(manifest.audio, features="kaldi"))

    with pytest.raises(InputError, match="ge2e: no example script for features = 'kaldi'"):
        script(Path("x.onnx"), backbone, takes="inputs", task="classify")


def test_a_resize_that_skips_pixels_is_refused() -> None:
    options = ImageOptions(size=(8,), mean=(0.0,), std=(1.0,), antialias=False)

    with pytest.raises(InputError, match="antialias = false: such a resize is not done in a graph"):
        preprocessing_graph(options)


@pytest.mark.parametrize("head", [tag_head(), value_head(2)], ids=["tags", "values"])
def test_scripts_of_other_tasks(head: Head, tmp_path: Path) -> None:
    backbone = Backbone(identity(DIM))
    exported = of_head(belonging(head, backbone), "x.head")
    X = matrix(4, 12)
    deploy(tmp_path / "x.onnx", exported, backbone)
    for number, row in enumerate(X):
        np.save(tmp_path / f"{number}.npy", row)

    takes = takes_of(exported, backbone, Form())
    told = script(Path("x.onnx"), backbone, takes=takes, task=head.task)
    lines = asked(told, tmp_path, *(f"{number}.npy" for number in range(4)))

    if head.task == "multilabel":
        found = [set(filter(None, line[1].split("|"))) for line in lines]
        assert found == [set(tagging.tags) for tagging in head.tag(X)]
        assert len({*map(len, found)}) > 1
    else:
        values = [[float(text) for text in line[1:]] for line in lines]
        np.testing.assert_allclose(values, head.logits(X), rtol=1e-4)
