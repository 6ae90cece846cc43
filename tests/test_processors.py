"""Files of processors are read, and what they ask for equals the libraries' own results."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import processor_inputs as inputs
from featx.errors import InputError
from featx.modality.audio import Audio
from featx.modality.image import Image
from featx.modality.resizing import resample_plainly, whole_size
from featx.modality.text import Text
from featx.onboard.read.processors import processor_facts
from featx.zoo.manifest import AudioOptions, FileEntry, ImageOptions, Manifest, TextOptions
from featx.zoo.strict import read_table

REFERENCES = Path(__file__).parent / "data" / "processors"

EQUAL = 1e-4
"""Levels of 255: numbers of 32 bits are scaled in another order."""

ONE_LEVEL = 1.0001

CROPPED_FIRST = 0.025
"""Share of values that are a level off since only what a crop keeps is resized."""

INTEGERS = 0.02
"""Share of values that are a level off, or two, since torchvision computes with integers."""

OTHER_ORDER = 0.1
"""Share of values further off than a level where Pillow 13 resizes columns first: in between a
noisy image goes beyond 0 to 255, and is cut off."""

ROUNDED = 0.51
"""Half a level, for what one side rounds to whole levels."""

FEATURES = 1e-5
"""Whisper's own tolerance; its powers are of 32 bits in the reference, of 64 here."""


@cache
def reference(name: str) -> dict[str, NDArray[Any]]:
    with np.load(REFERENCES / f"{name}.npz") as file:
        return dict(file)


@cache
def pixels(item: str) -> NDArray[np.uint8]:
    return inputs.image(item)


def manifest(modality: str, **more: Any) -> Manifest:  # noqa: ANN401
    return Manifest(
        schema=1,
        name="x",
        modality=modality,
        summary="",
        license="",
        source="",
        weights="x",
        dim=4,
        pooling="none",
        normalize=False,
        **more,
    )


def table_of(folder: Path, name: str, table: dict[str, Any]) -> dict[str, Any]:
    """Return what a file states of its modality's table."""
    (folder / name).write_text(json.dumps(table), encoding="utf-8")
    facts = {fact.key: fact.value for fact in processor_facts(folder)}
    prefix = f"{facts['modality']}."
    return {key[len(prefix) :]: value for key, value in facts.items() if key.startswith(prefix)}


def image_options(folder: Path, config: str) -> ImageOptions:
    if config in inputs.TIMM:
        table = table_of(folder, "config.json", inputs.TIMM[config])
    else:
        table = table_of(folder, "preprocessor_config.json", inputs.PROCESSORS[config])
    options = read_table(ImageOptions, table, config)
    assert options.problem() == ""
    return options


def compared(
    config: str, library: str, options: ImageOptions
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield each item, and by how many levels of 255 its values are off."""
    image = Image(manifest("image", image=options))
    std = np.array(options.std, dtype=np.float32)[:, None, None]
    for item in inputs.SHAPES:
        expected = reference("images").get(f"{config}/{library}/{item}")
        if expected is not None:
            sample = image.load(image.read(pixels(item)))
            found = inputs.kept(image.collate([sample])["image"][0])
            yield item, np.abs(found - expected) * std


def cases(*libraries: str) -> list[tuple[str, str]]:
    """Return names of settings and library."""
    found = {tuple(name.split("/")[:2]) for name in reference("images")}
    return sorted((config, library) for config, library in found if library in libraries)


def is_by_columns_first(item: str, options: ImageOptions) -> bool:
    """Return whether Pillow 13 resizes the columns of an image first."""
    height, width = inputs.SHAPES[item][:2]
    tall, wide = whole_size(height, width, options)
    return tall < height and height - tall > 2 * (width - wide)


@pytest.mark.parametrize(("config", "library"), cases("pil", "timm"))
def test_images_equal_pillows_in_transformers_and_timm(
    config: str, library: str, tmp_path: Path
) -> None:
    options = image_options(tmp_path, config)

    for item, apart in compared(config, library, options):
        if is_by_columns_first(item, options):
            assert (apart > ONE_LEVEL).mean() <= OTHER_ORDER, item
        else:
            assert (apart > EQUAL).mean() <= CROPPED_FIRST, item
            assert apart.max() <= ONE_LEVEL, item


@pytest.mark.parametrize(("config", "library"), cases("torchvision"))
def test_images_are_hardly_ever_a_level_from_torchvisions(
    config: str, library: str, tmp_path: Path
) -> None:
    options = image_options(tmp_path, config)

    for item, apart in compared(config, library, options):
        if config == "dinov3":  # it resizes numbers, which are rounded here
            assert apart.max() <= 2 * ROUNDED, item
        else:
            assert (apart > EQUAL).mean() <= INTEGERS, item
            assert apart.max() <= 2 * ONE_LEVEL, item


@pytest.mark.parametrize("name", inputs.PLAIN)
@pytest.mark.parametrize("item", ["odd", "tall", "tiny", "huge"])
def test_resizing_without_antialias_equals_torchs(name: str, item: str) -> None:
    height, width = inputs.PLAIN[name]
    expected = np.clip(reference("images")[f"plain/{name}/{item}"], 0, 255)

    found = resample_plainly(
        pixels(item), (height, 0, height), (width, 0, width), is_cubic=name == "bicubic"
    )

    kept = inputs.kept(found.transpose(2, 0, 1).astype(np.float32))
    assert np.abs(kept - expected).max() <= ROUNDED


def test_a_part_of_a_plain_resize_is_cut_from_the_whole() -> None:
    part = resample_plainly(pixels("odd"), (30, 7, 11), (40, 3, 20), is_cubic=True)

    whole = resample_plainly(pixels("odd"), (30, 0, 30), (40, 0, 40), is_cubic=True)
    np.testing.assert_array_equal(part, whole[7:18, 3:23])


@pytest.mark.parametrize("config", inputs.EXTRACTORS)
@pytest.mark.parametrize("item", ["clip", "odd", "long"])
def test_sounds_equal_those_of_transformers(config: str, item: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, "preprocessor_config.json", inputs.EXTRACTORS[config])
    options = read_table(AudioOptions, table, config)
    audio = Audio(manifest("audio", audio=options))

    windows = audio.load(audio.read(inputs.sound(item))).inputs["windows"]

    assert (options.problem(), len(windows)) == ("", 1)
    found = inputs.kept(windows[0], inputs.KEPT[config])
    np.testing.assert_allclose(found, reference("sounds")[f"{config}/{item}"], atol=FEATURES)


@pytest.mark.parametrize("config", ["wav2vec2", "whisper"])
def test_a_short_sound_is_filled_up_with_silence(config: str, tmp_path: Path) -> None:
    table = table_of(tmp_path, "preprocessor_config.json", inputs.EXTRACTORS[config])
    audio = Audio(manifest("audio", audio=read_table(AudioOptions, table, config)))

    (window,) = audio.load(audio.read(inputs.sound("short"))).inputs["windows"]

    expected = reference("sounds")[f"{config}/short"]
    if config == "wav2vec2":
        assert not window[len(expected) :].any()
        window = window[: len(expected)]
    found = inputs.kept(window, inputs.KEPT[config])
    np.testing.assert_allclose(found, expected, atol=FEATURES)


FAMILIES = ["bert", "clip", "modernbert", "mpnet", "roberta", "siglip", "xlm-roberta"]


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_equal_those_of_transformers(family: str) -> None:
    folder = REFERENCES / "tokenizers" / family
    told = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    padding: Any = "max_length" if family == "siglip" else "longest"
    text = Text(
        manifest(
            "text",
            max_length=inputs.MAX_TOKENS,
            text=TextOptions(padding=padding, pad_token=told["pad_token"]),
            files={"tokenizer": FileEntry(path="tokenizer.json", sha256="", size_bytes=0)},
            inputs={role: role for role in ("token_ids", "attention_mask", "token_type_ids")},
            folder=folder,
        )
    )

    batch = text.collate([text.load(item.encode()) for item in inputs.TEXTS])

    expected = reference("tokens")
    np.testing.assert_array_equal(batch["token_ids"], expected[f"{family}/input_ids"])
    for role in ("attention_mask", "token_type_ids"):
        np.testing.assert_array_equal(batch[role], expected[f"{family}/{role}"])


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    told = {"image_processor_type": "CLIPImageProcessorFast", "size": {"shortest_edge": 30}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told), encoding="utf-8")

    facts = {fact.key: fact for fact in processor_facts(tmp_path)}

    where = "preprocessor_config.json"
    assert facts["image.resize_to"].source == f"{where}: size"
    assert facts["image.size"].source == f"{where}: CLIPImageProcessorFast's crop_size"
    assert facts["image.size"].value == [224, 224]
    assert facts["image.mean"].value == [122.770938, 116.746013, 104.093736]


def test_processors_written_in_one_file_are_read(tmp_path: Path) -> None:
    table = {"image_processor": inputs.PROCESSORS["siglip"], "processor_class": "SiglipProcessor"}

    options = table_of(tmp_path, "processor_config.json", table)

    alone = table_of(tmp_path, "preprocessor_config.json", inputs.PROCESSORS["siglip"])
    assert options == alone


def test_a_folder_without_such_files_states_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")

    assert processor_facts(tmp_path) == []


def test_an_unknown_class_is_named_and_not_guessed(tmp_path: Path) -> None:
    told = {"image_processor_type": "FuyuImageProcessor", "size": 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told), encoding="utf-8")

    (fact,) = processor_facts(tmp_path)

    assert (fact.key, fact.value) == ("unread", "FuyuImageProcessor")


CLIP, CONVNEXT = inputs.PROCESSORS["clip"], inputs.PROCESSORS["convnext"]
WAV, WHISPER = inputs.EXTRACTORS["wav2vec2"], inputs.EXTRACTORS["whisper"]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (CLIP | {"do_pad": True}, "do_pad = true; can be done: do_center_crop, do_convert_rgb"),
        (CLIP | {"size": {"longest_edge": 9}}, "size = {'longest_edge': 9}; expected height and"),
        (CLIP | {"do_center_crop": False}, "expected height and width, or shortest_edge with do_"),
        (CLIP | {"size": "big"}, "size = 'big'; expected a whole number"),
        (CLIP | {"size": {"shortest_edge": -4}}, "size = {'shortest_edge': -4}; expected a whole"),
        (CLIP | {"crop_size": {"height": 3}}, "crop_size = {'height': 3}; expected height and"),
        (CLIP | {"resample": 9}, "resample = 9; expected a number from 0 to 5"),
        (CLIP | {"image_mean": [0.5]}, "image_mean = [0.5]; expected three numbers"),
        (CLIP | {"image_std": [1, 2, "x"]}, "image_std = [1, 2, 'x']; expected three numbers"),
        (CLIP | {"rescale_factor": 0}, "rescale_factor = 0; expected another number"),
        (CLIP | {"do_resize": False, "do_center_crop": False}, "crop_size = {'height': 16, 'wid"),
        (CONVNEXT | {"size": {"height": 9, "width": 9}}, "expected shortest_edge, with do_resize"),
        (CONVNEXT | {"crop_pct": "all"}, "crop_pct = 'all'; expected a number"),
        (WAV | {"feature_size": 2}, "feature_size = 2; expected 1, a mono waveform"),
        (WAV | {"sampling_rate": "high"}, "sampling_rate = 'high'; expected a whole number"),
        (WHISPER | {"sampling_rate": 8000}, "sampling_rate = 8000; expected 16000"),
        (WHISPER | {"dither": 0.1}, "dither = 0.1; expected 0: the same item gives the same vec"),
    ],
)
def test_what_cannot_be_done_is_refused(told: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told), encoding="utf-8")

    with pytest.raises(InputError) as caught:
        processor_facts(tmp_path)

    assert str(caught.value).startswith("preprocessor_config.json: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_pct": 0}, "crop_pct = 0; expected a part from 0 to 1"),
        ({"crop_mode": "corner"}, "crop_mode = 'corner'; expected center | squash | border"),
        ({"interpolation": "random"}, "interpolation = 'random'; expected nearest"),
        ({"input_size": [1, 9, 9]}, "input_size = [1, 9, 9]; expected [3, height, width]"),
        ({"mean": [1, 2]}, "mean = [1, 2]; expected three numbers"),
    ],
)
def test_what_timm_asks_for_and_cannot_be_done_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    told = {"pretrained_cfg": inputs.TIMM["timm"]["pretrained_cfg"] | change}
    (tmp_path / "config.json").write_text(json.dumps(told), encoding="utf-8")

    with pytest.raises(InputError) as caught:
        processor_facts(tmp_path)

    assert str(caught.value).startswith(f"config.json: pretrained_cfg: {message}")
