"""timm's ``config.json``: how images are prepared for its models."""

import math
from collections.abc import Iterator
from typing import Any

from featx.onboard.read.facts import Fact
from featx.onboard.read.told import Told

WHERE = "config.json: pretrained_cfg"

DEFAULTS = {
    "interpolation": "bicubic",
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
    "crop_pct": 0.875,
    "crop_mode": "center",
}
"""Of ``timm.data.resolve_data_config``."""

FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
CROPS = {"center": "shortest", "squash": "stretch", "border": "pad"}
"""How timm calls it → `ImageOptions.resize`."""


def timm_facts(config: dict[str, Any]) -> Iterator[Fact]:
    """Yield what a model's configuration says, as ``timm.data.create_transform`` takes it.

    Raises
    ------
    InputError
        If it asks for what cannot be done.
    """
    found = config.get("pretrained_cfg")
    if not isinstance(found, dict) or "input_size" not in found:
        return
    told = Told(WHERE, found, "timm", DEFAULTS)
    height, width = _sides(told)
    fraction, mode = told.number("crop_pct"), told.get("crop_mode")
    if not 0 < fraction <= 1:
        raise told.refused("crop_pct", "a part from 0 to 1")
    if mode not in tuple(CROPS):
        raise told.refused("crop_mode", " | ".join(CROPS))
    if told.get("interpolation") not in FILTERS:
        raise told.refused("interpolation", " | ".join(FILTERS))
    resized = [math.floor(side / fraction) for side in (height, width)]
    is_by_side = mode == "center" and resized[0] == resized[1]
    yield told.fact("modality", "image", "input_size")
    yield told.fact("image.size", [height, width], "input_size")
    yield told.fact("image.resize", CROPS[mode], "crop_mode")
    sides = resized[:1] if is_by_side else resized
    yield told.fact("image.resize_to", sides, "input_size", "crop_pct")
    yield told.fact("image.interpolation", told.get("interpolation"), "interpolation")
    # It resizes by torchvision where that can do it, and rounds otherwise in its own way.
    yield told.fact("image.rounding", "torchvision" if is_by_side else "nearest")
    yield told.fact("image.transparency", "drop")
    for name in ("mean", "std"):
        levels = [round(255 * value, 6) for value in told.numbers(name)]
        yield told.fact(f"image.{name}", levels, name)
    if mode == "border":
        fill = [float(round(255 * value)) for value in told.numbers("mean")]
        yield told.fact("image.fill", fill, "crop_mode", "mean")


def _sides(told: Told) -> tuple[int, int]:
    size = told.get("input_size")
    is_list = isinstance(size, list) and len(size) == 3
    if not is_list or size[0] != 3 or not all(type(side) is int and side > 0 for side in size):
        raise told.refused("input_size", "[3, height, width]")
    return size[1], size[2]
