"""Bounds: numbers of a manifest that came with a file from elsewhere, before memory is taken."""

from collections.abc import Iterator
from dataclasses import asdict

from featx.errors import InputError
from featx.zoo.manifest import AudioOptions, Manifest

LARGEST_SIDE = 4096
"""Pixels of a side of what a graph takes; 200 MB an image."""

LEAST_FRACTION = 0.01
"""Part of a resized picture that is kept; the rest is computed in vain."""

LARGEST = 1 << 22
"""Tokens, samples, frames or numbers of anything else."""

_AUDIO_SIZES = (
    "sample_rate_hz", "window_frames", "window_step_frames", "n_fft", "hop_length", "n_mels",
)  # fmt: skip


def require_possible(manifest: Manifest) -> None:
    """Raise if a number cannot be that of any backbone.

    Raises
    ------
    InputError
        Naming the key, what was found and what is allowed.
    """
    for key, size, most in _sizes(manifest):
        if not 1 <= size <= most:
            message = f"manifest: {key} = {size}; expected 1 to {most}"
            raise InputError(message)
    if manifest.image is not None and not LEAST_FRACTION <= manifest.image.crop_fraction <= 1:
        found = f"crop_fraction = {manifest.image.crop_fraction}"
        message = f"manifest: {found}; expected {LEAST_FRACTION} to 1"
        raise InputError(message)


def _sizes(manifest: Manifest) -> Iterator[tuple[str, int, int]]:
    yield "dim", manifest.dim, LARGEST
    if manifest.max_length is not None:
        yield "max_length", manifest.max_length, LARGEST
    for side in (*manifest.image.size, *manifest.image.resize_to) if manifest.image else ():
        yield "size", side, LARGEST_SIDE
    for size in manifest.array.shape if manifest.array else ():
        yield "shape", size, LARGEST
    yield from _audio_sizes(manifest.audio) if manifest.audio else ()


def _audio_sizes(audio: AudioOptions) -> Iterator[tuple[str, int, int]]:
    found = asdict(audio)
    for name in _AUDIO_SIZES:
        yield name, found[name], LARGEST
    yield "n_fft * n_mels", audio.n_fft * audio.n_mels, LARGEST
    yield "window_frames * hop_length", audio.window_frames * audio.hop_length, LARGEST
