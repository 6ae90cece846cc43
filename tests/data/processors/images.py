"""Images as the processors of transformers, timm and torchvision make them."""

# Of another environment:
# mypy: ignore-errors

from collections.abc import Iterator

import numpy as np
import torch
import transformers
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional

import processor_inputs as inputs

OFF_CENTRE = {("pil", "crop-beyond"), ("pil", "unresized")}
"""Where this backend puts a small image half a pixel lower than the other, which is the default."""


def references() -> dict[str, np.ndarray]:
    """Return every array, named by settings, library and item."""
    found = unsmoothed()
    for config in inputs.PROCESSORS:
        found |= processed(config)
    for config in inputs.TIMM:
        found |= transformed(config)
    return found


def pictures() -> Iterator[tuple[str, Image.Image]]:
    """Yield names and images."""
    for name in inputs.SHAPES:
        yield name, Image.fromarray(inputs.image(name))


def processed(config: str) -> dict[str, np.ndarray]:
    """Return what both backends of an image processor give."""
    facts = dict(inputs.PROCESSORS[config])
    kind = facts.pop("image_processor_type", None) or facts.pop("feature_extractor_type")
    kind = kind.replace("FeatureExtractor", "ImageProcessor").removesuffix("Fast")
    found = {}
    for backend, name in {"pil": f"{kind}Pil", "torchvision": kind}.items():
        if not hasattr(transformers, name) or (backend, config) in OFF_CENTRE:
            continue
        processor = getattr(transformers, name)(**facts)
        for item, picture in pictures():
            if config.endswith(("224", "384")) and item not in {"odd", "huge"}:
                continue
            made = processor(picture, do_convert_rgb=True, return_tensors="np")
            found[f"{config}/{backend}/{item}"] = inputs.kept(made["pixel_values"][0])
    return found


def transformed(config: str) -> dict[str, np.ndarray]:
    """Return what timm's transform for evaluation gives."""
    facts = resolve_data_config(pretrained_cfg=inputs.TIMM[config]["pretrained_cfg"])
    transform = create_transform(**facts, is_training=False)
    found = {}
    for item, picture in pictures():
        if (config, item) == ("timm-border", "strip"):
            continue  # timm makes it 0 pixels high, and gives up
        if not config.endswith("224") or item in {"odd", "huge"}:
            found[f"{config}/timm/{item}"] = inputs.kept(transform(picture.convert("RGB")).numpy())
    return found


def unsmoothed() -> dict[str, np.ndarray]:
    """Return images resized without antialiasing."""
    found = {}
    for name, size in inputs.PLAIN.items():
        mode = InterpolationMode(name.partition("-")[0])
        for item in ("odd", "tall", "tiny", "huge"):
            pixels = torch.from_numpy(inputs.image(item)).permute(2, 0, 1).float()
            made = functional.resize(pixels, list(size), interpolation=mode, antialias=False)
            found[f"plain/{name}/{item}"] = inputs.kept(made.numpy())
    return found
