"""Canary: an item that a thing must be able to answer, sent where no one else asks."""

import io
from collections.abc import Callable

import numpy as np

from featx.serve.engine import Ask
from featx.serve.thing import Kind, Thing
from featx.types import Content
from featx.zoo.manifest import Manifest

ASKS: dict[Kind, Ask] = {
    "head": Ask(task="classify"),
    "gallery": Ask(task="search", k=1),
    "backbone": Ask(task="embed"),
}
"""What is asked of a kind of thing."""

_SIDE = 32


def canary_of(thing: Thing) -> Content:
    """Return an item of a thing's modality."""
    return _ITEMS[thing.modality](thing.backbone.manifest)


def _word(_: Manifest) -> Content:
    return "canary"


def _picture(_: Manifest) -> Content:
    """Draw a yellow disc on blue; a file, so that the decoder is tried too."""
    import PIL.Image

    y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    inside = (x**2 + y**2 < 1 / 2)[..., None]
    pixels = np.where(inside, [240, 210, 40], [40, 90, 160]).astype(np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _noise(manifest: Manifest) -> Content:
    """Make a second of it: silence is refused."""
    assert manifest.audio is not None
    rng = np.random.default_rng(0)
    return 0.1 * rng.standard_normal(manifest.audio.sample_rate_hz).astype(np.float32)


def _ones(manifest: Manifest) -> Content:
    """Make an array of them: one of zeros has no direction."""
    shape = manifest.array.shape if manifest.array is not None else ()
    return np.ones(shape or (manifest.dim,), np.float32)


_ITEMS: dict[str, Callable[[Manifest], Content]] = {
    "text": _word,
    "image": _picture,
    "audio": _noise,
    "array": _ones,
}
