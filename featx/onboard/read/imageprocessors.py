"""Settings of transformers' image processors as options of the manifest.

Long sides and first pixels of crops are rounded down there, and what no image covers is black.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from featx.errors import InputError
from featx.onboard.read.facts import Fact
from featx.onboard.read.told import Reader, Told

FILTERS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Pillow's numbers of filters."""

DONE = {"do_resize", "do_center_crop", "do_rescale", "do_normalize", "do_convert_rgb"}
"""Steps that can be done; what asks for another is refused."""

STRETCHED_FROM = 384
"""ConvNeXt's processor crops below this size, and stretches from there on."""

DIGITS = 6
"""Decimals of pixel values that are kept: settings are divided by 1 / 255 as it is written."""


def processor(told: Told) -> Iterator[Fact]:
    """Yield the facts of a processor that resizes, crops and scales."""
    _refuse_other_steps(told)
    yield told.fact("modality", "image")
    if told.get("do_resize"):
        yield from _resized(told)
    else:
        yield told.fact("image.resize", "none", "do_resize")
        yield told.fact("image.interpolation", "bicubic", "do_resize")
        yield told.fact("image.size", _crop(told), "do_resize", "crop_size")
        yield told.fact("image.fill", [0.0] * 3, "crop_size")
    yield told.fact("image.rounding", "transformers")
    yield from _scaled(told)


def convnext(told: Told) -> Iterator[Fact]:
    """Yield the facts of ConvNeXt's processor: a part of the image below 384, all of it above."""
    _refuse_other_steps(told)
    side = _sides(told, "size", is_square=False).get("shortest_edge")
    if type(side) is not int or not told.get("do_resize") or told.get("do_center_crop"):
        raise told.refused("size", "shortest_edge, with do_resize and without do_center_crop")
    yield told.fact("modality", "image")
    yield told.fact("image.size", [side, side], "size")
    is_cropped = side < STRETCHED_FROM
    yield told.fact("image.resize", "shortest" if is_cropped else "stretch", "size")
    if is_cropped:
        fraction = told.number("crop_pct")
        if not 0 < fraction <= 1:
            raise told.refused("crop_pct", "a part from 0 to 1")
        resized = int(side / fraction)
        yield told.fact("image.resize_to", [resized], "size", "crop_pct")
    yield from _filter(told)
    yield told.fact("image.rounding", "transformers")
    yield from _scaled(told)


def _resized(told: Told) -> Iterator[Fact]:
    sides = _sides(told, "size", is_square=bool(told.get("default_to_square")))
    crop = _crop(told) if told.get("do_center_crop") else []
    if set(sides) == {"height", "width"}:
        resized = [sides["height"], sides["width"]]
        yield told.fact("image.resize", "stretch", "size")
    elif set(sides) == {"shortest_edge"} and crop:
        resized = [sides["shortest_edge"]]
        yield told.fact("image.resize", "shortest", "size")
    else:
        allowed = "height and width, or shortest_edge with do_center_crop: one size for all images"
        raise told.refused("size", allowed)
    yield told.fact("image.size", crop or resized, "crop_size" if crop else "size")
    if crop:
        yield told.fact("image.resize_to", resized, "size")
        if any(least < side for least, side in zip(resized * 2, crop, strict=False)):
            yield told.fact("image.fill", [0.0] * 3, "crop_size")
    yield from _filter(told)


def _filter(told: Told) -> Iterator[Fact]:
    number = told.get("resample")
    if number is None:
        return
    if type(number) is not int or not 0 <= number < len(FILTERS):
        raise told.refused("resample", f"a number from 0 to {len(FILTERS) - 1}")
    yield told.fact("image.interpolation", FILTERS[number], "resample")


def _scaled(told: Told) -> Iterator[Fact]:
    factor = told.number("rescale_factor") if told.get("do_rescale") else 1.0
    if factor == 0:
        raise told.refused("rescale_factor", "another number")
    mean, std = [0.0] * 3, [1.0] * 3
    if told.get("do_normalize"):
        mean, std = told.numbers("image_mean"), told.numbers("image_std")
    steps = ("do_normalize",) if told.get("do_normalize") is False else ("image_mean", "image_std")
    for name, step, values in zip(("mean", "std"), steps * 2, (mean, std), strict=False):
        pixels = [round(value / factor, DIGITS) for value in values]
        yield told.fact(f"image.{name}", pixels, step, "rescale_factor")


def _crop(told: Told) -> list[int]:
    sides = _sides(told, "crop_size", is_square=True)
    if set(sides) != {"height", "width"} or not told.get("do_center_crop"):
        raise told.refused("crop_size", "height and width, with do_center_crop")
    return [sides["height"], sides["width"]]


def _sides(told: Told, key: str, *, is_square: bool) -> dict[str, Any]:
    """Return a size as named sides, without those that are not set."""
    size = told.get(key)
    if type(size) is int:
        size = {"height": size, "width": size} if is_square else {"shortest_edge": size}
    sides = {name: side for name, side in size.items() if side} if isinstance(size, dict) else {}
    if not sides or not all(type(side) is int and side > 0 for side in sides.values()):
        raise told.refused(key, "a whole number, or some for height and width")
    return sides


def _refuse_other_steps(told: Told) -> None:
    more = [key for key in told.table if key.startswith("do_") and key not in DONE]
    if asked := [key for key in more if told.table[key]]:
        message = f"{told.where}: {asked[0]} = true; can be done: {', '.join(sorted(DONE))}"
        raise InputError(message)


ALL = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
SQUARE = {**ALL, "default_to_square": True}
CROPPED = {**ALL, "do_center_crop": True}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CLIP = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "crop_size": 224,
    "size": {"shortest_edge": 224},
    "resample": 3,
}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}

IMAGE_PROCESSORS: dict[str, tuple[Reader, Mapping[str, Any]]] = {
    "Bit": (processor, {**CROPPED, **CLIP}),
    "CLIP": (processor, {**CROPPED, **CLIP}),
    # Its filter and size by default changed between versions of transformers.
    "ConvNext": (convnext, {**ALL, **HALF, "crop_pct": 224 / 256}),
    "DINOv3ViT": (processor, {**SQUARE, **IMAGENET, "size": 224, "resample": 2}),
    "DeiT": (
        processor,
        {**SQUARE, **HALF, "do_center_crop": True, "size": 256, "crop_size": 224, "resample": 3},
    ),
    "Siglip": (processor, {**ALL, **HALF, "size": {"height": 224, "width": 224}, "resample": 3}),
    "ViT": (processor, {**SQUARE, **HALF, "size": 224, "resample": 2}),
}
"""Class, without its ending → what reads its settings, and the values it has by default."""
