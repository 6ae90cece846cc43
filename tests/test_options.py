"""Options that contradict are named, and later ones keep fingerprints as they were."""

from dataclasses import fields, replace
from typing import Any

import pytest

from featx.backbone.backbone import Backbone
from featx.fingerprint import hash_facts
from featx.zoo import catalog
from featx.zoo.options import LATER, AudioOptions, ImageOptions, TextOptions, option_facts

IMAGE = ImageOptions(size=(8, 8), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
AUDIO = AudioOptions(sample_rate_hz=8000, window_frames=20, window_step_frames=10)
TEXT = TextOptions()

FINGERPRINTS = {
    "efficientnet-lite0": "53369cb12258aa9d30b13567a6de063ea841f47096e34c51516965c30259ec2c",
    "ge2e": "75320fdcd1feaa57de1441a503873e37258657b2f95a418cdda2698e5db12d78",
    "minilm-l6": "02f9029d700c5cc5a8d41b9175e961b3cf6b4d383e02f91f28b0164fca608d5f",
}
"""Of version 0.1.0: another one takes the cached vectors from its users."""

OTHERS: dict[str, Any] = {
    "antialias": False,
    "feature_mean": -4.0,
    "feature_std": 2.0,
    "fill": (1.0, 2.0, 3.0),
    "least_samples": 400,
    "pad_token": "<pad>",
    "padding": "max_length",
    "resize_to": (9,),
    "rounding": "torchvision",
    "transparency": "drop",
    "unit_variance": True,
    "window_length": "fit",
}
"""Later option → a value that is not its default."""


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_an_embedded_backbone_keeps_its_fingerprint(name: str) -> None:
    assert Backbone(catalog.find(name)).fingerprint == FINGERPRINTS[name]


@pytest.mark.parametrize("options", [IMAGE, AUDIO, TEXT], ids=["image", "audio", "text"])
def test_a_later_option_counts_once_it_is_used(options: Any) -> None:  # noqa: ANN401
    later = [item.name for item in fields(options) if item.metadata == LATER]
    before = option_facts(options)

    changed = [option_facts(replace(options, **{name: OTHERS[name]})) for name in later]

    assert later
    assert not set(later) & set(before)
    assert len({hash_facts(each) for each in [before, *changed]}) == len(later) + 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": ()}, "size and resize_to take one or two whole sides"),
        ({"size": (0,)}, "size and resize_to take one or two whole sides"),
        ({"resize_to": (1, 2, 3)}, "size and resize_to take one or two whole sides"),
        ({"resize_to": (9,), "crop_fraction": 0.9}, "resize_to excludes crop_fraction"),
        ({"resize_to": (9,), "resize": "none"}, "resize_to excludes crop_fraction"),
        ({"mean": (1.0, 2.0)}, "mean, std and fill take one number or 3"),
        ({"fill": (1.0, 2.0)}, "mean, std and fill take one number or 3"),
        ({"std": (1.0, 0.0, 1.0)}, "std and crop_fraction must not be 0"),
        ({"antialias": False, "interpolation": "lanczos"}, "antialias = false is for 'bilinear'"),
        ({}, ""),
    ],
)
def test_options_of_images_that_contradict_are_named(change: dict[str, Any], message: str) -> None:
    found = replace(IMAGE, **change).problem()

    assert found.startswith(message)
    assert bool(found) == bool(message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hop_length": 0}, "hop_length = 0; expected 1 or more"),
        ({"window_length": "fit"}, "window_length = 'fit' is for features = 'waveform'"),
        ({"feature_std": 0.0}, "feature_std = 0; expected another number"),
        ({"window_length": "fit", "features": "waveform"}, ""),
    ],
)
def test_options_of_sounds_that_contradict_are_named(change: dict[str, Any], message: str) -> None:
    assert replace(AUDIO, **change).problem() == message
