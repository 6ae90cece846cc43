"""Augmented views of images: mirrored, and cropped a little, as a camera might have seen them."""

from dataclasses import replace

import numpy as np
import PIL.Image

from featx.modality.image import ROLE
from featx.types import Sample

LEAST_AREA = 0.6
"""Share of the picture that a crop keeps, at least."""

MOST_STRETCH = 4 / 3
"""Of the crop's aspect ratio, either way."""


def augmented(sample: Sample, number: int, rng: np.random.Generator) -> Sample:
    """Return a view of an image: a random crop at the image's size, every second one mirrored.

    Parameters
    ----------
    sample : Sample
        Pixels (1, height, width, 3) of 8 bits.
    number : int
        Of the view, from 1; odd ones are mirrored.
    rng : Generator
        Draws the crop.
    """
    pixels = sample.inputs[ROLE][0]
    height, width = pixels.shape[:2]
    share, stretch = rng.uniform(LEAST_AREA, 1), MOST_STRETCH ** rng.uniform(-1, 1)
    wide = min(width, width * np.sqrt(share * stretch))
    tall = min(height, height * np.sqrt(share / stretch))
    left, top = rng.uniform(0, width - wide), rng.uniform(0, height - tall)
    cropped = PIL.Image.fromarray(pixels).resize(
        (width, height), PIL.Image.Resampling.BILINEAR, box=(left, top, left + wide, top + tall)
    )
    view = np.asarray(cropped)
    return replace(sample, inputs={ROLE: (view[:, ::-1] if number % 2 else view)[None]})
