"""Items of each modality, and the vectors that transformers, timm and torch make of them."""

# Of another environment:
# mypy: ignore-errors

import io
import wave
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import transformers
from families import LONGEST, Family
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torch import Tensor, nn

import processor_inputs as inputs

Made = tuple[bytes, tuple[Tensor, ...]]
"""An item as a file, and as the model takes it."""

PICTURES = ("odd", "grey", "tiny")
"""Images that every version of Pillow resizes alike; of tall ones some do columns first."""

SOUNDS = {"short": 900, "clip": 3000, "odd": 6001}
"""Sound → samples that are kept of it."""


def write(path: Path, family: Family, one: nn.Module, tokenizer: object) -> tuple[Tensor, ...]:
    """Write items and vectors, and return the arrays that the model took, for exporters."""
    if tokenizer is not None:
        items, batches = list(inputs.TEXTS), [tokenized(family, tokenizer)]
        arrays = {"items": np.array(items)}
    else:
        find = heard if "input_values" in family.takes else seen
        raws, batches = zip(*find(family), strict=True)
        arrays = {f"item_{i}": np.frombuffer(raw, np.uint8) for i, raw in enumerate(raws)}
    with torch.no_grad():
        rows = [pooled(family, one(*batch), batch) for batch in batches]
    np.savez_compressed(path, vectors=torch.cat(rows).numpy(), **arrays)
    first = batches[0]
    return tuple(torch.cat([array, array]) for array in first) if len(first[0]) == 1 else first


def tokenized(family: Family, tokenizer: object) -> tuple[Tensor, ...]:
    """Return texts cut and padded."""
    made = tokenizer(
        list(inputs.TEXTS),
        truncation=True,
        max_length=LONGEST,
        padding=family.padding,
        return_tensors="pt",
        return_token_type_ids="token_type_ids" in family.takes,
    )
    return tuple(made[name] for name in family.takes)


def seen(family: Family) -> Iterator[Made]:
    """Yield images, as PNG and as the model takes them."""
    for name in PICTURES:
        picture = Image.fromarray(inputs.image(name))
        file = io.BytesIO()
        picture.save(file, "png", optimize=True)
        yield file.getvalue(), (prepared(family, picture),)


def prepared(family: Family, picture: Image.Image) -> Tensor:
    """Return an image as the processor or transform makes it."""
    facts = dict(family.files.get("preprocessor_config.json", {}))
    if not facts:
        settings = resolve_data_config(pretrained_cfg=family.files["config.json"]["pretrained_cfg"])
        return create_transform(**settings, is_training=False)(picture.convert("RGB"))[None]
    facts.pop("processor_class", None)
    kind = facts.pop("image_processor_type", None) or facts.pop("feature_extractor_type")
    kind = kind.replace("FeatureExtractor", "ImageProcessor")
    processor = getattr(transformers, f"{kind}Pil")(**facts)
    return processor(picture, do_convert_rgb=True, return_tensors="pt")["pixel_values"]


def heard(family: Family) -> Iterator[Made]:
    """Yield sounds, as WAV of 16 bits and as the model takes them."""
    facts = dict(family.files["preprocessor_config.json"])
    extractor = getattr(transformers, facts.pop("feature_extractor_type"))(**facts)
    for name, length in SOUNDS.items():
        samples = np.round(inputs.sound(name)[:length] * 16384).clip(-32768, 32767).astype("<i2")
        samples = np.resize(samples, length)
        file = io.BytesIO()
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(inputs.RATE_HZ)
            sound.writeframes(samples.tobytes())
        given = samples.astype(np.float32) / 32768
        made = extractor(given, sampling_rate=inputs.RATE_HZ, return_tensors="pt")
        yield file.getvalue(), (made["input_values"],)


def pooled(family: Family, rows: Tensor, batch: tuple[Tensor, ...]) -> Tensor:
    """Return one vector an item, at unit length if the family's files or flags say so."""
    if family.pooling != "none":
        is_masked = "attention_mask" in family.takes
        mask = batch[1] if is_masked else torch.ones(rows.shape[:2], dtype=torch.int64)
        lengths = mask.sum(dim=1)
        rows = {
            "cls": lambda: rows[:, 0],
            "mean": lambda: (rows * mask[..., None]).sum(dim=1) / lengths[:, None],
            "last_token": lambda: rows[torch.arange(len(rows)), lengths - 1],
        }[family.pooling]()
    modules = family.files.get("modules.json", [{}, {}, {}])
    return torch.nn.functional.normalize(rows) if len(modules) == 3 else rows
