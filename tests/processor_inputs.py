"""What the references under ``tests/data/processors`` were computed from: content and settings.

Plain NumPy, since another environment makes the references: ``tests/data/processors/build.py``.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16000
MAX_TOKENS = 12

SHAPES: dict[str, tuple[int, ...]] = {
    "odd": (45, 67, 3),
    "tall": (97, 31, 3),
    "grey": (41, 50),
    "alpha": (37, 48, 4),
    "tiny": (2, 3, 3),
    "pixel": (1, 1, 3),
    "strip": (3, 500, 3),
    "fitting": (16, 16, 3),
    "huge": (2003, 3001, 3),
}
"""Name → shape of an image of 8-bit pixels."""

LENGTHS = {"short": 333, "clip": 16000, "odd": 24617, "long": 200_000}
"""Name → samples of a sound at `RATE_HZ`."""

TEXTS = (
    "A cat sat on the mat.",
    "x",
    "  Two   spaces,\ttabs\nand lines  ",
    "Ünïcode: naïve café, 東京, emoji 🐈, Ω≈ç√",
    "UPPER lower MiXeD 12,345.67 isn't can't won't",
    "a text with many more words than the longest that fits: " + "word " * 40,
    "<s> [CLS] special </s> tokens [SEP] in <|endoftext|> a text <pad>",
)

CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
HALF = [0.5, 0.5, 0.5]

PROCESSORS: dict[str, dict[str, Any]] = {
    # As on the hub, old and new forms, with sizes that are odd and small.
    "clip-old": {
        "feature_extractor_type": "CLIPFeatureExtractor",
        "crop_size": 16,
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "size": 16,
    },
    "clip": {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 16, "width": 16},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 16},
    },
    "dinov2": {
        "image_processor_type": "BitImageProcessor",
        "crop_size": {"height": 16, "width": 16},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 19},
    },
    "vit": {
        "feature_extractor_type": "ViTFeatureExtractor",
        "do_normalize": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "resample": 2,
        "size": 16,
    },
    "siglip": {
        "image_processor_type": "SiglipImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": HALF,
        "image_std": HALF,
        "processor_class": "SiglipProcessor",
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 16, "width": 16},
    },
    "convnext": {
        "feature_extractor_type": "ConvNextFeatureExtractor",
        "crop_pct": 0.875,
        "do_normalize": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "resample": 3,
        "size": 18,
    },
    "convnext-384": {
        "image_processor_type": "ConvNextImageProcessor",
        "crop_pct": 1.0,
        "do_normalize": True,
        "do_resize": True,
        "do_rescale": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 384},
    },
    "deit": {
        "image_processor_type": "DeiTImageProcessor",
        "crop_size": {"height": 15, "width": 17},
        "do_center_crop": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 20, "width": 20},
    },
    "lanczos": {
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": False,
        "do_rescale": True,
        "do_resize": True,
        "resample": 1,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 13, "width": 21},
    },
    "crop-beyond": {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 17, "width": 20},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 2,
        "rescale_factor": 0.00784313725490196,
        "size": {"shortest_edge": 12},
    },
    "unresized": {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 20, "width": 20},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": False,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "rescale_factor": 0.00392156862745098,
    },
    "clip-224": {
        "image_processor_type": "CLIPImageProcessor",
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": CLIP_MEAN,
        "image_std": CLIP_STD,
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 224},
    },
    "dinov3": {
        "image_processor_type": "DINOv3ViTImageProcessorFast",
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": IMAGENET_MEAN,
        "image_std": IMAGENET_STD,
        "resample": 2,
        "rescale_factor": 0.00392156862745098,
        "size": {"height": 16, "width": 16},
    },
}
"""Name → ``preprocessor_config.json`` for images."""


def _timm(input_size: list[int], crop_pct: float, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    facts: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD, "crop_mode": "center"}
    facts |= {"input_size": input_size, "crop_pct": crop_pct, "interpolation": "bicubic"}
    return {"architecture": "resnet50", "num_features": 2048, "pretrained_cfg": facts | more}


TIMM: dict[str, dict[str, Any]] = {
    "timm": _timm([3, 16, 16], 0.9),
    "timm-bilinear": _timm([3, 17, 17], 0.875, interpolation="bilinear"),
    "timm-whole": _timm([3, 16, 16], 1.0, mean=HALF, std=HALF),
    "timm-oblong": _timm([3, 12, 20], 0.8),
    "timm-squash": _timm([3, 16, 16], 0.9, crop_mode="squash"),
    "timm-border": _timm([3, 16, 16], 0.9, crop_mode="border"),
    "timm-224": _timm([3, 224, 224], 0.95),
}
"""Name → timm's ``config.json``."""

EXTRACTORS: dict[str, dict[str, Any]] = {
    "wav2vec2": {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": True,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
    },
    "wav2vec2-raw": {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": False,
        "feature_size": 1,
        "padding_side": "right",
        "padding_value": 0,
        "return_attention_mask": True,
        "sampling_rate": 16000,
    },
    "whisper": {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "chunk_length": 30,
        "feature_size": 80,
        "hop_length": 160,
        "n_fft": 400,
        "n_samples": 480000,
        "nb_max_frames": 3000,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
    },
    "whisper-128": {
        "feature_extractor_type": "WhisperFeatureExtractor",
        "chunk_length": 30,
        "feature_size": 128,
        "hop_length": 160,
        "n_fft": 400,
        "sampling_rate": 16000,
    },
    "ast": {
        "feature_extractor_type": "ASTFeatureExtractor",
        "do_normalize": True,
        "feature_size": 1,
        "max_length": 1024,
        "mean": -4.2677393,
        "num_mel_bins": 128,
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": False,
        "sampling_rate": 16000,
        "std": 4.5689974,
    },
}
"""Name → ``preprocessor_config.json`` for sounds."""

KEPT = {"wav2vec2": (9000,), "wav2vec2-raw": (9000,), "whisper": (40, 300)}
KEPT |= {"whisper-128": (40, 300), "ast": (300, 40)}
"""Name → how many values of a sound are kept along each axis."""

PLAIN = {"bilinear": (13, 21), "bicubic": (14, 20), "bilinear-up": (150, 171)}
"""Name → size that an image is resized to without antialiasing."""


def image(name: str) -> NDArray[np.uint8]:
    """Return pixels with edges, slopes and noise, by whole numbers alone."""
    y, x, c = np.ogrid[: SHAPES[name][0], : SHAPES[name][1], : (*SHAPES[name], 1)[2]]
    slope = (x * 5 + y * 3 + c * 60) % 256
    noise = ((x * 7 + y * 13 + c * 29 + 11) * (x + 3 * y + 5) >> 2) % 61
    edges = 90 * ((x // 9 + y // 7) % 2)
    pixels = np.asarray((slope + noise + edges) % 256, dtype=np.uint8)
    return pixels[..., 0] if len(SHAPES[name]) == 2 else pixels


def sound(name: str) -> NDArray[np.float32]:
    """Return a rising tone with noise, loud and quiet in turn, by whole numbers alone."""
    i = np.arange(LENGTHS[name], dtype=np.int64)
    tone = (i * (40 + i // 800)) % 2048 - 1024
    noise = (i * 7919 + (i * i) % 1013 * 31) % 257 - 128
    loudness = 1 + (i // 4000) % 5
    return np.asarray((tone * loudness + noise * 3) / 16384, dtype=np.float32)


def kept(array: NDArray[np.float32], most: tuple[int, ...] = (3, 24, 24)) -> NDArray[np.float32]:
    """Return every second, third ... value along each axis, so that about `most` are left."""
    steps = (max(1, size // limit) for size, limit in zip(array.shape, most, strict=True))
    return array[tuple(slice(None, None, step) for step in steps)]
